"""A real master: boots, stops, signals, hooks, time limits, and what it tells the operator."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from canter.scoreboard import SERVING, STATE, Scoreboard
from tests.processes import is_alive, until

from .conftest import APPS, ask, settled, workers

STAMP = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\]"


def test_it_serves_and_logs_like_gunicorn(run) -> None:
    with run(workers=2) as server:
        settled(server, 2)
        answer = ask(server)
        assert answer.text == "hello"
        assert answer.pid in workers(server)
        pid = server.pid
        server.wait_log(rf"^{STAMP} \[{pid}\] \[INFO\] Starting canter \S+$")
        server.wait_log(
            rf"^{STAMP} \[{pid}\] \[INFO\] Listening at: http://127\.0\.0\.1:{server.port} \({pid}\)$"
        )
        server.wait_log(rf"^{STAMP} \[{pid}\] \[INFO\] Using worker: fakes:Fake$")
        server.wait_log(rf"^{STAMP} \[{answer.pid}\] \[INFO\] Booting worker with pid: {answer.pid}$")
        assert server.stop() == 0
        assert "Handling signal: term" in server.log
        assert f"Worker exiting (pid: {answer.pid})" in server.log
        assert "Shutting down: Master" in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals_that_end_it(run, number: int) -> None:
    with run(workers=2) as server:
        pids = settled(server, 2)
        server.signal(number)
        assert server.wait() == 0
        assert not any(is_alive(pid) for pid in pids)


def test_several_addresses_in_one_line(run, tmp_path: Path) -> None:
    with run(bind=["127.0.0.1:0", f"unix:{tmp_path}/socket"]) as server:
        assert server.urls[0].startswith("http://127.0.0.1:")
        assert server.urls[1] == f"unix:{tmp_path}/socket"
        assert server.stop() == 0
        assert not (tmp_path / "socket").exists()


def test_a_killed_worker_is_replaced(run) -> None:
    with run(workers=2) as server:
        first = settled(server, 2)
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(workers(server) - first) == 1)
        server.wait_log(rf"Worker \(pid:{victim}\) died: SIGKILL, perhaps out of memory")


def test_a_worker_that_exits_by_itself_is_replaced_and_what_it_did_is_told(run) -> None:
    with run("fakes:exits") as server:
        with pytest.raises(ValueError, match="not enough values"):
            ask(server)
        line = server.wait_log(r"died: exit code 7; it was [\d.]+ s old and had served 0 requests; (.*)")[1]
        assert re.match(r"in flight: GET /fake from peer for [\d.]+ s", line)
        settled(server, 1)


def test_more_and_fewer_workers(run) -> None:
    with run(
        workers=1, config="def nworkers_changed(server, new, old): server.log.info('from %s to %s', old, new)"
    ) as server:
        server.signal(signal.SIGTTIN)
        settled(server, 2)
        server.signal(signal.SIGTTOU)
        settled(server, 1)
        server.signal(signal.SIGTTOU)
        server.wait_log("(?s)(Handling signal: ttou.*){2}")
        assert ask(server).text == "hello"
        assert re.findall(r"from (\S+ to \S+)", server.log) == ["None to 1", "1 to 2", "2 to 1"]


def test_usr1_reopens_the_log_everywhere(run, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    options = ["-b", "127.0.0.1:0", "--error-logfile", log, "--log-level", "debug"]
    command = [sys.executable, "-m", "canter", "-k", "fakes:Fake", *options, "fakes:app"]
    with subprocess.Popen(command, cwd=APPS) as process:
        until(lambda: log.exists() and "is ready" in log.read_text())
        old = log.rename(tmp_path / "error.log.1")
        process.send_signal(signal.SIGUSR1)
        until(log.exists)
        process.terminate()
        assert process.wait(60) == 0
    assert "Handling signal: usr1" in old.read_text()
    assert "Worker exiting" in log.read_text()
    assert "Shutting down" in log.read_text()


def test_hooks_run_in_gunicorns_order_with_gunicorns_arguments(run) -> None:
    hooks = {
        "server": ["on_starting", "when_ready", "on_exit"],
        "server, worker": ["pre_fork", "post_fork", "worker_exit", "child_exit"],
        "worker": ["post_worker_init", "worker_int"],
    }
    config = "".join(
        f"def {name}({given}): {given.split(', ')[-1]}.log.info('hook {name}')\n"
        for given, names in hooks.items()
        for name in names
    )
    with run(config=config) as server:
        settled(server, 1)
        server.wait_log("hook post_worker_init")
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert re.findall(r"hook (\w+)", server.log) == [
            "on_starting", "when_ready", "pre_fork", "post_fork", "post_worker_init",
            "worker_int", "worker_exit", "child_exit", "on_exit",
        ]  # fmt: skip


def test_what_pre_fork_sets_is_on_the_worker(run) -> None:
    config = (
        "def pre_fork(server, worker): worker.token = 'abc'\n"
        "def post_fork(server, worker): worker.log.info('token %s age %d', worker.token, worker.age)\n"
        "def child_exit(server, worker): worker.log.info('gone %s %d', worker.token, worker.pid)\n"
    )
    with run(config=config) as server:
        (pid,) = settled(server, 1)
        server.wait_log("token abc age 1")
        os.kill(pid, signal.SIGKILL)
        server.wait_log(f"gone abc {pid}")


def test_a_hook_that_fails_ends_nothing(run) -> None:
    with run(config="def child_exit(server, worker): raise RuntimeError('oops')") as server:
        (pid,) = settled(server, 1)
        os.kill(pid, signal.SIGKILL)
        server.wait_log("the hook child_exit failed")
        server.wait_log("RuntimeError: oops")
        assert ask(server).text == "hello"


def test_environment_directory_and_group_of_a_worker(run) -> None:
    group = 65534 if os.getuid() == 0 else os.getgid()
    with run("fakes:environment", raw_env=["TOLD=yes"], chdir=str(APPS), group=str(group)) as server:
        assert ask(server).text == f"yes {APPS} {os.getuid()} {group}"


def test_a_pid_file(run, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with run(pidfile=str(path)) as server:
        assert path.read_text() == f"{server.pid}\n"
        second = subprocess.run(
            [sys.executable, "-m", "canter", "-b", "127.0.0.1:0", "-p", path, "fakes:app"],
            cwd=APPS, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert second.returncode == 1
        assert f"already running: {path} names process {server.pid}" in second.stderr
        assert server.stop() == 0
        assert not path.exists()


def test_a_port_in_use_is_one_line_and_exit_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "canter", "-b", address, "fakes:app"],
            cwd=APPS, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(
        rf"{STAMP} \[\d+\] \[ERROR\] cannot listen at {address}: already in use.*\n", done.stderr
    )


def test_another_program_may_read_the_scoreboard() -> None:
    with tempfile.TemporaryFile() as file:
        fd = file.fileno()
        options = ["-k", "fakes:Fake", "-b", "127.0.0.1:0", "--scoreboard-fd", str(fd)]
        command = [sys.executable, "-m", "canter", *options, "fakes:app"]
        with subprocess.Popen(command, cwd=APPS, pass_fds=[fd], stderr=subprocess.DEVNULL) as process:
            until(lambda: os.fstat(fd).st_size)
            board = until(lambda: attached(fd))
            until(lambda: any(row[STATE] == SERVING for row in board.rows()))
            process.terminate()
            assert process.wait(60) == 0


def attached(fd: int) -> Scoreboard | None:
    try:
        return Scoreboard.attach(fd)
    except ValueError:
        return None


def test_a_scoreboard_that_cannot_be_is_one_line_and_exit_2() -> None:
    command = [sys.executable, "-m", "canter", "-b", "127.0.0.1:0", "--scoreboard-fd", "987", "fakes:app"]
    done = subprocess.run(command, cwd=APPS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.endswith("[ERROR] scoreboard_fd: Bad file descriptor\n")


# -- failing boots ---------------------------------------------------------------------


def test_an_application_that_cannot_be_imported_exits_4(run) -> None:
    with run("fakes:nothing", workers=3) as server:
        assert server.wait() == 4
        assert re.search(r"Worker \(pid:\d+\) failed to boot: .*nothing", server.log)
        assert server.log.count("Booting worker") <= 3


def test_a_boot_that_fails_otherwise_is_tried_again_then_exits_3(run) -> None:
    with run(boot_retries=1, config="def post_worker_init(worker): raise OSError('no data base')") as server:
        assert server.wait() == 3
        assert server.log.count("Booting worker") == 2
        assert "failed to boot: OSError: no data base" in server.log
        assert "line 7, in post_worker_init" in server.log or "in post_worker_init" in server.log
        assert "next try in 0.5 s (failures in a row: 1)" in server.log
        assert "giving up: 2 failed boots in a row" in server.log


def test_a_worker_class_that_is_none_exits_2(run) -> None:
    with run(worker_class="fakes:app") as server:
        assert server.wait() == 2
        assert "worker class fakes:app is not a subclass of canter.Worker" in server.log


def test_a_boot_that_hangs_shows_where_and_ends(run) -> None:
    config = "def post_fork(server, worker):\n    import time\n    time.sleep(1000)"
    with run(boot_timeout=0.5, boot_retries=0, config=config) as server:
        assert server.wait() == 3
        assert re.search(r"not ready within 0\.\d s \(boot_timeout\)", server.log)
        assert "in post_fork" in server.log


# -- hanging workers -------------------------------------------------------------------


def test_a_silent_worker_writes_its_stacks_and_is_replaced(run) -> None:
    with run(
        "fakes:hang", timeout=1, config="def worker_abort(worker): worker.log.info('aborted')"
    ) as server:
        (pid,) = settled(server, 1)
        with socket.create_connection((server.host, server.port)):
            server.wait_log(
                rf"WORKER TIMEOUT \(pid:{pid}\): no sign of life for 1\.\d s .*in flight: GET /fake"
            )
            server.wait_log(r'fakes.py", line \d+ in hang')
            server.wait_log("aborted")
            until(lambda: workers(server) - {pid})


def test_a_stopped_worker_is_killed_and_replaced(run) -> None:
    with run(timeout=1, workers=2) as server:
        first = settled(server, 2)
        os.kill(min(first), signal.SIGSTOP)
        until(lambda: min(first) not in workers(server) and len(workers(server)) == 2)


def test_a_worker_that_ignores_its_end_is_killed(run) -> None:
    config = "def post_fork(server, worker):\n    worker.leave = lambda *_: None"
    with run(graceful_timeout=0, config=config) as server:
        settled(server, 1)
        server.wait_log("is ready after")
        assert server.stop() == 0
        assert "the server stops; it did not leave in time" in server.log


def test_recycling_replaces_before_it_stops(run) -> None:
    with run("fakes:recycle") as server:
        first = ask(server)
        server.wait_log(rf"worker \(pid:{first.pid}\) is to be replaced: max requests \(\d requests\)")
        server.wait_log(rf"worker \(pid:{first.pid}\) ended .*: max requests")
        log = server.log
        ready = [match.start() for match in re.finditer(r"is ready after", log)]
        assert ready[1] < log.index(f"worker {first.pid} is told to stop")
        assert ask(server).age == 2


def test_an_old_worker_is_replaced(run) -> None:
    with run(max_worker_lifetime=1, workers=2) as server:
        first = settled(server, 2)
        server.wait_log(r"is to be replaced: max lifetime \(1 s\)")
        until(lambda: not workers(server) & first)


def test_a_large_worker_is_replaced_after_its_request(run) -> None:
    with run(max_worker_memory=1) as server:
        settled(server, 1)
        first = ask(server)
        server.wait_log(rf"worker \(pid:{first.pid}\) is to be replaced: max memory \(\d+ octets\)")
        until(lambda: ask(server).pid != first.pid)


def test_a_far_too_large_worker_is_killed(run) -> None:
    with run(max_worker_memory_hard=1) as server:
        line = r"is killed: it has \d+ octets of memory, more than 1 \(max_worker_memory_hard\)"
        server.wait_log(f"(?s)({line}.*){{2}}")


@pytest.mark.parametrize("preload", [False, True])
def test_with_a_socket_for_each_worker_no_connection_waits_in_vain(run, preload: bool) -> None:
    with run(workers=3, reuse_port=True, preload_app=preload) as server:
        server.wait_log(r"(?s)(worker \d+ is ready.*){3}")
        server.signal(signal.SIGTTOU)
        server.wait_log("its successor takes 1 more sockets over")
        server.wait_log("ended .*: 2 workers are enough")
        for _ in range(30):
            assert ask(server).text == "hello"
        server.signal(signal.SIGTTIN)
        server.wait_log(r"(?s)(worker \d+ is ready.*){5}")
        for _ in range(30):
            assert ask(server).text == "hello"


def test_a_killed_master_leaves_nobody_behind(run) -> None:
    with run(workers=2) as server:
        pids = settled(server, 2)
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        until(lambda: not any(is_alive(pid) for pid in pids))
        socket.create_server((server.host, server.port)).close()


def test_a_daemon_goes_to_the_background(tmp_path: Path) -> None:
    log, pid_file = tmp_path / "log", tmp_path / "pid"
    done = subprocess.run(
        [sys.executable, "-m", "canter", "-D", "-k", "fakes:Fake", "-b", "127.0.0.1:0",
         "-p", pid_file, "--error-logfile", log, "--log-level", "debug", "fakes:app"],
        cwd=APPS, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int(until(lambda: pid_file.exists() and pid_file.read_text()))
    try:
        until(lambda: "is ready" in log.read_text())
        assert os.getsid(pid) != os.getsid(0)
        os.kill(pid, signal.SIGWINCH)
        until(lambda: "0 workers instead of 1" in log.read_text() and "Worker exiting" in log.read_text())
        os.kill(pid, signal.SIGHUP)
        until(lambda: log.read_text().count("Booting worker") > 1)
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not is_alive(pid))
    assert not pid_file.exists()


def test_winch_from_a_terminal_stops_nothing(run) -> None:
    with run() as server:
        settled(server, 1)
        server.signal(signal.SIGWINCH)
        server.wait_log("WINCH is ignored")
        assert ask(server).text == "hello"
