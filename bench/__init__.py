"""The load generator and the load-test comparison.

``run_load(url, ...)`` is the door for tests; ``canter-bench`` is the one for people.
Names are imported when they are first used, so that an application from
``canter.bench.apps`` never pays for the tools around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from canter.bench.load import run_load
    from canter.bench.plan import Load, Target
    from canter.bench.result import Histogram, Result

__all__ = ["Histogram", "Load", "Result", "Target", "run_load"]

_HOMES = {"run_load": "load", "Load": "plan", "Target": "plan", "Result": "result", "Histogram": "result"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"canter.bench.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
