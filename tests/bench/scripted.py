"""A server that does as it is told: each request is given to a function that answers octets."""

from __future__ import annotations

import hashlib
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Request:
    """What the function sees of a request."""

    def __init__(self, head: bytes, body: bytes) -> None:
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = line.split(" ")
        self.fields = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
        self.body = body
        self.ident = self.fields.get("x-request-id", "-")

    def echo(self, ident: str = "") -> bytes:
        """The right answer of ``/echo``, or that to a request of another id."""
        digest = hashlib.sha256(self.body).hexdigest()
        return answer(f"{ident or self.ident} {len(self.body)} {digest}\n".encode())


def answer(body: bytes, status: str = "200 OK", *fields: str) -> bytes:
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields))
    return head.encode() + b"\r\n\r\n" + body


Script = Callable[[Request], "bytes | None"]
"""None: close without a word. An answer that says ``Connection: close`` is the last."""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with suppress(ConnectionError):
            while head := self._read_head():
                request = Request(head, b"")
                request.body = self.rfile.read(int(request.fields.get("content-length", 0)))
                said = self.server.script(request)  # type: ignore[attr-defined]
                if said is None:
                    return
                self.wfile.write(said)
                if b"Connection: close" in said or request.fields.get("connection") == "close":
                    return

    def _read_head(self) -> bytes:
        """A head without its empty line; b"" where the client went away before that."""
        head = b""
        while (line := self.rfile.readline()) != b"\r\n":
            if not line:
                return b""
            head += line
        return head[:-2]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


@contextmanager
def serve(script: Script) -> Iterator[str]:
    """Such a server runs; its base URL."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.script = script  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
