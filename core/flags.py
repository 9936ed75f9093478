"""The command line as text: flags to (name, value), no value looked at yet.

Derived from the declarations in ``config.py``. Options may stand before and after
the application, long ones may be shortened while they stay clear, and an unknown
one is a one-line error with the nearest that exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from getopt import GetoptError, gnu_getopt
from typing import NamedTuple

from canter import gunicorn
from canter.config import SETTINGS
from canter.errors import ConfigError
from canter.spelling import meant

ACTIONS = {"-h": "help", "--help": "help", "--help-all": "help_all", "-v": "version", "--version": "version"}
_NAMES = {flag: name for name, setting in SETTINGS.items() for flag in setting.flags}


class Flag(NamedTuple):
    """One setting as the command line gives it; ``flag`` is how it was spelt."""

    name: str
    value: object
    flag: str


class CommandLine(NamedTuple):
    settings: tuple[Flag, ...]
    actions: frozenset[str]  # of help, help_all, version


def parse(argv: Sequence[str]) -> CommandLine:
    """Split a command line; repeated flags of a list setting come as one list."""
    try:
        pairs, rest = gnu_getopt(list(argv), _short_options(), _long_options())
    except GetoptError as error:
        raise ConfigError(_explain(error)) from None
    if len(rest) > 1:
        raise ConfigError(f"one application at a time: got {' and '.join(rest)}")
    flags: dict[str, Flag] = {}
    for flag, text in pairs:
        if flag not in ACTIONS:
            _gather(flags, flag, text)
    if rest:
        flags["wsgi_app"] = Flag("wsgi_app", rest[0], "APP_MODULE")
    actions = frozenset(ACTIONS[flag] for flag, _ in pairs if flag in ACTIONS)
    return CommandLine(tuple(flags.values()), actions)


def _gather(flags: dict[str, Flag], flag: str, text: str) -> None:
    name = _NAMES[flag]
    setting = SETTINGS[name]
    value: object = text
    if setting.kind.switch:
        value = not setting.default
    elif setting.kind.many:
        before = flags[name].value if name in flags else []
        assert isinstance(before, list)
        value = [*before, text]
    flags[name] = Flag(name, value, flag)


def _short_options() -> str:
    return "hv" + "".join(_option(flag, ":") for flag in _NAMES if not flag.startswith("--"))


def _long_options() -> list[str]:
    own = [_option(flag, "=") for flag in _NAMES if flag.startswith("--")]
    return [*own, "help", "help-all", "version"]


def _option(flag: str, mark: str) -> str:
    """As getopt wants it: without dashes, and marked where it takes a value."""
    return flag.lstrip("-") + ("" if SETTINGS[_NAMES[flag]].kind.switch else mark)


def _explain(error: GetoptError) -> str:
    """What is wrong with an option, and the nearest one where it is unknown."""
    flag = ("--" if len(error.opt) > 1 else "-") + error.opt
    if "unique" in error.msg:
        return f"{flag} may be {' or '.join(sorted(known for known in _NAMES if known.startswith(flag)))}"
    if "requires" in error.msg:
        return f"{flag} needs a value"
    if "must not" in error.msg:
        return f"{flag} takes no value"
    known = gunicorn.explain_flag(flag)
    if known:
        return known
    close = meant(flag, [*_NAMES, *ACTIONS])
    return f"unknown option {flag}" + (f"; did you mean {close}?" if close else "")
