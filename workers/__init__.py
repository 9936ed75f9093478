"""Worker classes by name.

A short name of the table below, an entry point of the group ``canter.workers``,
``package.module:Class`` or ``package.module.Class``. The master only ``check``s a
name, which imports nothing of the worker: it is never monkey-patched. ``resolve``
imports, and is for the process that becomes the worker.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from canter.errors import ConfigError
from canter.spelling import meant

if TYPE_CHECKING:
    from canter.workers.base import Worker

GROUP = "canter.workers"


# Methods that subclasses override and `Worker` calls: how many arguments they get besides self.
CALLED = {"setup": 0, "run": 0, "accept": 0, "serve": 1, "waiter": 0, "capacity": 0}


class Place(NamedTuple):
    """Where a class is; ``extra`` names the extra and the package that it needs."""

    module: str
    name: str
    extra: str = ""


TABLE = {
    "sync": Place("canter.workers.sync", "SyncWorker"),
    "gthread": Place("canter.workers.gthread", "ThreadWorker"),
    "gevent": Place("canter.workers.gevent", "GeventWorker", "gevent"),
    "eventlet": Place("canter.workers.eventlet", "EventletWorker", "eventlet"),
    "asyncio": Place("canter.workers.asyncio", "AsyncioWorker"),
    "tornado": Place("canter.workers.tornado", "TornadoWorker", "tornado"),
}


def check(worker_class: str | type) -> None:
    """Raise where ``resolve`` is bound to fail; nothing is imported to find out."""
    if isinstance(worker_class, type):
        return
    place = _locate(worker_class)
    if place.extra and find_spec(place.extra) is None:
        raise ConfigError(f"worker class {worker_class} needs a package: pip install 'canter[{place.extra}]'")
    package = place.module.partition(".")[0]
    if find_spec(package) is None:
        raise ConfigError(f"worker class {worker_class}: no module named {package!r}")


def resolve(worker_class: str | type) -> type[Worker]:
    """The class itself, imported. One-line ConfigError where there is none."""
    if isinstance(worker_class, type):
        return _checked(worker_class, worker_class.__qualname__)
    check(worker_class)
    place = _locate(worker_class)
    try:
        found = getattr(import_module(place.module), place.name)
    except Exception as error:  # a stranger's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"worker class {worker_class} cannot be imported: {reason}") from error
    return _checked(found, worker_class)


def _checked(found: object, shown: str) -> type[Worker]:
    from canter.workers.base import Worker  # only a process that becomes a worker needs it

    if not (isinstance(found, type) and issubclass(found, Worker)):
        raise ConfigError(f"worker class {shown} is not a subclass of canter.Worker")
    for name, arguments in CALLED.items():
        if misfit := _misfit(getattr(found, name), arguments):
            raise ConfigError(f"worker class {shown}: {name}() {misfit}")
    return found


def _misfit(method: Any, arguments: int) -> str:
    """Why a method can't be called as `Worker` calls it; "" where it can."""
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        return "is async, but is called as a plain function: run the loop inside of it"
    try:
        inspect.signature(method).bind(*[None] * (1 + arguments))
    except TypeError:
        return f"must take self and {arguments} more" if arguments else "must take nothing but self"
    return ""


def _locate(worker_class: str) -> Place:
    """The place that a name means."""
    if worker_class in TABLE:
        return TABLE[worker_class]
    path = _entry_points().get(worker_class, worker_class)
    module, _, name = path.rpartition(":" if ":" in path else ".")
    if not (module and name):
        raise ConfigError(_unknown(worker_class))
    return Place(module, name)


def _entry_points() -> dict[str, str]:
    from importlib.metadata import entry_points  # 2 MiB that only a class of somebody else needs

    return {point.name: point.value for point in entry_points(group=GROUP)}


def _unknown(worker_class: str) -> str:
    known = [*TABLE, *_entry_points()]
    close = meant(worker_class, known)
    hint = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
    return f"unknown worker class {worker_class!r}; {hint}"
