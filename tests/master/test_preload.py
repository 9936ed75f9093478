"""--preload: a loader imports the application once and forks workers that are the master's own."""

from __future__ import annotations

import os
import re
import signal
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from canter.master.preload import open_sockets
from canter.testing import Server
from tests.processes import is_alive, until

from .conftest import ask, workers


class Loaded(NamedTuple):
    worker: int
    loader: int
    parent: int
    token: str


def loaded(server: Server) -> Loaded:
    answer = ask(server)
    loader, parent, token = answer.text.split()
    return Loaded(answer.pid, int(loader), int(parent), token)


def ready(server: Server, number: int) -> set[int]:
    """The workers, once there are so many; the loader is not one of them."""

    def found() -> set[int] | None:
        pids = {pid for pid in workers(server) if f"worker {pid} is ready" in server.log}
        return pids if len(pids) == number else None

    return set(until(found, f"{number} workers are ready"))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "changing.py"
    path.write_text("import os\nPID = os.getpid()\ndef app(worker): return f'one {PID}'\n")
    return path


def test_one_import_for_all_workers(run) -> None:
    config = "def pre_fork(server, worker): worker.token = 'abc'"
    with run("fakes:loaded", preload_app=True, workers=2, config=config) as server:
        pids = ready(server, 2)
        answers = {loaded(server) for _ in range(20)}
        assert {answer.worker for answer in answers} <= pids
        ((loader, parent, token),) = {answer[1:] for answer in answers}
        assert loader not in {server.pid, *pids}
        assert (parent, token) == (server.pid, "abc")
        os.kill(min(pids), signal.SIGKILL)
        ready(server, 2)
        assert {loaded(server).loader for _ in range(10)} == {loader}
        assert server.stop() == 0
        assert not is_alive(loader)


def test_a_reload_has_a_new_loader_and_new_code(run, code: Path) -> None:
    with run("changing:app", preload_app=True, pythonpath=str(code.parent), workers=2) as server:
        ready(server, 2)
        text, old = ask(server).text.split()
        assert text == "one"
        code.write_text(code.read_text().replace("one", "another"))
        server.signal(signal.SIGHUP)
        server.wait_log("Reload complete")
        text, new = until(lambda: (said := ask(server).text.split()) and said[0] == "another" and said)
        assert new != old
        until(lambda: not is_alive(int(old)))


def test_a_reload_with_broken_code_leaves_the_old_loader(run, code: Path) -> None:
    with run("changing:app", preload_app=True, pythonpath=str(code.parent)) as server:
        (pid,) = ready(server, 1)
        said = ask(server).text
        code.write_text("import does_not_exist")
        server.signal(signal.SIGHUP)
        server.wait_log(r"Reload called off: the first new worker \(.*\) failed to boot: .*does_not_exist")
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid not in workers(server) and ready(server, 1))
        assert ask(server).text == said


def test_an_import_that_fails_is_told_once_and_exits_4(run, code: Path) -> None:
    code.write_text("import does_not_exist")
    with run("changing:app", preload_app=True, pythonpath=str(code.parent), workers=4) as server:
        assert server.wait() == 4
        assert server.log.count("Traceback") == 1
        assert "it imports 'does_not_exist', which is not found" in server.log


def test_an_import_that_hangs_shows_where(run, code: Path) -> None:
    code.write_text("import time\ntime.sleep(1000)")
    given = {"pythonpath": str(code.parent), "boot_timeout": 1, "boot_retries": 0}
    with run("changing:app", preload_app=True, workers=2, **given) as server:
        assert server.wait() == 3
        assert 'changing.py", line 2 in <module>' in server.log


def test_a_stop_while_the_application_loads(run, code: Path) -> None:
    code.write_text("import time\ntime.sleep(1000)")
    with run("changing:app", preload_app=True, workers=2, pythonpath=str(code.parent)) as server:
        until(lambda: workers(server))
        assert server.stop() == 0


def test_a_loader_that_died_is_replaced_when_it_is_needed(run) -> None:
    with run("fakes:loaded", preload_app=True) as server:
        (pid,) = ready(server, 1)
        old = loaded(server)
        os.kill(old.loader, signal.SIGKILL)
        server.wait_log(rf"the loader \(pid:{old.loader}\) ended: SIGKILL")
        assert loaded(server) == old
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid not in workers(server) and ready(server, 1))
        assert loaded(server).loader != old.loader


def test_threads_and_sockets_of_an_import_are_named(run, code: Path) -> None:
    code.write_text(
        "import atexit, os, socket, threading\n"
        "kept = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(kept.getsockname())\n"
        "threading.Thread(target=threading.Event().wait, name='sampler', daemon=True).start()\n"
        "atexit.register(lambda: os.write(2, b'goodbye of %d\\n' % os.getpid()))\n"
        "def app(worker): return str(kept.getsockname()[1])\n"
    )
    with run("changing:app", preload_app=True, pythonpath=str(code.parent)) as server:
        (pid,) = ready(server, 1)
        port = ask(server).text
        server.wait_log("threads .* will not run in the workers: sampler")
        told = server.wait_log("sockets .* will be shared by all workers: (.*)")[1]
        assert sorted(re.sub(r"^\d+ ", "", each) for each in told.split(", ")) == [
            f"at 127.0.0.1:{port}", f"to 127.0.0.1:{port}",
        ]  # fmt: skip
        assert server.stop() == 0
        assert re.findall(r"goodbye of (\d+)", server.log) == [str(pid)]


def test_what_an_import_leaves_is_out_of_the_collectors_sight(run, code: Path) -> None:
    """Its marks would be writes, and memory that is written is not shared any more."""
    code.write_text("import gc\ndef app(worker): return str(gc.get_freeze_count())\n")
    with run("changing:app", preload_app=True, pythonpath=str(code.parent)) as server:
        ready(server, 1)
        assert int(ask(server).text) > 1000


def test_a_killed_master_leaves_no_loader(run) -> None:
    with run("fakes:loaded", preload_app=True) as server:
        (pid,) = ready(server, 1)
        loader = loaded(server).loader
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        until(lambda: not is_alive(pid) and not is_alive(loader))


@pytest.mark.skipif(find_spec("gevent") is None, reason="gevent is not installed")
def test_gevent_patches_before_the_import(run, code: Path) -> None:
    code.write_text(
        "import socket, gevent.socket, gevent\n"
        "assert socket.socket is gevent.socket.socket, 'imported before it was patched'\n"
        "gevent.spawn(gevent.sleep, 1000); gevent.sleep(0)\n"
        "def app(environ, start_response):\n"
        "    gevent.sleep(0.01)\n"
        "    start_response('200 OK', [('Content-Length', '5')])\n"
        "    return [b'hello']\n"
    )
    given = {"worker_class": "gevent", "pythonpath": str(code.parent)}
    with run("changing:app", preload_app=True, workers=2, **given) as server:
        ready(server, 2)
        for _ in range(4):
            with socket.create_connection((server.host, server.port), timeout=30) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b""
                while received := client.recv(1000):
                    answer += received
            assert answer.endswith(b"\r\n\r\nhello")


def test_open_sockets_names_only_sockets_of_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_server(("127.0.0.1", 0)) as theirs:
        found = open_sockets({ours.fileno()})
        assert f"{theirs.fileno()} at 127.0.0.1:{theirs.getsockname()[1]}" in found
        assert not any(f":{ours.getsockname()[1]}" in each for each in found)
