"""Environments apart: for packages that cannot be beside those that the tests themselves need.

`make` builds each from the pins in `tests/pins/NAME.txt`, into `apart/NAME` of its own
environment, so that it has the same Python; `make test` builds those it needs. Here is only
where they are, so that no test ever waits for an index of packages.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest


def home(name: str) -> Path:
    """The folder of an environment."""
    folder = Path(sys.prefix) / "apart" / name
    if not (folder / "made").exists():
        pytest.fail(f"{folder} is missing or unfinished. It is made by: make test ARGS=--co", pytrace=False)
    return folder


def python(name: str) -> str:
    """The interpreter of an environment."""
    return str(home(name) / "bin" / "python")


def packages(name: str) -> str:
    """The folder of its packages, for the module search path of another."""
    base = str(home(name))
    return sysconfig.get_path("purelib", vars={"base": base, "platbase": base})
