"""What the settings look like to a person: ``--help`` and ``--print-config``.

Both are derived from the declarations; nothing here knows a setting by its name.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from canter.config import SETTINGS, Config, Setting

_COLUMN = 33  # where the help text begins
_LONGEST = 110


def help_text(everything: bool, width: int) -> str:
    """The help page: the settings that most deployments touch, or every flag."""
    lines = ["usage: canter [OPTIONS] APP_MODULE     (module, module:name or module:factory())"]
    shown = [setting for setting in SETTINGS.values() if setting.flags and (everything or setting.brief)]
    for section in dict.fromkeys(setting.section for setting in shown):
        lines += ["", f"{section}:"]
        for setting in shown:
            if setting.section == section:
                lines += _option(setting.flags, setting.kind.metavar, _described(setting, everything), width)
    lines += ["", "Help:", *_option(("-h", "--help"), "", "this page", width)]
    lines += _option(("--help-all",), "", "every option", width)
    lines += _option(("-v", "--version"), "", "the version", width)
    return "\n".join(lines)


def _option(flags: tuple[str, ...], metavar: str, text: str, width: int) -> list[str]:
    short, long = ("", flags[0]) if flags[0].startswith("--") else (f"{flags[0]},", flags[1])
    head = f"  {short:3} {long} {metavar}".rstrip()
    body = textwrap.wrap(text, max(min(width, _LONGEST) - _COLUMN, 30))
    if len(head) > _COLUMN - 2:
        return [head, *(" " * _COLUMN + line for line in body)]
    return [head.ljust(_COLUMN) + body[0], *(" " * _COLUMN + line for line in body[1:])]


def _described(setting: Setting[Any], everything: bool) -> str:
    """The help, and where it says something: the choices, what 0 means, the default."""
    text = setting.help
    if everything and setting.kind.choices:
        text += f": {', '.join(setting.kind.choices)}"
    if everything and setting.zero:
        text += f"; 0: {setting.zero}"
    if setting.kind.switch or not setting.default:
        return text
    default = setting.default
    shown = ",".join(default) if isinstance(default, list) else f"{default} {setting.unit}".strip()
    return f"{text} [{shown}]"


def print_config(config: Config) -> Iterator[str]:
    """Each setting as a line of TOML, and where its value came from."""
    lines = [(_line(name, value), config.source(name)) for name, value in config.as_dict().items()]
    column = min(max(len(line) for line, _ in lines), 46)
    for line, source in lines:
        yield f"{line:{column}}  # {source}"


def _line(name: str, value: object) -> str:
    if value is None:
        return f"# {name} is not set"
    if callable(value) and not isinstance(value, type):
        return f"# {name} = {getattr(value, '__qualname__', repr(value))}"
    return f"{name} = {to_toml(value)}"


def to_toml(value: object) -> str:
    """A setting's value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        text = str(value)
        return text if "-" not in text else f'"{text}"'  # a range of workers
    if isinstance(value, type):
        return to_toml(f"{value.__module__}:{value.__qualname__}")
    if isinstance(value, tuple):  # a path and its limit
        return to_toml("=".join(str(part) for part in value))
    if isinstance(value, list):
        return f"[{', '.join(to_toml(item) for item in value)}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {to_toml(item)}" for key, item in value.items()) + " }"
    text = str(value)
    if '"' in text and "'" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
