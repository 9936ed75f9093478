"""Pid files, privileges, reports and notifications: the master's small doors to the system."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from canter.errors import AppImportError, ConfigError
from canter.master import report, spawn
from canter.master.process import PidFile, ProcessError, become, is_alive
from canter.master.signals import SignalQueue
from canter.master.systemd import Notifier, take_activated

# -- pid file --------------------------------------------------------------------------


def test_a_pid_file_comes_and_goes(tmp_path: Path) -> None:
    file = PidFile(str(tmp_path / "pid"))
    file.write()
    assert file.path.read_text() == f"{os.getpid()}\n"
    assert file.path.stat().st_mode & 0o777 == 0o644
    file.move(str(tmp_path / "other"))
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    file.remove()
    assert not list(tmp_path.iterdir())
    file.remove()


@pytest.mark.parametrize("text", ["", "nonsense", "0", "-1", "999999999"])
def test_a_stale_pid_file_is_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pid"
    path.write_text(text)
    PidFile(str(path)).write()
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_pid_file_of_a_living_process_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getppid()}\n")
    file = PidFile(str(path))
    with pytest.raises(ProcessError, match=f"already running: .* names process {os.getppid()}"):
        file.write()
    file.remove()
    assert path.exists()


def test_a_pid_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"cannot write the pid file .*No such file"):
        PidFile(str(tmp_path / "no" / "folder")).write()


# -- privileges ------------------------------------------------------------------------


def in_child(action: Callable[[], bool]) -> bool:
    """What an action says that changes the process it runs in."""
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            code = 0 if action() else 1
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_becoming_somebody_else() -> None:
    def somebody() -> bool:
        become(65534, 65533, all_groups=False)
        return (os.getresuid(), os.getresgid(), os.getgroups()) == ((65534,) * 3, (65533,) * 3, [65533])

    assert in_child(somebody)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_becoming_somebody_without_a_name_has_no_groups_to_take() -> None:
    def stranger() -> bool:
        with pytest.raises(ProcessError, match="cannot become user 54321"):
            become(54321, 54321, all_groups=True)
        return True

    assert in_child(stranger)


def test_staying_oneself_needs_no_rights() -> None:
    become(os.geteuid(), os.getegid(), all_groups=True)


def test_a_process_is_alive_or_not() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    assert is_alive(os.getpid())
    assert is_alive(1)
    assert not is_alive(child.pid)


# -- reports ---------------------------------------------------------------------------


def test_reports_survive_any_cutting() -> None:
    told = [report.Failure(3, "line", "trace\nback"), report.Ready()]
    octets = b"".join(map(report.encode, told))
    for size in (1, 7, len(octets)):
        inbox = report.Inbox()
        heard = [
            message for at in range(0, len(octets), size) for message in inbox.feed(octets[at : at + size])
        ]
        assert heard == told


def test_a_long_traceback_keeps_its_end_and_fits_into_the_socket() -> None:
    octets = report.encode(report.Failure(3, "line", "x" * 10**6 + "the end"))
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        assert writer.send(octets) == len(octets)
    (failure,) = report.Inbox().feed(octets)
    assert isinstance(failure, report.Failure)
    assert failure.traceback.endswith("the end")


@pytest.mark.parametrize(
    ("error", "code", "line", "trace"),
    [
        (AppImportError("no module"), 4, "no module", ""),
        (AppImportError("broken", "Traceback ..."), 4, "broken", "Traceback ..."),
        (ConfigError("wrong"), 2, "wrong", ""),
        (ProcessError("cannot become user 1"), 3, "cannot become user 1", ""),
        (OSError("no data base"), 3, "OSError: no data base", "Traceback"),
        (KeyboardInterrupt(), 3, "KeyboardInterrupt: ", "Traceback"),
    ],
)
def test_failures_are_explained(error: BaseException, code: int, line: str, trace: str) -> None:
    try:
        raise error
    except BaseException as raised:
        failure = spawn.explain(raised)
    assert (failure.exit_code, failure.line) == (code, line)
    assert failure.traceback.startswith(trace)
    assert bool(failure.traceback) == bool(trace)


# -- the service manager ---------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        yield listening


def test_what_a_service_manager_is_told(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "3000000"})

    def heard() -> str:
        return manager.recv(1000).decode()

    notifier.ready("serving")
    assert heard() == "READY=1\nSTATUS=serving"
    notifier.reloading()
    assert heard().startswith("RELOADING=1\nMONOTONIC_USEC=")
    notifier.stopping()
    assert heard() == "STOPPING=1"
    notifier.main_pid(42)
    assert heard() == "MAINPID=42"
    notifier.status("2 workers")
    assert heard() == "STATUS=2 workers"
    notifier.beat(10)
    assert heard() == "WATCHDOG=1"
    assert notifier.due == 10 + 10**9
    notifier.beat(11)
    notifier.beat(10 + 10**9)
    assert heard() == "WATCHDOG=1"
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard()


def test_an_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0canter-test-{os.getpid()}")
        listening.settimeout(30)
        Notifier({"NOTIFY_SOCKET": f"@canter-test-{os.getpid()}"}).stopping()
        assert listening.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "/nobody/listens"},
        {"WATCHDOG_USEC": "many"},
        {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    notifier = Notifier(environ)
    notifier.ready("serving")
    notifier.beat(1)
    assert notifier.interval == 0


@pytest.mark.parametrize(
    ("pid", "count", "found"),
    [(str(os.getpid()), "2", [3, 4]), ("1", "2", []), (str(os.getpid()), "x", []), ("", "", [])],
)
def test_activated_sockets_are_taken_once(pid: str, count: str, found: list[int]) -> None:
    environ = {"LISTEN_PID": pid, "LISTEN_FDS": count, "LISTEN_FDNAMES": "a:b", "OTHER": "x"}
    assert take_activated(environ) == found
    assert environ == {"OTHER": "x"}


# -- signals ---------------------------------------------------------------------------


def test_signals_come_in_order_and_each_once() -> None:
    def child() -> bool:
        queue = SignalQueue()
        for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGHUP):
            signal.raise_signal(number)
        assert queue.take() == [signal.SIGHUP, signal.SIGTTIN]
        assert queue.take() == []
        queue.close()
        return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    assert in_child(child)
