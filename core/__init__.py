"""Canter: a pre-fork application server for Python web applications.

The public face. Names are loaded when they are first used (PEP 562), so that
``import canter`` and ``import canter.http`` load no socket and no thread: a worker
that patches the standard library must come before both.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from canter.cli import run as run
    from canter.config import Config as Config
    from canter.workers.base import Worker as Worker

__version__ = "0.1.0"

_HOMES = {"Config": "canter.config", "Worker": "canter.workers.base", "run": "canter.cli"}

__all__ = ["Config", "Worker", "__version__", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
