"""Kinds of setting values: how a value is read, whatever source it came from.

A kind takes what any source may give (text from a flag or a variable, a Python
value from a file) and returns the one value the server works with, or raises
``ValueError`` with the end of a sentence that begins "expected". It knows neither
the setting's name nor where the value came from; the caller adds both.

This module reads nothing but the user data base (for ``user`` and ``group``) and
the processors' number (for ``auto``).
"""

from __future__ import annotations

import grp
import inspect
import ipaddress
import pwd
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

from canter.cpus import cores

T = TypeVar("T")
Hook = Callable[..., object]


@dataclass(frozen=True)
class Kind(Generic[T]):
    """How one kind of value is read and shown.

    ``parse`` gives back its own results unchanged. ``many``: the flag may be
    repeated and a variable holds several, split as a shell splits words.
    ``switch``: the flag takes no value. ``text``: can be written as one word,
    so that a flag and a variable make sense.
    """

    metavar: str
    parse: Callable[[object], T]
    many: bool = False
    switch: bool = False
    text: bool = True
    choices: tuple[str, ...] = ()


class Address(NamedTuple):
    """Where to listen: a TCP host and port, a Unix path, or an inherited descriptor."""

    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1


class WorkerCount(int):
    """How many workers to start with; ``most`` is where growing ends.

    Without a range both are the same and the number is fixed.
    """

    most: int

    def __new__(cls, least: int, most: int | None = None) -> WorkerCount:
        count = super().__new__(cls, least)
        count.most = least if most is None else most
        return count

    @property
    def scales(self) -> bool:
        return self.most > self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, WorkerCount):
            return int(self) == int(other) and self.most == other.most
        return int(self) == other

    def __ne__(self, other: object) -> bool:  # int has its own, which sees no range
        return not self == other

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __reduce__(self) -> tuple[type[WorkerCount], tuple[int, int]]:
        return WorkerCount, (int(self), self.most)

    def __str__(self) -> str:
        return f"{int(self)}-{self.most}" if self.scales else str(int(self))

    __repr__ = __str__


def _wrong(expected: str, value: object) -> NoReturn:
    raise ValueError(f"expected {expected}, got {value!r}")


# -- plain values ---------------------------------------------------------------


def _whole(value: object, expected: str = "a whole number") -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            return int(value.strip(), 0)
        except ValueError:
            pass
    _wrong(expected, value)


def _at_least(least: int, value: object) -> int:
    expected = f"a whole number, {least} or more"
    number = _whole(value, expected)
    return number if number >= least else _wrong(expected, value)


def integer(least: int = 0) -> Kind[int]:
    """A whole number from ``least`` on; text may be decimal, 0x or 0o."""
    return Kind("N", partial(_at_least, least))


def _seconds(value: object) -> float:
    expected = "seconds, 0 or more"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        _wrong(expected, value)
    try:
        number = float(value)
    except ValueError:
        _wrong(expected, value)
    if not 0 <= number < float("inf"):
        _wrong(expected, value)
    return int(number) if number == int(number) else number


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_OCTETS = re.compile(r"(\d+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)


def _octets(value: object) -> int:
    expected = "a number of octets, such as 65536, 64k or 10M"
    if isinstance(value, str):
        match = _OCTETS.fullmatch(value.strip())
        return int(match[1]) * _UNITS[match[2].lower()] if match else _wrong(expected, value)
    number = _whole(value, expected)
    return number if number >= 0 else _wrong(expected, value)


_WORDS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    return _WORDS[word] if word in _WORDS else _wrong("true or false", value)


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else _wrong("text", value)


def _word(choices: tuple[str, ...], value: object) -> str:
    word = value.strip().lower() if isinstance(value, str) else ""
    return word if word in choices else _wrong("one of " + ", ".join(choices), value)


def choice(*choices: str) -> Kind[str]:
    """One of a few words, in any case."""
    return Kind("WORD", partial(_word, choices), choices=choices)


def _umask(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"0[0-7]+", value.strip()):
        value = int(value, 8)  # as every shell writes it, and Gunicorn reads it
    number = _whole(value, "a file mode mask such as 022")
    return number if 0 <= number <= 0o777 else _wrong("a file mode mask such as 022", value)


def _user(value: object) -> int:
    if isinstance(value, str) and not value.strip().isdigit():
        try:
            return pwd.getpwnam(value.strip()).pw_uid
        except KeyError:
            raise ValueError(f"no such user: {value!r}") from None
    return _whole(value, "a user name or number")


def _group(value: object) -> int:
    if isinstance(value, str) and not value.strip().isdigit():
        try:
            return grp.getgrnam(value.strip()).gr_gid
        except KeyError:
            raise ValueError(f"no such group: {value!r}") from None
    return _whole(value, "a group name or number")


def _workers(value: object) -> WorkerCount:
    expected = "a number, auto, or a range such as 2-8"
    if isinstance(value, WorkerCount):
        return value
    if isinstance(value, str):
        if value.strip().lower() == "auto":
            return WorkerCount(2 * cores() + 1)
        least, dash, most = value.partition("-")
        if dash and least.strip().isdigit() and most.strip().isdigit():
            if not 1 <= int(least) <= int(most):
                _wrong(expected, value)
            return WorkerCount(int(least), int(most))
    number = _whole(value, expected)
    return WorkerCount(number) if number >= 0 else _wrong(expected, value)


def _worker_class(value: object) -> str | type:
    if isinstance(value, type):
        return value
    if isinstance(value, str) and value.strip():
        return value.strip()
    _wrong("the name of a worker class, or the class", value)


def _application(value: object) -> Any:
    return value.strip() if isinstance(value, str) else value


# -- addresses ------------------------------------------------------------------


def parse_address(value: object) -> Address:
    """Read ``HOST``, ``HOST:PORT``, ``:PORT``, ``[IPV6]:PORT``, ``unix:PATH``, ``fd://N``.

    An empty host means all of IPv4; a missing port is 8000, as in Gunicorn.
    """
    text = _text(value)
    if text.startswith("unix:"):
        path = text[5:].removeprefix("//")
        return Address(path=path) if path else _wrong("a path after unix:", value)
    if text.startswith("fd://"):
        number = text[5:]
        return Address(fd=int(number)) if number.isdigit() else _wrong("a number after fd://", value)
    return _host_and_port(text.removeprefix("tcp://"))


_HOST_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\[\]:/\s]*))(?::(?P<port>\d{1,5}))?")


