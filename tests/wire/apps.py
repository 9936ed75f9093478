"""The applications that the matrix asks: small, each does one thing well or badly.

``/bare/NAME?JSON`` runs the application NAME, ``/checked/NAME?JSON`` the same inside
`wsgiref.validate`; any other path is an echo of what the application was given. The
JSON, percent-encoded, is the application's argument, so that a test says in one
place what the application does and what must come of it.

What a client can't see goes to the log, with the client's address in the line:
``called ADDRESS`` and ``closed ADDRESS`` (`iterable.close()`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote
from wsgiref.validate import validator

Environ = dict[str, Any]
Start = Callable[..., Any]
Given = Any  # the decoded JSON

APPS: dict[str, Callable[[Environ, Start, Given], Iterable[bytes]]] = {}
TEXT = [("Content-Type", "text/plain")]
DEADLINE = 30.0


def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The one application of the server."""
    _, how, *rest = environ["PATH_INFO"].split("/") if environ["PATH_INFO"].startswith("/") else ("", "")
    if how not in ("bare", "checked"):
        return echo(environ, start_response)
    named = APPS[rest[0]]
    query = environ["QUERY_STRING"]
    given = json.loads(unquote(query)) if query else {}
    note(environ, "called")
    if how == "bare":
        return named(environ, start_response, given)
    return validator(lambda environ, start: named(environ, start, given))(environ, start_response)


