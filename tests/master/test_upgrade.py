"""USR2: a new master beside the old one, on the same sockets, and back again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest

from canter.testing import Server
from tests.processes import is_alive, until

from .conftest import APPS, ask, settled


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "more.py"
    path.write_text("")
    return path


def upgrade(server: Server) -> int:
    """Send USR2; the pid of the new master, once it serves."""
    before = len(re.findall(r"the new master \(pid:\d+\) serves", server.log))
    server.signal(signal.SIGUSR2)
    return int(server.wait_log(rf"(?s)(?:the new master \(pid:(\d+)\) serves.*){{{before + 1}}}")[1])


def end(pid: int, number: int = signal.SIGTERM) -> None:
    os.kill(pid, number)
    until(lambda: not is_alive(pid))


def test_the_new_master_takes_over(run, settings: Path, tmp_path: Path) -> None:
    pid_file, socket_file = tmp_path / "pid", tmp_path / "socket"
    given = {"pidfile": str(pid_file), "bind": ["127.0.0.1:0", f"unix:{socket_file}"], "workers": 2}
    with run(config=f"exec(open({str(settings)!r}).read())", **given) as server:
        old_workers = settled(server, 2)
        settings.write_text("workers = 1\nproc_name = 'new'")
        new = upgrade(server)
        assert f"[{new}] [INFO] Listening at: {','.join(server.urls)} ({new})" in server.log
        assert pid_file.read_text() == f"{server.pid}\n"
        assert Path(f"{pid_file}.2").read_text() == f"{new}\n"
        until(lambda: ask(server).pid not in old_workers, "a new worker answers")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        server.wait_log = lambda pattern: until(lambda: re.search(pattern, server.log))  # type: ignore[assignment]
        server.wait_log(rf"\[{new}\] .*the old master \(pid:{server.pid}\) has gone")
        until(lambda: pid_file.exists() and pid_file.read_text() == f"{new}\n")
        assert not Path(f"{pid_file}.2").exists()
        assert ask(server).pid not in old_workers
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(socket_file))
        end(new)
        assert not pid_file.exists()
        assert not socket_file.exists()


def test_back_to_the_old_master(run) -> None:
    with run(workers=1) as server:
        (old,) = settled(server, 1)
        new = upgrade(server)
        end(new)
        server.wait_log(rf"the new master \(pid:{new}\) ended: exit code 0; this one goes on")
        assert ask(server).pid == old
        assert upgrade(server) != new


@pytest.mark.parametrize(
    ("line", "how"),
    [
        ("raise SystemExit(1)", "exit code 1"),
        ("workers = 'many'", "exit code 2"),
        ("wsgi_app = 'nothing:here'\nproc_name = 'x'", "exit code 4"),
        ("def post_worker_init(worker): raise OSError('no data base')", "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_a_new_master_that_cannot_boot_ends_by_itself(run, settings: Path, line: str, how: str) -> None:
    with run(None, wsgi_app="fakes:app", config=f"exec(open({str(settings)!r}).read())") as server:
        (old,) = settled(server, 1)
        settings.write_text(line)
        server.signal(signal.SIGUSR2)
        server.wait_log(rf"the new master \(pid:\d+\) ended: {how}; this one goes on")
        assert ask(server).pid == old
        settings.write_text("")
        upgrade(server)


def test_only_one_upgrade_at_a_time(run) -> None:
    with run() as server:
        settled(server, 1)
        new = upgrade(server)
        server.signal(signal.SIGUSR2)
        server.wait_log(rf"USR2 is ignored: the new master \(pid:{new}\) is still there")
        os.kill(new, signal.SIGUSR2)
        server.wait_log(rf"\[{new}\] .*USR2 is ignored: the old master \(pid:{server.pid}\) is still there")


def test_several_upgrades_in_a_row_and_a_killed_master(run) -> None:
    with run(workers=2) as server:
        settled(server, 2)
        masters = [server.pid, upgrade(server)]
        os.kill(masters[0], signal.SIGKILL)
        server.wait()
        until(lambda: f"the old master (pid:{masters[0]}) has gone" in server.log)
        for number in (signal.SIGTERM, signal.SIGQUIT):
            os.kill(masters[-1], signal.SIGUSR2)
            said = rf"\[{masters[-1]}\] .*the new master \(pid:(\d+)\) serves"
            found = until(lambda said=said: re.findall(said, server.log))
            masters.append(int(found[0]))
            end(masters[-2], number)
        assert ask(server).text == "hello"
        end(masters[-1])


def test_no_request_is_lost(run) -> None:
    with run(workers=1) as server:
        settled(server, 1)
        new = upgrade(server)
        os.kill(server.pid, signal.SIGTERM)
        answers = 0
        while is_alive(server.pid) or answers < 10:
            assert ask(server).text == "hello"
            answers += 1
        end(new)


def test_hook_and_environment(run) -> None:
    config = (
        "def pre_exec(server): server.log.info('hook pre_exec')\n"
        "import os\n"
        "def when_ready(server): server.log.info('inherits %s', 'CANTER__UPGRADE' in os.environ)\n"
    )
    with run(config=config) as server:
        settled(server, 1)
        end(upgrade(server))
        assert "hook pre_exec" in server.log
        assert re.findall("inherits (True|False)", server.log) == ["False", "False"]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        yield listening


def heard(manager: socket.socket, what: str) -> str:
    """The next message that begins so; signs of life in between do not count."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        message = manager.recv(1000).decode()
        if message.startswith(what):
            return message
    raise AssertionError(f"never heard {what}")


