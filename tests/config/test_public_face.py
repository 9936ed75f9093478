"""``import canter`` costs nothing and touches nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import canter

# What site's .pth files have loaded before is not ours to answer for.
PROGRAM = """
import sys
before = set(sys.modules)
import {module}
print(sorted((set(sys.modules) - before) & {{"socket", "threading", "ssl", "logging", "select", "asyncio"}}))
"""


@pytest.mark.parametrize("module", ["canter", "canter.http", "canter.errors"])
def test_an_import_loads_no_socket_and_no_thread(module: str) -> None:
    command = [sys.executable, "-c", PROGRAM.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_names_come_when_they_are_used() -> None:
    from canter.config import Config

    assert canter.Config is Config
    assert callable(canter.run)
    assert canter.__version__
    assert {"Config", "Worker", "run"} <= set(dir(canter))
    with pytest.raises(AttributeError, match="module 'canter' has no attribute 'nothing'"):
        canter.nothing  # noqa: B018