def named(function: Callable[[Environ, Start, Given], Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    APPS[function.__name__] = function
    return function


def note(environ: Environ, what: str) -> None:
    """A line where the server's log goes, with the client's address."""
    os.write(2, f"{what} {environ['REMOTE_ADDR']}:{environ.get('REMOTE_PORT')}\n".encode())


def tell(start_response: Start, value: Any) -> list[bytes]:
    """Answer with a JSON value."""
    body = json.dumps(value, sort_keys=True).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def echo(environ: Environ, start_response: Start) -> list[bytes]:
    """What the policy's cases look at: the strings of environ, and the body."""
    note(environ, "called")
    own = ("SERVER_PORT", "REMOTE_PORT")
    strings = {key: value for key, value in environ.items() if type(value) is str and key not in own}
    return tell(start_response, {"environ": strings, "body": environ["wsgi.input"].read().decode("latin-1")})


# -- answers ---------------------------------------------------------------------------


class Closing:
    """An iterable without a length that tells when it is closed."""

    def __init__(self, environ: Environ, pieces: Iterable[bytes]) -> None:
        self.environ = environ
        self.pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.pieces)

    def close(self) -> None:
        note(self.environ, "closed")


def pieces_of(given: Given) -> list[Any]:
    """The body's pieces: text stands for bytes, {"str": text} for text, {"raise": text} for an error."""
    return [piece.encode("latin-1") if isinstance(piece, str) else piece for piece in given.get("body", [])]


def played(pieces: Iterable[Any]) -> Iterator[Any]:
    for piece in pieces:
        if isinstance(piece, dict):
            if "raise" in piece:
                raise RuntimeError(piece["raise"])
            if "times" in piece:
                yield from [piece["of"].encode()] * piece["times"]
                continue
            piece = piece.get("str", piece.get("int"))
        yield piece


@named
def say(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Answer as told: `status`, `headers`, `body`, and `how` the body is handed over."""
    pieces = pieces_of(given)
    how = given.get("how", "list")
    headers = [tuple(pair) if isinstance(pair, list) else pair for pair in given.get("headers", TEXT)]

    def begin() -> Any:
        return start_response(given.get("status", "200 OK"), headers)

    def lazily() -> Iterator[bytes]:
        begin()
        yield from played(pieces)

    if how == "lazy":
        return Closing(environ, lazily())
    write = begin()
    if how == "write":
        for piece in played(pieces):
            write(piece)
        return []
    if how == "write and list":
        write(pieces[0])
        return list(played(pieces[1:]))
    if how == "iterator":
        return Closing(environ, played(pieces))
    if how == "generator":
        return played(pieces)
    return {"list": list, "tuple": tuple}[how](played(pieces))


@named
def silent(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """A body without start_response."""
    return [b"hello"]


@named
def twice(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """start_response a second time without exc_info."""
    start_response("200 OK", TEXT)
    start_response("201 Created", TEXT)
    return [b"hello"]


@named
def nothing(environ: Environ, start_response: Start, given: Given) -> Any:
    """No iterable at all."""
    start_response("200 OK", TEXT)


@named
def fails(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Raise: `begun` says whether start_response was called, `exception` what is raised."""
    if given.get("begun"):
        start_response("200 OK", [*TEXT, ("X-Lost", "1")])
    kinds = {kind.__name__: kind for kind in (RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit)}
    raise kinds[given.get("exception", "RuntimeError")]("failed on purpose")


@named
def fails_on_close(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """close() raises, after an answer that is whole."""

    class Failing(Closing):
        def close(self) -> None:
            super().close()
            raise RuntimeError("close failed on purpose")

    start_response("200 OK", TEXT)
    return Failing(environ, played(pieces_of(given)))


@named
def recovers(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """exc_info: an error after start_response is answered with another status."""
    start_response("200 OK", [*TEXT, ("X-Lost", "1")])
    try:
        raise ValueError("found on the way")
    except ValueError:
        start_response("503 Service Unavailable", TEXT, sys.exc_info())
    return [b"sorry"]


@named
def recovers_late(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """exc_info after a piece was sent: start_response must raise it again."""
    start_response("200 OK", TEXT)
    yield b"first"
    try:
        raise ValueError("found too late")
    except ValueError as error:
        try:
            start_response("503 Service Unavailable", TEXT, sys.exc_info())
        except ValueError as again:
            note(environ, "raised again" if again is error else "raised another")
            raise
    yield b"sorry"


@named
def hints(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """103 Early Hints, then an answer; the second hint comes too late."""
    environ["wsgi.early_hints"]([tuple(pair) for pair in given["hints"]])
    write = start_response("200 OK", TEXT)
    write(b"hello")
    environ["wsgi.early_hints"]([("Link", "</late>")])
    return [b" world"]


@named
def file(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """wsgi.file_wrapper around `path`; or, with `kind`, around something that is no file."""
    kind = given.get("kind", "file")
    filelike: Any
    if kind == "memory":
        filelike = io.BytesIO(given["path"].encode())
    elif kind == "pipe":
        out, into = os.pipe()
        with os.fdopen(into, "wb") as writer:
            writer.write(given["path"].encode())
        filelike = os.fdopen(out, "rb")
    elif kind == "reader":
        filelike = Reader(given["path"].encode())
    else:
        filelike = open(given["path"], "rb")  # noqa: SIM115  # the server closes it
        filelike.seek(given.get("at", 0))
    headers = list(TEXT)
    if "length" in given:
        headers.append(("Content-Length", str(given["length"])))
    start_response(given.get("status", "200 OK"), headers)
    wrapper = environ["wsgi.file_wrapper"](Noted(environ, filelike), *given.get("block", []))
    if "before" in given:
        return prefixed(given["before"].encode(), wrapper)
    return wrapper  # type: ignore[no-any-return]


class Reader:
    """The least that PEP 3333 asks of a file-like object: read()."""

    def __init__(self, octets: bytes) -> None:
        self.stream = io.BytesIO(octets)

    def read(self, size: int) -> bytes:
        return self.stream.read(size)


class Noted:
    """A file that notes in the log when its octets go through Python, and when it is closed."""

    def __init__(self, environ: Environ, filelike: Any) -> None:
        self.environ = environ
        self.filelike = filelike

    def __getattr__(self, name: str) -> Any:
        return getattr(self.filelike, name)

    def read(self, *size: int) -> Any:
        note(self.environ, "read by")
        return self.filelike.read(*size)

    def close(self) -> None:
        note(self.environ, "closed")
        if hasattr(self.filelike, "close"):
            self.filelike.close()


def prefixed(before: bytes, wrapper: Any) -> Iterator[bytes]:
    try:
        yield before
        yield from wrapper
    finally:
        wrapper.close()


@named
def large(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """`size` octets that depend on their place, in one piece or in `pieces`."""
    body = pattern(given["size"])
    count = given.get("pieces", 1)
    if given.get("length", True):
        start_response("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
    else:
        start_response("200 OK", TEXT)
    if count == 1:
        return [body]
    step = -(-len(body) // count)
    return Closing(environ, (body[at : at + step] for at in range(0, len(body), step)))


def pattern(size: int) -> bytes:
    """Octets none of which can be lost or doubled without a trace."""
    block = b"".join(b"%07d " % number for number in range(8192))
    return (block * (size // len(block) + 1))[:size]


# -- requests ------------------------------------------------------------------------------


@named
def environ(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Every key, with the type and the text of its value."""
    return tell(start_response, {key: [type(value).__name__, str(value)] for key, value in environ.items()})


@named
def input(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Call methods of wsgi.input, [name, argument ...] each, and tell what they gave."""
    stream = environ["wsgi.input"]
    results: list[Any] = []
    for name, *arguments in given:
        if name == "iterate":
            result: Any = list(stream)
        elif name == "next":
            result = next(iter(stream))
        else:
            result = getattr(stream, name)(*arguments)
        if isinstance(result, bytes):
            result = result.decode("latin-1")
        elif result is not None:
            result = [line.decode("latin-1") for line in result]
        results.append(result)
    return tell(start_response, results)


@named
def digest(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Read the body in pieces of `size`; tell its length and hash."""
    total, hashed = 0, hashlib.sha256()
    while piece := environ["wsgi.input"].read(given.get("size", 65536)):
        total += len(piece)
        hashed.update(piece)
    return tell(start_response, [total, hashed.hexdigest()])


@named
def ignores(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Answer without a look at the body, or after `read` octets of it."""
    if given.get("read"):
        environ["wsgi.input"].read(given["read"])
    start_response(given.get("status", "200 OK"), TEXT)
    return [b"ignored"]


@named
def reads_late(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Read the body only after a piece of the answer was sent."""
    start_response("200 OK", TEXT)
    yield b"before "
    yield environ["wsgi.input"].read(-1)


@named
def survives(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Catch what reading raises, note its name, and answer."""
    try:
        environ["wsgi.input"].read(-1)
        name = "nothing"
    except OSError as error:
        name = f"OSError {type(error).__name__}"
    except Exception as error:  # whatever it is, the test wants to know
        name = type(error).__name__
    note(environ, f"raised {name}")
    start_response("200 OK", TEXT)
    return [name.encode()]


@named
def leaks_input(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Keep wsgi.input; a later request tells what reading it gave."""
    if not given.get("later"):
        KEPT["input"] = environ["wsgi.input"]
        start_response("200 OK", TEXT)
        return [b"kept"]
    try:
        found = repr(KEPT.pop("input").read(1))
    except Exception as error:
        found = type(error).__name__
    start_response("200 OK", TEXT)
    return [found.encode()]


KEPT: dict[str, Any] = {}


# -- time ----------------------------------------------------------------------------------------


@named
def waits(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Answer after `seconds`."""
    time.sleep(given["seconds"])
    start_response("200 OK", TEXT)
    return [b"waited"]


@named
def notices(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Run until the client has left, as `canter.client_disconnected` tells."""
    deadline = time.monotonic() + DEADLINE
    note(environ, "waiting")
    while time.monotonic() < deadline:
        if environ["canter.client_disconnected"]():
            note(environ, "noticed")
            break
        time.sleep(0.005)
    start_response("200 OK", TEXT)
    return [b"bye"]


@named
def endless(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """An answer without an end, for clients that leave."""

    def pieces() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    start_response("200 OK", TEXT)
    return Closing(environ, pieces())


@named
def takes_socket(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Speak another protocol on the socket itself, as Flask-Sock and the like do."""
    sock = environ["gunicorn.socket"]
    assert environ["canter.socket"] is sock
    KEPT["socket"] = sock if given.get("keep") else None
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n")
    while data := sock.recv(100):
        sock.sendall(data.upper())
        if b"." in data:
            break
    if given.get("returns"):
        start_response("200 OK", TEXT)
        return []
    raise StopIteration


@named
def complains(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Write to wsgi.errors."""
    environ["wsgi.errors"].writelines(given["lines"])
    environ["wsgi.errors"].flush()
    start_response("200 OK", TEXT)
    return [b"complained"]


@named
def after_leaving(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Wait until the client has left, then answer, or fail, as `then` says."""
    notices(environ, lambda *_: None, given)
    return APPS[given["then"]](environ, start_response, {"body": ["too late"]})


@named
def forks(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Leave a child behind, which lives until it is killed."""
    child = os.fork()
    if child == 0:
        signal.pause()
    start_response("200 OK", TEXT)
    return [str(child).encode()]


@named
def reaps(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """End a child with a signal; what it ended with."""
    os.kill(given["pid"], given["signal"])
    return tell(start_response, os.waitstatus_to_exitcode(os.waitpid(given["pid"], 0)[1]))


@named
def child_signals(environ: Environ, start_response: Start, given: Given) -> Iterable[bytes]:
    """Which signals a program that the application starts blocks and ignores, as the kernel writes it."""
    start_response("200 OK", TEXT)
    return [
        subprocess.run(["grep", "Sig[BI]", "/proc/self/status"], stdout=subprocess.PIPE, check=True).stdout
    ]


async def awaited(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The same as an application of asynchronous WSGI."""
    return app(environ, start_response)
