"""``canter.run`` in a program of one's own: a real server, from an application object."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

DEADLINE = 30

PROGRAM = """
import sys
import canter

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"from a program"]

sys.exit(canter.run(app, bind="127.0.0.1:0", workers=2, errorlog="server.log"))
"""


def wait_for(path: Path, pattern: str) -> str:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        text = path.read_text() if path.exists() else ""
        if found := re.search(pattern, text):
            return found[1]
        time.sleep(0.05)
    pytest.fail(f"no {pattern!r} in {text!r}")


def test_run_serves_an_application_object(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, start_new_session=True)
    try:
        url = wait_for(tmp_path / "server.log", r"Listening at: (\S+)")
        assert httpx.get(url, timeout=DEADLINE).text == "from a program"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()


def test_run_says_what_is_wrong() -> None:
    program = "import canter\ntry: canter.run(len, workrs=2)\nexcept Exception as error: print(repr(error))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == """ConfigError("unknown setting 'workrs'; did you mean 'workers'?")\n"""
    assert done.stderr == ""
