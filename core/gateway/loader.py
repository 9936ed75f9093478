"""From ``APP_MODULE`` to the application object.

    module                       its ``application``, else ``app``, else what its only
                                 factory, ``create_app`` or ``make_app``, returns
    module:name                  an object; also module:object.attribute
    module:factory("a", b=True)  what a call with literal arguments returns

Each way to fail has its own line. What the *user typed* wrong is told in that line
alone; what went wrong *inside the application* keeps its traceback.

``enter`` and ``set_environment`` prepare the process that loads.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Callable
from importlib import import_module
from traceback import format_exception
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from canter.errors import AppImportError
from canter.spelling import meant

if TYPE_CHECKING:
    from canter.config import Config

NAMES = ("application", "app")
FACTORIES = ("create_app", "make_app")


class Target(NamedTuple):
    """What stands after the colon: a path of names, and the call's arguments if it is one."""

    path: tuple[str, ...]
    call: tuple[list[Any], dict[str, Any]] | None


def enter(config: Config) -> None:
    """Go to the application's directory and make its modules importable."""
    os.chdir(config.chdir)
    extra = [part.strip() for part in config.pythonpath.split(",") if part.strip()]
    wanted = [*(os.path.join(config.chdir, part) for part in reversed(extra)), config.chdir]  # as Gunicorn
    sys.path[:] = wanted + [path for path in sys.path if path not in wanted]


def set_environment(config: Config) -> None:
    """Set what ``--env`` asks for: in the process that loads, so that the master's stays clean."""
    os.environ.update(config.env)


def load(spec: object) -> Any:
    """The application that ``spec`` names; an object that is one already is given back.

    Raises AppImportError and nothing else, but for what must end the process
    (KeyboardInterrupt).
    """
    if not isinstance(spec, str):
        return _application(spec, "the application given")
    module_name, colon, expression = spec.partition(":")
    target = _parse(expression, spec) if colon else None
    module = _import(module_name, expression)
    if target is None:
        return _find(module, spec)
    found = _follow(module, target.path, spec)
    if target.call is None:
        return _application(found, f"{spec!r}")
    return _call(found, target.call, spec)


# -- what was typed ---------------------------------------------------------------


def _parse(expression: str, spec: str) -> Target:
    try:
        node = ast.parse(expression.strip(), mode="eval").body
        if not isinstance(node, ast.Call):
            return Target(_path(node), None)
        arguments = [ast.literal_eval(argument) for argument in node.args]
        keywords = {str(_named(keyword)): ast.literal_eval(keyword.value) for keyword in node.keywords}
        return Target(_path(node.func), (arguments, keywords))
    except (SyntaxError, ValueError):
        raise AppImportError(
            f"{spec!r} is not of the form module:name, module:object.attribute or module:factory(literals)"
        ) from None


def _path(node: ast.expr) -> tuple[str, ...]:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        return (*_path(node.value), node.attr)
    raise ValueError(node)


def _named(keyword: ast.keyword) -> str:
    if keyword.arg is None:  # **something is no literal
        raise ValueError(keyword)
    return keyword.arg


# -- import -----------------------------------------------------------------------


def _import(name: str, expression: str) -> ModuleType:
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise AppImportError(f"{name!r} is no name of a module" + _file_hint(name, expression))
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        inner = _inside(error.__traceback__)
        if inner is None and isinstance(error, ModuleNotFoundError):
            raise AppImportError(f"{error}" + _file_hint(name, expression)) from None
        missing = isinstance(error, ModuleNotFoundError) and f"it imports {error.name!r}, which is not found"
        message = f"module {name!r} cannot be imported: {missing or _tell(error)}"
        raise AppImportError(message, _traceback(error, inner)) from error


def _file_hint(name: str, expression: str) -> str:
    if not name.endswith(".py"):
        return ""
    module = name.removesuffix(".py").strip("./").replace("/", ".")
    return f"; did you mean {module + (':' + expression if expression else '')!r}?"


def _inside(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is the application's, None where there is none."""
    own = (__file__, import_module.__code__.co_filename)
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file not in own and not file.startswith("<frozen importlib"):
            return trace
        trace = trace.tb_next
    return None


def _tell(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    return f"{type(error).__name__}: {error}"


def _traceback(error: BaseException, trace: TracebackType | None) -> str:
    return "".join(format_exception(type(error), error, trace))


# -- look up ----------------------------------------------------------------------


def _find(module: ModuleType, spec: str) -> Any:
    """The application of a module without a name: the default names, then the only factory."""
    for name in NAMES:
        found = getattr(module, name, None)
        if callable(found):
            return found
    factories = [name for name in FACTORIES if callable(getattr(module, name, None))]
    if len(factories) == 1:
        return _call(getattr(module, factories[0]), ([], {}), f"{spec}:{factories[0]}()")
    if factories:
        raise AppImportError(f"module {spec!r} has several factories: say {spec}:{factories[0]}() or another")
    raise AppImportError(
        f"module {spec!r} has no callable named {', '.join(NAMES + FACTORIES)}: say which with {spec}:NAME"
    )


def _follow(module: ModuleType, path: tuple[str, ...], spec: str) -> Any:
    found: Any = module
    shown = f"module {module.__name__!r}"
    for name in path:
        if not hasattr(found, name):
            close = meant(name, [known for known in dir(found) if known[:2] != "__"])
            hint = f"; did you mean {close!r}?" if close else ""
            raise AppImportError(f"{shown} has no {name!r}{hint}")
        found = getattr(found, name)
        shown = f"{name!r} of {spec!r}"
    return found


def _application(found: Any, shown: str) -> Callable[..., Any]:
    if callable(found):
        return found  # type: ignore[no-any-return]
    raise AppImportError(f"{shown} is not callable: it is {_described(found)}")


def _described(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _call(factory: Any, call: tuple[list[Any], dict[str, Any]], spec: str) -> Any:
    _application(factory, f"the factory of {spec!r}")
    arguments, keywords = call
    _check_arguments(factory, arguments, keywords, spec)
    try:
        made = factory(*arguments, **keywords)
    except (Exception, SystemExit) as error:
        inner = _inside(error.__traceback__)
        raise AppImportError(f"{spec!r} failed: {_tell(error)}", _traceback(error, inner)) from error
    if not callable(made):
        raise AppImportError(f"{spec!r} returned no application: it is {_described(made)}")
    return made


def _check_arguments(factory: Any, arguments: list[Any], keywords: dict[str, Any], spec: str) -> None:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return  # some compiled callables tell nothing
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        raise AppImportError(f"{spec!r} does not fit the factory: {error}") from None
