"""Writes ``settings.md`` beside it from the declarations in ``core/config.py``.

    python docs/settings_page.py

A test holds the page to what this would write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from canter.config import SETTINGS, Config, Setting
from canter.usage import to_toml

PAGE = Path(__file__).with_name("settings.md")

INTRODUCTION = """\
# Settings

<!-- Written by docs/settings_page.py from core/config.py: change the declarations there. -->

Names and meanings are Gunicorn's wherever Gunicorn has the setting.

## Where they come from

Each source wins over the ones before it:

1. the defaults; `PORT`, `WEB_CONCURRENCY`, `FORWARDED_ALLOW_IPS` and `SCRIPT_NAME` change those of
   `bind`, `workers`, `forwarded_allow_ips` and `script_name`;
2. `canter.toml` in the directory the server is started in, or the table `[tool.canter]` of
   `pyproject.toml`;
3. the file of `--config`, or `gunicorn.conf.py` where there is one;
4. `GUNICORN_CMD_ARGS`, a command line in a variable;
5. `CANTER_<SETTING>`, such as `CANTER_WORKERS=4`; several values of a list are parted as a shell
   parts words;
6. the command line, or what a program gives to `canter.run(app, workers=4)`.

A list in a later source replaces the one of an earlier source. An empty variable counts as not set.
`HUP` reads all of them again. `canter --print-config` shows every value and where it came from,
`--check-config` loads the application too and exits with 0, 2 (a setting is wrong) or 4 (the
application does not load).

A file in Python is Gunicorn's: a variable a setting, a function a hook. What Gunicorn has and
Canter has not is named in one warning line, except for security: TLS settings and the PROXY
protocol are not built, and a file or flag that asks for them ends the server with exit code 2
rather than serving in the clear. In TOML and in variables a name that is no setting is an error.

Times are in seconds and may have a fraction. Sizes are in octets, with `k`, `M` or `G` if you like
(1024 each).
"""

HOOKS_NOTE = """\
Functions in a Python file, with Gunicorn's names and parameters. One that takes another number of
parameters is an error at start. `server` is the master, `worker` the worker, `req` the request.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for section in dict.fromkeys(setting.section for setting in SETTINGS.values()):
        parts.append(f"\n## {section}\n")
        members = [setting for setting in SETTINGS.values() if setting.section == section]
        if section == Config.on_exit.section:
            parts.append(HOOKS_NOTE)
            parts.append("\n".join(hook(setting) for setting in members) + "\n")
        else:
            parts.extend("\n".join(entry(setting)) + "\n" for setting in members)
    return "\n".join(parts)


def hook(setting: Setting[Any]) -> str:
    return f"- `{setting.name}{setting.kind.metavar}`: {setting.help}."


def entry(setting: Setting[Any]) -> Iterator[str]:
    yield f"### `{setting.name}`\n"
    yield sentence(setting.help) + (f" {setting.note}" if setting.note else "")
    yield ""
    yield f"- {ways(setting)}"
    yield f"- {default(setting)}"


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def ways(setting: Setting[Any]) -> str:
    """The flags and the variable."""
    value = f" {setting.kind.metavar}" if setting.kind.metavar else ""
    found = [f"`{flag}{value}`" for flag in setting.flags]
    found += [f"`{setting.env}`"] if setting.env else ["only in a file"]
    found += [f"in a file also `{alias}`" for alias in setting.aliases]
    return ", ".join(found)


def default(setting: Setting[Any]) -> str:
    """The default, what its values may be, and why it is what it is."""
    shown = "not set" if setting.default in (None, "") else f"`{to_toml(setting.default)}`"
    text = f"Default: {shown}" + (f" {setting.unit}" if setting.unit and setting.default else "")
    if setting.kind.choices:
        text += f", of {', '.join(f'`{word}`' for word in setting.kind.choices)}"
    if setting.zero:
        text += f"; 0: {setting.zero}"
    return f"{text}. {sentence(setting.why)}" if setting.why else f"{text}."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
