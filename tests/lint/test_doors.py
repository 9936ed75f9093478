"""The doors are only as good as what import-linter is shown: no cimport may hide from it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.lint import doors

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("cimport cython\n", "import cython\n"),
        ("from libc.string cimport memcpy\n", "from libc.string import memcpy\n"),
        ("    from canter.master import arbiter  # late\n", "from canter.master import arbiter\n"),
        (
            "from canter.http._http1 cimport (\n    Request,  # one\n    Limits,\n)\n",
            "from canter.http._http1 import (\n    Request,  # one\n    Limits,\n)\n",
        ),
        ("from a cimport b, \\\n    c\n", "from a import b, \\\n    c\n"),
        ("important = 3\nreimport()\ncdef int imported\n", ""),
        ('cdef extern from "unistd.h":\n    int close(int)\n', ""),
    ],
)
def test_imports(source: str, expected: str) -> None:
    assert doors.imports(source) == expected


def test_each_module_is_shown(tmp_path: Path) -> None:
    doors.make(ROOT, tmp_path)
    compiled = {path.relative_to(ROOT / "core").with_suffix(".py") for path in (ROOT / "core").rglob("*.pyx")}
    plain = {path.relative_to(ROOT / "core") for path in (ROOT / "core").rglob("*.py")}
    shown = {path.relative_to(tmp_path / "canter") for path in tmp_path.rglob("*.py")}
    assert compiled | plain <= shown
    for path in tmp_path.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), str(path))
