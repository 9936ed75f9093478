"""A missing tool is named in one line, with what to install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PREFLIGHT = Path(__file__).resolve().parents[2] / ".ci" / "preflight"


def preflight(python: str = sys.executable, **environ: str) -> tuple[int, str]:
    """Exit code and standard error of a run with the variables of `environ` put in or replaced."""
    result = subprocess.run(
        ["/bin/sh", PREFLIGHT, python], env=os.environ | environ, capture_output=True, text=True, timeout=60
    )
    assert result.stdout == ""
    return result.returncode, result.stderr


def tool(folder: Path, name: str, script: str) -> str:
    """A program `name` in `folder` that does what the shell `script` says."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(autouse=True)
def _compiler_that_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """These tests are about what is said when one thing is missing, not about this machine."""
    monkeypatch.setenv("CC", tool(tmp_path, "works", "exec cat"))


def test_nothing_missing() -> None:
    assert preflight() == (0, "")


def test_the_compiler_of_this_machine() -> None:
    """The tests run on compiled rooms, so what compiled them must be found."""
    assert preflight(CC="cc") == (0, "")


def test_no_make(tmp_path: Path) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("cat", "sh"):
        (path / name).symlink_to(shutil.which(name) or name)
    status, said = preflight(PATH=str(path))
    assert status == 1
    assert said.startswith("canter: 'make' is missing. Debian, Ubuntu: apt install make;")
    assert said.count("\n") == 1


def test_no_python() -> None:
    status, said = preflight("/nowhere/python3")
    assert status == 1
    assert said.startswith(
        "canter: Python 3.10 or newer is needed, and '/nowhere/python3' is not one that runs."
    )


def test_an_old_python(tmp_path: Path) -> None:
    """As it says of itself: the check is run with a false version."""
    old = tool(
        tmp_path,
        "python3",
        f'shift; exec {sys.executable} -c "import sys; sys.version_info = (3, 9, 18); $1"',
    )
    status, said = preflight(old)
    assert status == 1
    assert "Python 3.10 or newer is needed" in said


def test_no_venv(tmp_path: Path) -> None:
    """Debian's python3 without python3-venv: the module venv is there, ensurepip is not."""
    (tmp_path / "ensurepip.py").write_text("raise ModuleNotFoundError('ensurepip')\n")
    status, said = preflight(PYTHONPATH=str(tmp_path))
    assert status == 1
    assert "has no module venv. Debian, Ubuntu: apt install python3-venv" in said


def test_no_compiler() -> None:
    status, said = preflight(CC="/nowhere/cc -pipe")
    assert status == 1
    assert said.startswith("canter: no C compiler: '/nowhere/cc -pipe' does not compile.")
    assert said.count("\n") == 1


def test_no_header(tmp_path: Path) -> None:
    blind = tool(tmp_path, "blind", "if grep -q Python.h; then exit 1; fi")
    status, said = preflight(CC=blind)
    assert status == 1
    assert "the header Python.h of" in said
    assert "apt install python3-dev" in said
