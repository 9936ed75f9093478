"""A real server for a test: ``with serve("hello:app") as server: ...``.

The server is what a user runs, ``python -m canter`` in a process of its own, on a
port that the system chooses. Nothing here sleeps for luck: readiness is the
``Listening at`` line of its log, the end is its exit code, and everything else
waits for a line with a deadline. What the server wrote is in ``log``, and is shown
when the block fails. Needs no pytest.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DEADLINE = 30.0  # seconds; a loaded machine is slow, a hanging server hangs for ever
LISTENING = r"Listening at: (\S+) \((\d+)\)"

# What the caller's environment must not decide.
_FOREIGN = re.compile(
    r"CANTER_|GUNICORN_CMD_ARGS$|WEB_CONCURRENCY$|PORT$|FORWARDED_ALLOW_IPS$|NOTIFY_SOCKET$|LISTEN_"
)


class ServerFailed(AssertionError):
    """The server did not do what was waited for; the message ends with its log."""


class Server:
    """A running server. ``url`` and the like belong to its first listener."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.urls: list[str] = []
        self.log_file = log_file

    @property
    def url(self) -> str:
        """``http://127.0.0.1:34567``, or ``unix:/path``."""
        return self.urls[0]

    @property
    def host(self) -> str:
        """The address of the first listener, without brackets; "" for a Unix socket."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port of the first listener; 0 for a Unix socket."""
        return urlsplit(self.url).port or 0

    @property
    def socket_path(self) -> str:
        """The path of the first listener; "" for a TCP socket."""
        return self.url[len("unix:") :] if self.url.startswith("unix:") else ""

    @property
    def log(self) -> str:
        """What the server has written to its standard output and error so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait_log(self, pattern: str, timeout: float = DEADLINE) -> re.Match[str]:
        """The first match of ``pattern`` in the log, waited for as long as the server runs."""
        deadline = time.monotonic() + timeout
        while True:
            ended = self.process.poll() is not None
            if found := re.search(pattern, self.log, re.MULTILINE):
                return found
            if ended or time.monotonic() > deadline:
                what = (
                    f"ended with {self.process.returncode}"
                    if ended
                    else f"runs, but not within {timeout:g} s"
                )
                raise ServerFailed(f"no {pattern!r} in the log; the server {what}:\n{self.log}")
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send a signal to the master."""
        self.process.send_signal(number)

    def wait(self, timeout: float = DEADLINE) -> int:
        """The exit code, of a server that ends by itself or was sent a signal. Negative: that signal."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            log = self.log
            self.kill()
            raise ServerFailed(f"the server did not end within {timeout:g} s:\n{log}") from None

    def stop(self, timeout: float = DEADLINE + 10) -> int:
        """End the server gracefully, with a TERM; its exit code. Does nothing to one that has ended."""
        self.process.terminate()
        return self.wait(timeout)

    def kill(self) -> None:
        """End the master and every process it started, at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)  # it leads a process group of its own
        except ProcessLookupError:
            pass
        self.process.wait()


def _settings_file(folder: Path, settings: Mapping[str, Any], config: str) -> Path:
    """A Python settings file: the one source that takes every setting by name, whatever its type."""
    path = folder / "settings.py"
    lines = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    path.write_text(lines + config, encoding="utf-8")
    return path


@contextmanager
def serve(
    app: str | None,
    worker_class: str = "sync",
    *,
    args: Sequence[str] = (),
    config: str = "",
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    python: str = sys.executable,
    **settings: Any,
) -> Iterator[Server]:
    """Run Canter with the application ``app`` for the length of a ``with`` block.

    ``settings`` are Canter's, by name (``workers=2, keepalive=5``); ``args`` are more
    arguments of the command line, ``config`` more lines of its Python settings file
    (hooks, say), ``env`` more variables. ``cwd`` is where the application is found.
    ``python`` is the interpreter.

    At the end of the block the server is stopped, if the block has not done so, and
    must then exit with 0. ``ServerFailed`` carries the log.
    """
    settings = {"bind": ["127.0.0.1:0"], "worker_class": worker_class, **settings}
    environ = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    with tempfile.TemporaryDirectory(prefix="canter-") as name:
        folder = Path(name)
        log_file = folder / "log"
        command = [python, "-m", "canter", "--config", str(_settings_file(folder, settings, config)), *args]
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                command if app is None else [*command, app],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env={**environ, **(env or {})},
                start_new_session=True,
            )
        server = Server(process, log_file)
        try:
            server.urls = server.wait_log(LISTENING)[1].split(",")
            yield server
            if process.poll() is None and (code := server.stop()) != 0:
                raise ServerFailed(f"the server exited with {code} after a TERM:\n{server.log}")
        except BaseException as error:
            if not isinstance(error, ServerFailed):
                sys.stderr.write(f"--- log of the server\n{server.log}--- end of the log\n")
            raise
        finally:
            server.kill()


def __getattr__(name: str) -> Any:
    """`WorkerContract`, the contract of worker classes as pytest tests: only there is pytest needed."""
    if name != "WorkerContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "canter.contract" not in sys.modules:
        import pytest

        pytest.register_assert_rewrite("canter.contract")
    from canter.contract import WorkerContract

    return WorkerContract
