"""canter.http is pure: what it may import stands in docs/design.md, and nothing else is loaded by it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lint import doors

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = ROOT / "build" / "layout"
ROOM = ROOT / "core" / "http"

# What would let a socket, a clock, a log, a thread or settings in.
IMPURE = {
    "socket", "_socket", "ssl", "select", "selectors", "time", "threading", "_thread", "logging", "asyncio",
    "gevent", "signal", "subprocess", "os", "posix", "canter.config", "canter.observe", "canter.stream",
}  # fmt: skip

# The doors of each module: everything it may name in an import or cimport.
FROM_C = {"cython", "cpython.bytes", "cpython.dict", "cpython.object", "cpython.unicode", *(
    f"libc.{name}" for name in ("limits", "stdint", "stdlib", "string")
)}  # fmt: skip
ALLOWED = {
    "_http1": FROM_C | {"canter.errors", "sys"},
    "_response": FROM_C | {"canter.errors", "canter.http._http1", "http"},
    "forwarded": {
        "__future__", "canter.errors", "canter.http._http1", "collections.abc", "ipaddress", "re", "typing",
    },
}  # fmt: skip


def loaded(statement: str) -> set[str]:
    """The modules that a bare interpreter, which has the package alone, loads for that statement."""
    program = (
        f"import sys; sys.path.insert(0, {str(LAYOUT)!r}); import canter; before = set(sys.modules)\n"
        f"{statement}\nprint(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-S", "-I", "-B", "-c", program]
    return set(subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout.split())


@pytest.mark.parametrize("module", ["canter.http._http1", "canter.http._response", "canter.errors"])
def test_loads_nothing_impure(module: str) -> None:
    modules = loaded(f"import {module}")
    assert module in modules
    assert not modules.intersection(IMPURE)


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_imports_through_the_doors_alone(name: str) -> None:
    sources = [path for suffix in (".pyx", ".pxd", ".py") if (path := ROOM / f"{name}{suffix}").exists()]
    lines = "".join(doors.imports(path.read_text(encoding="utf-8")) for path in sources).splitlines()
    named = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert named <= ALLOWED[name]


def test_each_module_is_held() -> None:
    names = {path.stem for suffix in ("py", "pyx", "pxd") for path in ROOM.glob(f"*.{suffix}")}
    assert names - {"__init__"} == set(ALLOWED)
