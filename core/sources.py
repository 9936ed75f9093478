"""Where settings come from; each source wins over the ones before it.

1. the defaults, some of which a variable changes (``PORT``, ``WEB_CONCURRENCY``,
   ``FORWARDED_ALLOW_IPS``, ``SCRIPT_NAME``);
2. ``canter.toml``, or ``[tool.canter]`` in ``pyproject.toml``;
3. the file of ``--config``, or ``gunicorn.conf.py`` where there is one;
4. ``GUNICORN_CMD_ARGS``;
5. ``CANTER_<SETTING>``;
6. the command line; and what a program gives to ``canter.run``.

Paths of files are relative to the directory the server was started in. An empty
variable counts as not set. A Python file is run afresh at each reading, from its
source, for a byte-code cache would miss an edit within the same second.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib import reload as import_again
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from canter import flags, gunicorn
from canter.config import GIVEN, SETTINGS, Config, Note, find_name, nearest, unknown
from canter.errors import ConfigError
from canter.kinds import split_words

PREFIX = "CANTER_"
# Not settings: what one master hands to the next (CANTER__...), and what Kubernetes
# sets in every container beside a service called "canter".
_FOREIGN = re.compile(r"CANTER_(_.*|SERVICE_HOST|SERVICE_PORT.*|PORT|PORT_\d+_.*)")
_SIMILAR = 0.85  # a variable of a Python file so like a setting's name is a likely slip


@dataclass(frozen=True)
class Origin:
    """What a Config was read from, so that it can be read again."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: str
    settings: Mapping[str, Any]

    def read(self) -> Config:
        gathered = _Gathered()
        _read_defaults(gathered, self.environ)
        _read_toml(gathered, Path(self.cwd))
        layers = [_command_arguments(self.environ), _variables(self.environ), _command_line(self.argv)]
        _read_file(gathered, layers, self.cwd)
        for layer in layers:
            for item in layer:
                gathered.put(*item)
        gathered.found.update(self.settings)
        gathered.sources.update(dict.fromkeys(self.settings, GIVEN))
        _settle(gathered, self.cwd)
        return Config.assemble(gathered.found, gathered.sources, gathered.notes, self)

    def with_settings(self, settings: Mapping[str, Any]) -> Origin:
        return replace(self, settings={**self.settings, **settings})


# (setting, value, source, place that begins an error line)
Item = tuple[str, object, str, str]


@dataclass
class _Gathered:
    found: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def put(self, name: str, value: object, source: str, place: str) -> None:
        self.found[name] = SETTINGS[name].parse(value, place)
        self.sources[name] = source


# -- variables and flags ----------------------------------------------------------


def _read_defaults(gathered: _Gathered, environ: Mapping[str, str]) -> None:
    for name, setting in SETTINGS.items():
        variable, form = setting.default_from or ("", "")
        text = environ.get(variable)
        if text:
            value = form.format(text)
            gathered.put(name, [value] if setting.kind.many else value, variable, variable)


def _variables(environ: Mapping[str, str]) -> list[Item]:
    items: list[Item] = []
    for variable in sorted(environ):
        text = environ[variable]
        if not variable.startswith(PREFIX) or not text or _FOREIGN.fullmatch(variable):
            continue
        name = _known(variable[len(PREFIX) :].lower(), text, variable)
        if not SETTINGS[name].env:
            raise ConfigError(f"{variable}: {name} can only be set in a file")
        items.append((name, _split(text, variable) if SETTINGS[name].kind.many else text, variable, variable))
    return items


def _split(text: str, place: str) -> list[str]:
    try:
        return split_words(text)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None


def _command_arguments(environ: Mapping[str, str]) -> list[Item]:
    variable = "GUNICORN_CMD_ARGS"
    words = _split(environ.get(variable, ""), variable)
    try:
        parsed = flags.parse(words)
    except ConfigError as error:
        raise ConfigError(f"{variable}: {error}") from None
    return [(name, value, variable, f"{variable}: {flag}") for name, value, flag in parsed.settings]


def _command_line(argv: tuple[str, ...]) -> list[Item]:
    return [(name, value, f"flag {flag}", flag) for name, value, flag in flags.parse(argv).settings]


def _known(name: str, value: object, place: str) -> str:
    """The setting's proper name, or the error that fits the name."""
    found = find_name(name)
    if found is not None:
        return found
    gunicorn.check(name, value, place)
    if name in gunicorn.ABSENT or name in gunicorn.REFUSED:
        raise ConfigError(f"{place}: Gunicorn has this setting, Canter has not")
    raise ConfigError(f"{place}: {unknown(name)}")


# -- files ------------------------------------------------------------------------