def _host_and_port(text: str) -> Address:
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65535:
        _wrong("HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N", text)
    host = match["six"] or match["host"] or "0.0.0.0"
    return Address(host=host.lower(), port=int(match["port"] or 8000))


def _address(value: object) -> str:
    text = _text(value)
    parse_address(text)
    return text


# -- lists and tables -----------------------------------------------------------


def _list_of(item: Callable[[object], T], value: object) -> list[T]:
    if isinstance(value, str):
        value = [value]  # Gunicorn's older files write a single one without brackets
    if not isinstance(value, (list, tuple)):
        _wrong("a list", value)
    return [item(each) for each in value]


def _comma_list(item: Callable[[object], str], value: object) -> list[str]:
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    return _list_of(item, value)


def split_words(text: str) -> list[str]:
    """Several values in one variable, parted as a shell parts words."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot be split into words: {error}") from None


def _network(value: object) -> str:
    text = _text(value)
    if text == "*":
        return text
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"expected an IP address, a network or *: {error}") from None
    return text


def _variable(value: object) -> str:
    text = _text(value)
    name, equals, _ = text.partition("=")
    return text if name and equals else _wrong("NAME=VALUE", value)


def _path_limit(value: object) -> tuple[str, float]:
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return _text(value[0]), _seconds(value[1])
    pattern, equals, limit = _text(value).rpartition("=")
    if not equals or not pattern.startswith("/"):
        _wrong("/PATTERN=SECONDS", value)
    return pattern, _seconds(limit)


def _field_name(value: object) -> str:
    return _text(value).upper()


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        _wrong("a table of header names and values", value)
    return {_field_name(name): _text(word) for name, word in value.items()}


# -- hooks ----------------------------------------------------------------------

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def arity(function: Hook) -> int:
    """Number of positional parameters, counted as Gunicorn counts them."""
    parameters = inspect.signature(function).parameters.values()
    return sum(parameter.kind in _POSITIONAL for parameter in parameters)


def _hook(parameters: tuple[str, ...], fewest: int, value: object) -> Hook:
    """A callable with the right number of parameters, or its dotted name."""
    if isinstance(value, str):
        value = _imported(value)
    if not callable(value):
        _wrong("a function", value)
    if isinstance(value, Shortened):
        return value
    count = arity(value)
    if not fewest <= count <= len(parameters):
        raise ValueError(f"expected a function of ({', '.join(parameters)}), got one of {count} parameters")
    return value if count == len(parameters) else Shortened(value, count)


@dataclass(frozen=True)
class Shortened:
    """A hook of fewer parameters than it is called with: the last ones are left out."""

    hook: Hook
    count: int

    def __call__(self, *arguments: object) -> object:
        return self.hook(*arguments[: self.count])


def _imported(dotted: str) -> object:
    module, dot, name = dotted.rpartition(".")
    if not dot:
        _wrong("a function or package.module.function", dotted)
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot import {dotted!r}: {error}") from None


def hook(*parameters: str, fewest: int | None = None) -> Kind[Hook | None]:
    """A server hook; with ``fewest`` trailing parameters may be left out."""
    least = len(parameters) if fewest is None else fewest
    return Kind(f"({', '.join(parameters)})", partial(_maybe, partial(_hook, parameters, least)), text=False)


# -- the kinds ------------------------------------------------------------------


def _maybe(parse: Callable[[object], T], value: object) -> T | None:
    return None if value is None else parse(value)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The same kind, or None."""
    return Kind(kind.metavar, partial(_maybe, kind.parse), text=kind.text, choices=kind.choices)


SECONDS = Kind("SEC", _seconds)
OCTETS = Kind("SIZE", _octets)
SWITCH = Kind("", _boolean, switch=True)
TEXT = Kind("TEXT", _text)
FILE = Kind("FILE", _text)
DIRECTORY = Kind("DIR", _text)
UMASK = Kind("MASK", _umask)
USER = Kind("USER", _user)
GROUP = Kind("GROUP", _group)
WORKERS = Kind("N", _workers)
WORKER_CLASS = Kind("CLASS", _worker_class)
APPLICATION: Kind[Any] = Kind("APP_MODULE", _application)
ADDRESS = Kind("ADDRESS", _address)
ADDRESSES: Kind[list[str]] = Kind("ADDRESS", partial(_list_of, _address), many=True)
FILES: Kind[list[str]] = Kind("FILE", partial(_list_of, _text), many=True)
VARIABLES: Kind[list[str]] = Kind("NAME=VALUE", partial(_list_of, _variable), many=True)
PATH_LIMITS: Kind[list[tuple[str, float]]] = Kind("PATTERN=SEC", partial(_list_of, _path_limit), many=True)
NETWORKS: Kind[list[str]] = Kind("IPS", partial(_comma_list, _network))
NAMES: Kind[list[str]] = Kind("NAMES", partial(_comma_list, _field_name))
HEADERS = Kind("TABLE", _headers, text=False)
