"""HUP: new settings and new code, worker by worker, and nothing when the first one fails."""

from __future__ import annotations

import re
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.processes import until

from .conftest import ask, settled, workers


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A settings file that a test may change: `run(config=read(settings))`."""
    path = tmp_path / "more.py"
    path.write_text("")
    return path


def read(path: Path) -> str:
    return f"exec(open({str(path)!r}).read())\n"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """An application that a test may change."""
    path = tmp_path / "changing.py"
    path.write_text("def app(worker): return 'one'\n")
    return path


def test_new_code_and_new_settings(run, settings: Path, code: Path) -> None:
    with run("changing:app", pythonpath=str(code.parent), workers=2, config=read(settings)) as server:
        first = settled(server, 2)
        code.write_text("def app(worker): return 'twofold'\n")
        settings.write_text("workers = 3\non_reload = lambda server: server.log.info('hook on_reload')\n")
        server.signal(signal.SIGHUP)
        server.wait_log(r"Reload complete after [\d.]+ s: 3 new workers")
        server.wait_log("hook on_reload")
        until(lambda: not workers(server) & first)
        assert ask(server).text == "twofold"
        settled(server, 3)


def test_it_rolls_one_by_one_and_each_is_ready_first(run) -> None:
    with run(workers=3) as server:
        settled(server, 3)
        server.wait_log("(?s)(is ready.*){3}")
        server.signal(signal.SIGHUP)
        server.wait_log("Reload complete")
        story = re.findall(r"worker \d+ is (ready|told to stop)", server.log)[3:]
        assert story == ["ready", "told to stop"] * 3


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("workers = 'many'", r"Reload called off, the old settings stay: .*workers"),
        ("this is no python", r"Reload called off, the old settings stay: .*SyntaxError|invalid syntax"),
        ("raise SystemExit(3)", r"the settings file ended itself"),
        ("bind = '192.0.2.1:0'", r"cannot listen at 192\.0\.2\.1:0"),
        ("worker_class = 'nothing.here:X'", r"no module named 'nothing'"),
    ],
)
def test_wrong_settings_change_nothing(run, settings: Path, line: str, told: str) -> None:
    with run(workers=2, config=read(settings)) as server:
        first = settled(server, 2)
        settings.write_text(line)
        server.signal(signal.SIGHUP)
        server.wait_log(told)
        assert ask(server).text == "hello"
        settings.write_text("")
        server.signal(signal.SIGHUP)
        server.wait_log("Reload complete")
        until(lambda: not workers(server) & first)


def test_broken_code_changes_nothing(run, settings: Path, code: Path) -> None:
    with run("changing:app", pythonpath=str(code.parent), workers=2, config=read(settings)) as server:
        first = settled(server, 2)
        code.write_text("def app(worker): return\nimport does_not_exist\n")
        settings.write_text("workers = 7\n")
        server.signal(signal.SIGHUP)
        server.wait_log(
            r"Reload called off: the first new worker \(pid:\d+\) failed to boot: .*does_not_exist"
        )
        assert workers(server) == first
        assert ask(server).text == "one"
        code.write_text("def app(worker): return 'mended'\n")
        server.signal(signal.SIGTTIN)
        settled(server, 3)
        assert "3 workers instead of 2" in server.log


def test_a_canary_that_hangs_is_given_up(run, settings: Path) -> None:
    with run(workers=2, boot_timeout=3, config=read(settings)) as server:
        first = settled(server, 2)
        settings.write_text("def post_worker_init(worker):\n    import time\n    time.sleep(1000)")
        server.signal(signal.SIGHUP)
        server.wait_log(r"Reload called off")
        until(lambda: workers(server) == first)


def test_an_impatient_operator_gets_the_last_reload(run, settings: Path) -> None:
    with run(workers=1, config=read(settings)) as server:
        settled(server, 1)
        settings.write_text("def post_worker_init(worker):\n    import time\n    time.sleep(1000)")
        server.signal(signal.SIGHUP)
        until(lambda: len(workers(server)) == 2)
        settings.write_text("proc_name = 'last'")
        server.signal(signal.SIGHUP)
        server.wait_log("Reload complete")
        settled(server, 1)


def test_another_address(run, settings: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with run(config=read(settings)) as server:
        settled(server, 1)
        settings.write_text(f"bind = ['unix:{path}']")
        server.signal(signal.SIGHUP)
        server.wait_log(rf"Listening at: unix:{path} ")
        server.wait_log("Reload complete")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert b"hello" in client.recv(100)
        until(lambda: not listens(server.host, server.port), "the old port is closed")


def listens(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


def test_a_changed_number_by_signal_is_kept_over_a_reload(run) -> None:
    with run(workers=1) as server:
        server.signal(signal.SIGTTIN)
        settled(server, 2)
        server.signal(signal.SIGHUP)
        server.wait_log("Reload complete after .*: 2 new workers")


def test_a_changed_number_in_the_settings_counts_over_one_by_signal(run, settings: Path) -> None:
    settings.write_text("workers = 1")
    with run(config=read(settings)) as server:
        server.signal(signal.SIGTTIN)
        settled(server, 2)
        settings.write_text("workers = 3")
        server.signal(signal.SIGHUP)
        server.wait_log("Reload complete after .*: 3 new workers")
        settled(server, 3)


def test_no_connection_is_refused_while_it_rolls(run) -> None:
    with run(workers=2) as server:
        settled(server, 2)
        answers: list[str] = []
        over = threading.Event()

        def load() -> None:
            while not over.is_set():
                answers.append(ask(server).text)

        client = threading.Thread(target=load)
        client.start()
        for count in range(3):
            server.signal(signal.SIGHUP)
            server.wait_log("(?s)" + "Reload complete.*" * (count + 1))
        over.set()
        client.join()
        assert len(answers) > 3
        assert set(answers) == {"hello"}