def _read_toml(gathered: _Gathered, folder: Path) -> None:
    own, project = folder / "canter.toml", folder / "pyproject.toml"
    if own.is_file():
        _put_table(gathered, _parse_toml(_read(own, own.name), own.name), own.name)
    elif project.is_file() and "tool.canter" in (text := _read(project, project.name)):
        table = _parse_toml(text, project.name).get("tool", {}).get("canter", {})
        _put_table(gathered, table, f"{project.name} [tool.canter]")


def _read(path: Path, shown: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read: {error.strerror}") from None
    except UnicodeError as error:
        raise ConfigError(f"{shown}: {error}") from None


def _parse_toml(text: str, shown: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{shown}: {error}") from None


def _put_table(gathered: _Gathered, table: Mapping[str, Any], shown: str) -> None:
    for key, value in table.items():
        place = f"{shown}: {key}"
        if find_name(key) is None and key not in gunicorn.REFUSED and key not in gunicorn.ABSENT:
            place = shown
        name = _known(key, value, place)
        gathered.put(name, value, shown, place)


def _read_file(gathered: _Gathered, layers: list[list[Item]], cwd: str) -> None:
    """The file that the strongest source names, else Gunicorn's default one."""
    location = gathered.found.get("config")
    for layer in layers:
        for name, value, _, place in layer:
            if name == "config":
                location = SETTINGS[name].parse(value, place)
    if location is None:
        if not Path(cwd, "gunicorn.conf.py").is_file():
            return
        location = "gunicorn.conf.py"
    path = Path(cwd, location.removeprefix("file:"))
    if not location.startswith("python:") and path.suffix == ".toml":
        _put_table(gathered, _parse_toml(_read(path, location), location), location)
    else:
        _put_module(gathered, _run_settings(location, path, cwd), location)


def _run_settings(location: str, path: Path, cwd: str) -> Mapping[str, Any]:
    """Run a Python settings file, or import a module of settings, and give its names."""
    if cwd not in sys.path:
        sys.path.insert(0, cwd)  # the file may import the project's modules
    if location.startswith("python:"):
        return _import_settings(location, location.removeprefix("python:"))
    try:
        code = compile(path.read_bytes(), str(path), "exec")
    except OSError as error:
        raise ConfigError(f"{location}: cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{location}: {error}") from None
    module = ModuleType("__config__")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # so that what it defines can be pickled
    try:
        exec(code, vars(module))  # the file is the operator's own program
    except Exception as error:  # whatever it may raise ends as one line
        raise ConfigError(_explain(location, str(path), error)) from None
    return vars(module)


def _import_settings(location: str, name: str) -> Mapping[str, Any]:
    try:
        loaded = sys.modules.get(name)
        return vars(import_again(loaded) if loaded else import_module(name))
    except Exception as error:  # as above
        raise ConfigError(_explain(location, "", error)) from None


def _explain(location: str, path: str, error: Exception) -> str:
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == path]
    line = f" line {lines[-1]}" if lines else ""
    return f"{location}{line}: {type(error).__name__}: {error}"


def _put_module(gathered: _Gathered, names: Mapping[str, Any], shown: str) -> None:
    """A Python file's names; those that are no settings are the file's own affair."""
    absent = []
    for key, value in list(names.items()):
        name = find_name(key)
        if name == "config":
            continue  # one file does not lead to another
        if name is not None:
            gathered.put(name, value, shown, f"{shown}: {key}")
            continue
        gunicorn.check(key, value, f"{shown}: {key}")
        if key in gunicorn.ABSENT and value is not None:
            absent.append(key)
        elif _is_slip(key, value):
            gathered.notes.append(Note("warning", f"{shown}: {unknown(key)}"))
    if absent:
        gathered.notes.append(Note("warning", f"{shown}: Canter does not have {', '.join(absent)}: ignored"))


def _is_slip(key: str, value: object) -> bool:
    plain = value is None or isinstance(value, (str, int, float, list, tuple, dict))
    ours = key in gunicorn.ABSENT or key in gunicorn.REFUSED
    return plain and not ours and not key.startswith("_") and nearest(key, _SIMILAR) is not None


# -- rules between settings -------------------------------------------------------


def _settle(gathered: _Gathered, cwd: str) -> None:
    """What one setting means for another."""
    found = gathered.found
    if found.get("worker_tmp_dir") is not None:
        gathered.notes.append(Note("info", "worker_tmp_dir is not needed: heartbeats use no files"))
    if "script_name" not in found:
        for line in found.get("raw_env", ()):
            if line.startswith("SCRIPT_NAME="):
                found["script_name"] = line.partition("=")[2]
                gathered.sources["script_name"] = f"raw_env of {gathered.sources['raw_env']}"
    if "chdir" in found:
        found["chdir"] = _directory(cwd, found["chdir"], gathered.sources["chdir"])


def _directory(cwd: str, path: str, source: str) -> str:
    absolute = os.path.normpath(os.path.join(cwd, path))
    if not os.path.isdir(absolute):
        raise ConfigError(f"{source}: no such directory to work in: {path!r}")
    return absolute
