"""Servers under test: started, weighed, stopped; and the ceiling, compiled."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from canter.bench import apps, run_load
from canter.bench.measure import build_raw
from canter.bench.server import Server, ServerFailed, free_port, get, why

PROGRAM = """
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server
import bench_apps
class Quiet(WSGIRequestHandler):
    def log_message(self, *args): pass
make_server("127.0.0.1", int(sys.argv[1]), bench_apps.wsgi, handler_class=Quiet).serve_forever()
"""


def server(tmp_path: Path, *command: str) -> Server:
    shutil.copy(apps.__file__, tmp_path / "bench_apps.py")
    port = free_port()
    words = [word.format(port=port) for word in command]
    return Server(words, port, env={**os.environ, "PYTHONPATH": str(tmp_path)}, log=tmp_path / "log")


def test_it_answers_and_is_weighed(tmp_path: Path) -> None:
    with server(tmp_path, sys.executable, "-c", PROGRAM, "{port}") as running:
        assert get(running.port, "/") == (200, apps.HELLO)
        before = running.usage()
        result = run_load(f"http://127.0.0.1:{running.port}/cpu?loops=20000", connections=2, requests=50)
        after = running.usage()
        worker, everything = running.memory()
        pid = running.pid
    assert not result.errors, result.examples
    assert before is not None
    assert after is not None
    assert (after - before).total > 0
    assert 1_000_000 < worker <= everything
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("no-such-program",), "no-such-program: No such file or directory"),
        ((sys.executable, "-c", "raise SystemExit('the port is taken')"), "ended with 1: the port is taken"),
    ],
)
def test_one_that_does_not_start_says_why_in_one_line(
    tmp_path: Path, command: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ServerFailed, match=reason), server(tmp_path, *command):
        pass


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("", "it said nothing"),
        ("one\n\ntwo\n", "two"),
        ("[1:02] [7] [ERROR] Worker (pid:8) failed to boot: no 'a'\n[1:02] [7] [INFO] bye\n", "no 'a'"),
        ("[2026-11-25 1:18 +0000] [7] [ERROR] cannot listen: in use\nbye\n", "cannot listen: in use"),
        ("Traceback (most recent call last):\nValueError: no\nbye\n", "ValueError: no"),
    ],
)
def test_why_a_server_ended(log: str, reason: str) -> None:
    assert why(log) == reason


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_the_ceiling_compiles_and_answers(tmp_path: Path) -> None:
    with server(tmp_path, build_raw(tmp_path), "{port}", "10") as running:
        assert get(running.port, "/") == (200, apps.HELLO)
