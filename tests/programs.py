"""Real programs that tests run: `.ci/run` installs them, so there a missing one is a failure.

Elsewhere the test is skipped, with a line that says what to install: `make test` asks a
newcomer for no more than Python and a C compiler.
"""

from __future__ import annotations

import os
import shutil

import pytest

PACKAGES = {"ab": "apache2-utils"}  # of Debian, where the name is another


def needed(program: str) -> str:
    """The path of a program that the test cannot do without."""
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is not None:
        return found
    line = f"this test needs {program}. Debian, Ubuntu: apt install {PACKAGES.get(program, program)}"
    if os.environ.get("CI"):
        pytest.fail(line, pytrace=False)
    pytest.skip(line)
