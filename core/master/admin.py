"""`--admin`: is the server alive, is it ready? Answered by the master, in its own select loop.

`/livez` is 200 as long as the master runs; `/readyz` is 503, with the reason, until a
worker is ready and from the moment the server is told to stop. A load balancer asks
often and a stranger may ask badly: a connection has `PATIENCE` and `LONGEST` octets for
its request, is answered once and closed, and there are never more than `MOST` of them.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from canter.master.sockets import Listener

SECOND: Final = 1_000_000_000
PATIENCE: Final = 5 * SECOND
LONGEST: Final = 8192
MOST: Final = 64

Asker = socket.socket


class Admin:
    """The listener and its connections."""

    def __init__(
        self,
        listener: Listener,
        selector: selectors.BaseSelector,
        not_ready: Callable[[], str],
        clock: Callable[[], int],
    ) -> None:
        self.listener = listener
        self._selector = selector
        self._not_ready = not_ready  # why the server is not ready; "" when it is
        self._clock = clock
        self._asking: dict[Asker, tuple[int, bytes]] = {}  # since when, and what has come
        for each in listener.sockets:
            selector.register(each, selectors.EVENT_READ, self._accept)

    def close(self, unlink: bool) -> None:
        for asker in list(self._asking):
            self._drop(asker)
        for each in self.listener.sockets:
            self._selector.unregister(each)
        self.listener.close(unlink)

    def expire(self, now: int) -> None:
        """Close connections that have said too little for too long."""
        for asker, (since, _) in list(self._asking.items()):
            if now - since >= PATIENCE:
                self._drop(asker)

    def _accept(self) -> None:
        for listening in self.listener.sockets:
            try:
                asker, _ = listening.accept()
            except OSError:
                continue  # it went again, or there is no descriptor left: it is tried again at the next event
            if len(self._asking) >= MOST:
                self._drop(next(iter(self._asking)))
            asker.setblocking(False)
            self._asking[asker] = (self._clock(), b"")
            self._selector.register(asker, selectors.EVENT_READ, lambda asker=asker: self._read(asker))

    def _read(self, asker: Asker) -> None:
        if asker not in self._asking:
            return  # dropped by an event of the same turn
        since, head = self._asking[asker]
        try:
            octets = asker.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        head += octets
        if b"\r\n\r\n" in head or b"\n\n" in head:
            self._send(asker, self._answer(head))
        elif octets and len(head) < LONGEST:
            self._asking[asker] = since, head
            return
        self._drop(asker)

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", method)
        if path == b"/livez":
            return _response(HTTPStatus.OK, "alive", method)
        if path == b"/readyz":
            why = self._not_ready()
            status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
            return _response(status, why or "ready", method)
        return _response(HTTPStatus.NOT_FOUND, "there are /livez and /readyz", method)

    def _send(self, asker: Asker, answer: bytes) -> None:
        try:
            asker.send(answer)  # far less than a fresh socket's buffer: never cut
        except OSError:
            pass  # gone

    def _drop(self, asker: Asker) -> None:
        del self._asking[asker]
        self._selector.unregister(asker)
        asker.close()


def _response(status: HTTPStatus, text: str, method: bytes) -> bytes:
    body = f"{text}\n".encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == b"HEAD" else body)
