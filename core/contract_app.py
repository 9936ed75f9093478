"""The application that the worker contract (`canter.contract`) has served.

Each path does one thing that a worker must cope with. Where a request has to last, it
lasts until the test makes a file; what the application saw, it tells in files, too. The
folder is in the environment (CONTRACT_FOLDER). Nothing here waits for a time, and every
wait gives up at a deadline, so that no server hangs.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DEADLINE = 60.0
TEXT = [("Content-Type", "text/plain")]

Environ = dict[str, Any]
Start = Callable[..., Any]

worker: Any = None  # put here by a hook, where a test needs it


def app(environ: Environ, start_response: Start) -> Any:
    """`/NAME` is answered by the function of that name below, with what follows as its argument."""
    _, name, *rest = environ["PATH_INFO"].split("/")
    return PATHS[name](environ, start_response, *rest)


def note(name: str, text: str = "") -> None:
    """Tell the test something; it sees the whole text or nothing."""
    path = Path(os.environ["CONTRACT_FOLDER"], name)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(text)
    draft.rename(path)


def until(condition: Callable[[], object]) -> None:
    """Wait, by sleeps that each worker class knows."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what the request waits for did not happen")
        time.sleep(0.01)


def until_made(name: str) -> None:
    """Wait until the test has made a file."""
    until(Path(os.environ["CONTRACT_FOLDER"], name).exists)


def say(start_response: Start, text: str) -> list[bytes]:
    body = text.encode()
    start_response("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


def echo(environ: Environ, start_response: Start, word: str = "") -> list[bytes]:
    """The word of the path, and by which process."""
    return say(start_response, f"{word} {os.getpid()}")


def healthz(environ: Environ, start_response: Start) -> list[bytes]:
    return say(start_response, "well")


def digest(environ: Environ, start_response: Start) -> list[bytes]:
    """What the body is, read in pieces."""
    found = hashlib.sha256()
    size = 0
    while data := environ["wsgi.input"].read(65536):
        found.update(data)
        size += len(data)
    return say(start_response, f"{size} {found.hexdigest()}")


def wait(environ: Environ, start_response: Start, name: str) -> list[bytes]:
    """Last until NAME is there; NAME.begun says that it lasts."""
    note(f"{name}.begun")
    until_made(name)
    return say(start_response, name)


def stop(environ: Environ, start_response: Start, name: str) -> list[bytes]:
    """Last until the worker was told to stop; NAME.begun."""
    note(f"{name}.begun")
    until(lambda: not worker.alive)
    return say(start_response, name)


def stream(environ: Environ, start_response: Start, name: str) -> Iterator[bytes]:
    """Two pieces, the second when NAME is there; NAME.closed when the server has called close()."""
    start_response("200 OK", TEXT)
    return Pieces(name)


class Pieces:
    """An iterable that is closed by the server, whatever happens."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pieces = self._make()

    def _make(self) -> Iterator[bytes]:
        yield b"first,"
        until_made(self._name)
        yield b"second"

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        note(f"{self._name}.closed")


def flood(environ: Environ, start_response: Start, name: str) -> Iterator[bytes]:
    """Write until the client leaves; NAME.closed says with what."""
    start_response("200 OK", TEXT)
    ended = "end"
    try:
        for _ in range(4096):
            yield bytes(65536)
    except BaseException as error:
        ended = type(error).__name__
        raise
    finally:
        note(f"{name}.closed", ended)


def swallow(environ: Environ, start_response: Start, name: str) -> list[bytes]:
    """Read a body whose client leaves in the middle; NAME.seen says what the application saw."""
    note(f"{name}.begun")
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        note(f"{name}.seen", type(error).__name__)
        raise
    note(f"{name}.seen", "a short body")
    return say(start_response, "")


def left(environ: Environ, start_response: Start, name: str) -> list[bytes]:
    """Last until the client leaves; NAME.seen."""
    note(f"{name}.begun")
    until(environ["canter.client_disconnected"])
    note(f"{name}.seen", "left")
    return say(start_response, "")


def fail(environ: Environ, start_response: Start, kind: str) -> Any:
    """Raise, before or after the head."""
    if kind == "exit":
        raise SystemExit(3)
    if kind == "late":
        return _fail_late(start_response)
    raise ValueError("the application fails")


def _fail_late(start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "100")])
    yield b"the first of a hundred"
    raise ValueError("the application fails late")


def socket(environ: Environ, start_response: Start, name: str) -> Any:
    """Take the connection over and echo what comes, as Flask-Sock and its like do."""
    sock = environ["gunicorn.socket"]
    assert environ["canter.socket"] is sock
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    while data := sock.recv(4096):
        sock.sendall(data.upper())
    note(f"{name}.seen", "end")
    raise StopIteration


def fork(environ: Environ, start_response: Start, name: str) -> list[bytes]:
    """Fork a child that goes on when the request is over, and blocks as an application's code blocks."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            note(f"{name}.begun")
            until_made(name)
            code = 0
        finally:
            os._exit(code)
    return say(start_response, f"{os.getpid()} {pid}")


def reap(environ: Environ, start_response: Start, pid: str) -> list[bytes]:
    """The exit code of a child that `fork` made."""
    _, status = os.waitpid(int(pid), 0)
    return say(start_response, str(os.waitstatus_to_exitcode(status)))


FUNCTIONS = (echo, healthz, digest, wait, stop, stream, flood, swallow, left, fail, socket, fork, reap)
PATHS: dict[str, Callable[..., Any]] = {function.__name__: function for function in FUNCTIONS}
