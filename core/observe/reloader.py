"""``--reload``: notice that a file of the running program has changed.

In each worker one thread waits in watchfiles for the folders of all imported
modules, and of ``reload_extra_files``, to stir; it then compares what it has seen of
the files themselves, so that a write to an unrelated neighbour means nothing and an
editor's rename-over counts. Modules imported later are taken in as they appear.

The wait is outside Python and would hold up an event loop, so the thread is started
with what this module found when it was imported: that is before gevent or eventlet
patch anything.

What a change means is the caller's: best is HUP to the master, whose first new
worker is a canary, so that a syntax error just saved leaves the old code serving,
and the next save is noticed by the same workers.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import glob
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from canter.config import Config

_TICK = 1000  # ms between looks for newly imported modules

Stamp = tuple[int, int]  # time of change in ns, and size


class _Stop:
    """What watchfiles asks between two waits. Plain, for an Event may be patched."""

    def __init__(self) -> None:
        self.asked = False
        self.done = False

    def is_set(self) -> bool:
        return self.asked

    def __call__(self) -> None:
        """End the thread, and wait for it (a second at most)."""
        self.asked = True
        for _ in range(100):
            if self.done:
                break
            time.sleep(0.01)


def start_reloader(cfg: Config, on_change: Callable[[str], object]) -> Callable[[], None]:
    """Call ``on_change(path)`` from a thread at every change; the result ends that.

    To be called in the worker, after the application is loaded. The thread is a native
    one under gevent and eventlet too, so ``on_change`` should do little more than send
    a signal.
    """
    watched = Watched(sys.modules, cfg.reload_extra_files)
    stop = _Stop()
    start_new_thread(_run, (watched, on_change, stop))
    # The interpreter must not end while the thread is in compiled code that is not C:
    # it would be unwound by force, which aborts the process.
    atexit.register(stop)
    return stop


def _run(watched: Watched, on_change: Callable[[str], object], stop: _Stop) -> None:
    try:
        while not stop.asked:
            _watch(watched, on_change, stop)
    finally:
        stop.done = True


def _watch(watched: Watched, on_change: Callable[[str], object], stop: _Stop) -> None:
    """Watch one set of folders, until there are others to watch."""
    watch = import_module("watchfiles").watch  # the extra `reload`; the command line has looked for it
    folders = watched.folders()
    unseen = True  # what changed while nobody watched is seen at the first tick
    options = {"recursive": False, "watch_filter": None, "raise_interrupt": False, "stop_event": stop}
    for changes in watch(*folders, rust_timeout=_TICK, yield_on_timeout=True, **options):
        if changes or unseen:
            for path in watched.look()[:1]:
                on_change(path)
        unseen = False
        watched.take_in()
        if watched.folders() != folders:
            break


class Watched:
    """The files that matter, with the stamps they had when last looked at.

    ``modules`` is ``sys.modules``; ``extra`` are files, folders (with all below them)
    and patterns, where a file that is new or gone is a change too.
    """

    def __init__(self, modules: Mapping[str, object], extra: Sequence[str]) -> None:
        self._modules = modules
        self._extra = extra
        self._sources: dict[str, Stamp] = {}
        self._others = _stamps(_expand(extra))
        self.take_in()

    def take_in(self) -> None:
        """Begin to watch what was imported since."""
        self._sources |= _stamps(_sources(self._modules) - self._sources.keys())

    def look(self) -> list[str]:
        """The files that changed since the last look."""
        sources, others = _stamps(self._sources), _stamps(_expand(self._extra))
        changed = [path for path, stamp in sources.items() if stamp != self._sources[path]]
        changed += sorted({path for path, _ in others.items() ^ self._others.items()})
        self._sources |= sources  # a file that is gone keeps its stamp: editors may take it away for a moment
        self._others = others
        return changed

    def folders(self) -> set[str]:
        """The folders to watch: of each file, of what a link leads to, and all extra ones."""
        files = [*self._sources, *self._others]
        found = {os.path.dirname(path) for file in files for path in (file, os.path.realpath(file))}
        found.update(folder for path in self._extra if os.path.isdir(path) for folder, _, _ in os.walk(path))
        found.update(os.path.dirname(os.path.abspath(path)) for path in self._extra)
        return {folder for folder in found if os.access(folder, os.R_OK | os.X_OK)}


def _sources(modules: Mapping[str, object]) -> set[str]:
    # Not getattr: a lazy module would go and import something.
    files = (vars(module).get("__file__") for module in list(modules.values()) if hasattr(module, "__dict__"))
    return {os.path.abspath(file) for file in files if isinstance(file, str)}


def _expand(extra: Sequence[str]) -> Iterator[str]:
    for path in extra:
        if os.path.isdir(path):
            for folder, _, names in os.walk(path):
                yield from (os.path.join(folder, name) for name in names)
        else:
            yield from glob(path, recursive=True) or [path]


def _stamps(paths: Iterator[str] | Mapping[str, Stamp] | set[str]) -> dict[str, Stamp]:
    """Stamps of those files that are there."""
    stamps = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        stamps[path] = status.st_mtime_ns, status.st_size
    return stamps