def test_a_service_manager_hears_of_everything(run, manager: socket.socket) -> None:
    env = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "600000"}
    with run(env=env) as server:
        assert heard(manager, "READY=1")
        assert heard(manager, "WATCHDOG=1")
        server.signal(signal.SIGHUP)
        assert re.search(r"^MONOTONIC_USEC=\d+$", heard(manager, "RELOADING=1"), re.MULTILINE)
        assert heard(manager, "READY=1")
        new = upgrade(server)
        assert heard(manager, f"MAINPID={new}")
        end(new)
        assert heard(manager, f"MAINPID={server.pid}")
        assert server.stop() == 0
        assert heard(manager, "STOPPING=1")


def test_socket_activation_survives_an_upgrade() -> None:
    """As systemd does it: the socket is descriptor 3, LISTEN_PID names the process."""
    launcher = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
        "os.execv(sys.executable, [sys.executable, '-m', 'canter', *sys.argv[2:]])"
    )
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        fd = str(given.fileno())
        command = [sys.executable, "-c", launcher, fd, "-k", "fakes:Fake", "-b", "127.0.0.1:1", "fakes:app"]
        with subprocess.Popen(
            command, cwd=APPS, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "LISTEN_FDS": "1"}, pass_fds=[given.fileno()],
        ) as process:  # fmt: skip
            assert process.stderr is not None
            try:
                line = next(line for line in process.stderr if "Listening" in line)
                assert f"http://127.0.0.1:{port} " in line
                process.send_signal(signal.SIGUSR2)
                line = next(line for line in process.stderr if "serves" in line)
                new = int(re.findall(r"pid:(\d+)", line)[0])
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
                with socket.create_connection(("127.0.0.1", port)) as client:
                    assert client.recv(100).endswith(b"hello\n")
            finally:
                process.kill()
            end(new)


def in_a_pid_namespace() -> bool:
    done = subprocess.run(["unshare", "--pid", "--fork", "true"], stderr=subprocess.DEVNULL)
    return done.returncode == 0


@pytest.mark.skipif(not (which("unshare") and in_a_pid_namespace()), reason="needs unshare --pid")
def test_process_1_reaps_orphans_and_refuses_an_upgrade(tmp_path: Path) -> None:
    """As in a container. An application that leaves an orphan behind leaves no zombie."""
    log = tmp_path / "log"
    options = ["-k", "fakes:Fake", "-b", "127.0.0.1:0", "--log-level", "debug", "--error-logfile", str(log)]
    command = [sys.executable, "-m", "canter", *options, "fakes:orphan"]
    with subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", *command], cwd=APPS) as process:
        try:
            until(lambda: log.exists() and "is ready after" in log.read_text())
            (master,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
            port = int(re.findall(r"Listening at: http://127.0.0.1:(\d+) \(1\)", log.read_text())[0])
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                orphan = int(client.recv(100).split()[-1])
            until(lambda: f"process {orphan} ended: exit code 0" in log.read_text())
            os.kill(master, signal.SIGUSR2)
            until(lambda: "USR2 is ignored: process 1 cannot be replaced" in log.read_text())
            os.kill(master, signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
