"""Tornado's HTTP server, with what is done about each request on every worker class.

A request is ours from its head (`Counted`) to the end of its answer (`log_request`, which
Tornado calls once for each) or of its connection; `Parting` sees its answer go by. For
hooks and log its head is parsed once more, by our parser, only where they are asked for.

Deadlines are the watchdog's, as on every class: it answers past Tornado, on the socket, so
that a handler that blocks the loop does not keep its client waiting. `Server` tells it
what it asks.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from socket import SHUT_RDWR, SHUT_WR
from threading import Lock, get_ident
from time import monotonic_ns
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPMessageDelegate, ResponseStartLine
from tornado.iostream import IOStream
from tornado.web import OutputTransform, RequestHandler
from tornado.websocket import WebSocketHandler

from canter import deadlines
from canter import scoreboard as cells
from canter.errors import DeadlineExceeded, ProtocolError
from canter.http._http1 import Connection, Limits
from canter.http._response import refusal
from canter.http.forwarded import Proxies
from canter.workers.asyncio import frames_of

if TYPE_CHECKING:
    import logging
    import socket
    from collections.abc import Awaitable
    from types import FrameType

    from tornado.httputil import HTTPServerRequest, RequestStartLine

    from canter.exchange import Context
    from canter.http._http1 import Request
    from canter.scoreboard import Slot
    from canter.workers.tornado import TornadoWorker

EXECUTE = RequestHandler._execute.__code__  # of the coroutine that runs a handler
GOING_AWAY, RESTARTS = 1001, 1012  # close codes of WebSockets (RFC 6455 7.4.1; IANA)
IDLE = 2.0  # seconds that a stop leaves to a request on its way, as on the other classes
BATCH = 128  # connections accepted in one turn of the loop, as by Tornado itself
PAUSE_LEAST, PAUSE_MOST = 0.1, 1.0  # seconds without accepting after a failure
ABANDONED = 499  # logged where the client left before the answer began; nginx's


@dataclass(eq=False)
class Visit:
    """A request that runs, and what is known of its answer."""

    server: Server
    server_conn: object
    line: str
    peer: str
    id: str
    request: Request | None = None  # where a hook or the access log wants it
    started_at: int = field(default_factory=monotonic_ns)
    status_code: int = 0  # 0: nothing was sent yet
    headers: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0  # octets of the body
    deadline: int = 0  # ns of the monotonic clock; 0: none
    lock: Lock = field(default_factory=Lock)  # held where the handler and the watchdog could meet
    ended: bool = False
    overruled: bool = False
    stack: FrameType | list[FrameType] | None = None  # when it was overruled: its handler may end of that
    slot: Slot | None = None  # on the scoreboard; None: all were taken

    def overrule(self) -> bool | None:
        """As Job.overrule; past Tornado, whose loop may not turn."""
        self.stack = self.server.find_stack(self)
        stream = self.server_conn.stream if isinstance(self.server_conn, HTTP1ServerConnection) else None
        with self.lock:
            sock = stream.socket if isinstance(stream, IOStream) else None
            if self.ended or sock is None:
                return None
            self.overruled = True
            self.server.row[cells.TIMEOUTS] += 1
            told = self.status_code == 0
            with suppress(OSError):  # the client has left
                if told:
                    self.send_refusal(sock)
                sock.shutdown(SHUT_WR if told else SHUT_RDWR)  # what the handler writes later fails
            return told

    def send_refusal(self, sock: socket.socket) -> None:
        """Answer in the handler's place."""
        date = f"Date: {formatdate(usegmt=True)}\r\n"
        answer = refusal(DeadlineExceeded.status, DeadlineExceeded.reason, date.encode())
        head, end, body = answer.partition(b"\r\n\r\n")
        if self.line.startswith("HEAD "):
            body = b""
        self.status_code, self.sent = DeadlineExceeded.status, len(body)
        sock.send(head + end + body)

    @property
    def status(self) -> str | None:
        """As Gunicorn's post_request hooks know it."""
        return str(self.status_code) if self.status_code else None

    @property
    def response_length(self) -> int | None:
        """As Gunicorn's post_request hooks know it: Content-Length."""
        return next((int(value) for name, value in self.headers if name.lower() == "content-length"), None)


class Server(HTTPServer):
    """Tornado's server, with what is done about each request on every worker class."""

    def attend(self, worker: TornadoWorker) -> None:
        cfg = worker.cfg
        self.worker = worker
        self.row = worker.row
        self.proxies = Proxies(cfg.forwarded_allow_ips, cfg.forwarder_headers, cfg.secure_scheme_headers)
        self.slots = [self.row.slot(index) for index in reversed(range(self.row.slots))]  # free ones
        self.thread = get_ident()
        self.deadline_of = worker.deadline_of() or (lambda _: cfg.request_timeout)
        self.connections: dict[object, HTTPConnection] = {}  # and the request that each has now
        self.running: dict[HTTPConnection, Visit] = {}
        self.sockets: WeakSet[WebSocketHandler] = WeakSet()
        self.parting: list[IOStream] = []  # of WebSockets that were told to close
        self.accepting = True
        self.paused = 0.0  # seconds, at the last failure to accept; 0: the last try did not fail
        self.patient = True  # a stop's time for requests that are on their way is not over
        self.begun = 0  # connections that were accepted, and await their turn of the loop
        self.last: WeakSet[HTTPConnection] = WeakSet()  # requests whose answers said that no more are heard
        app: Any = self.request_callback
        log_request = app.log_request

        def ended(handler: RequestHandler) -> None:
            if handler.request.connection is not None:
                self.end_request(handler.request.connection)
            if isinstance(handler, WebSocketHandler) and handler.get_status() == 101:
                self.sockets.add(handler)
            log_request(handler)

        app.add_transform(lambda request: Parting(self, request))
        app.log_request = ended  # Tornado calls it once for each request, when its answer is complete

    @property
    def open(self) -> int:
        """Connections, WebSockets that are told to close among them."""
        return self.begun + len(self.connections) + len(self.parting)

    # -- connections -----------------------------------------------------------------------------

    def hear(self) -> None:
        """Accept from now on, until a stop."""
        if self.accepting:
            for sock in self.worker.listeners:
                self.worker.loop.add_reader(sock, self.accept, sock)

    def stop(self) -> None:
        """Accept no more."""
        super().stop()
        for sock in self.worker.listeners:
            self.worker.loop.remove_reader(sock)
            sock.close()

    def accept(self, sock: socket.socket) -> None:
        """A client knocks. Without descriptors or memory the listener stays ready: then pause."""
        try:
            for _ in range(BATCH):
                self.take(sock)
        except BlockingIOError:
            pass  # that was all
        except OSError as error:
            self.pause(error)

    def take(self, sock: socket.socket) -> None:
        """Accept a connection. Raises OSError; BlockingIOError when none waits."""
        try:
            connection, address = sock.accept()
        except ConnectionAbortedError:
            return
        self.paused = 0.0
        self.handle_stream(IOStream(connection, max_buffer_size=self.max_buffer_size), address)

    def pause(self, error: OSError) -> None:
        """Accept no more for a while: asking again at once would spin."""
        first = not self.paused
        self.paused = min(max(self.paused * 2, PAUSE_LEAST), PAUSE_MOST)
        for sock in self.worker.listeners:
            self.worker.loop.remove_reader(sock)
        self.worker.loop.call_later(self.paused, self.hear)
        if first:
            self.worker.log.warning("accept failed: %s; pausing. Raise the limit (ulimit -n)", error.strerror)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """A connection was accepted."""
        super().handle_stream(stream, address)
        self.begun += 1

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """A connection awaits its next request."""
        before = self.connections.get(server_conn)
        if not self.patient or before in self.last:
            self.worker.loop.call_soon(close, server_conn)
        if before is not None:
            self.end_request(before)  # of one that has closed meanwhile
        else:
            self.begun -= 1
            self.row[cells.ACCEPTED] += 1
        self.connections[server_conn] = request_conn
        self.row[cells.CONNECTIONS] = len(self.connections)
        self.xheaders = self.proxies.trusts(peer_of(request_conn))
        inner = super().start_request(server_conn, request_conn)
        return Counted(self, server_conn, request_conn, inner)

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        self.end_request(self.connections.pop(server_conn))
        self.row[cells.CONNECTIONS] = len(self.connections)

    def finish(self) -> None:
        """Accept no more; close WebSockets, each connection behind its answer, and what stays idle."""
        if self.accepting:
            self.accepting = False
            if self.worker.scoreboard.stopping:
                self.empty_backlog()
            self.stop()
            self.worker.loop.call_later(IDLE, self.close_idle)
        self.close_sockets()

    def empty_backlog(self) -> None:
        """Accept what waits: the whole server stops, nobody else will."""
        for sock in self.worker.listeners:
            with suppress(OSError):  # BlockingIOError: that was all
                while True:
                    self.take(sock)

    def close_idle(self) -> None:
        """Whoever has asked for nothing by now is not waited for."""
        self.patient = False
        for server_conn, request_conn in list(self.connections.items()):
            if request_conn not in self.running:
                close(server_conn)

    def close_sockets(self) -> None:
        """Say goodbye to the WebSockets that are open, and see which of them have gone."""
        code = GOING_AWAY if self.worker.scoreboard.stopping else RESTARTS
        for handler in list(self.sockets):
            stream = handler.ws_connection.stream if handler.ws_connection is not None else None
            if stream is not None:
                self.parting.append(stream)
                handler.close(code)
        self.parting = [stream for stream in self.parting if not stream.closed()]

    # -- requests ----------------------------------------------------------------------------------

    def begin_request(
        self, server_conn: object, request_conn: HTTPConnection, line: RequestStartLine, headers: HTTPHeaders
    ) -> None:
        """The head is here. Raises what the pre_request hook does."""
        context = self.worker.context
        id = headers.get("X-Request-Id", "-")
        words = f"{line.method} {line.path} {line.version}"
        visit = Visit(self, server_conn, words, peer_of(request_conn), id)
        self.running[request_conn] = visit
        self.row[cells.BUSY] = len(self.running)
        self.row[cells.REQUESTS] += 1
        self.show(visit, line)
        if context.recycle_after and self.row[cells.REQUESTS] >= context.recycle_after:
            self.row[cells.RECYCLE] = self.row[cells.RECYCLE] or cells.RECYCLE_REQUESTS
        if seconds := self.deadline_of(line.path.partition("?")[0]):
            visit.deadline = visit.started_at + int(seconds * 1e9)
        if context.access or context.pre_request or context.post_request:
            visit.request = parsed(visit.line, headers)
        if context.pre_request is not None:
            context.pre_request(self.worker, visit.request)

    def show(self, visit: Visit, line: RequestStartLine) -> None:
        """Say on the scoreboard what is served: so the master can name it, should we hang or crash."""
        if self.slots:
            visit.slot = self.slots.pop()
            id = "" if visit.id == "-" else visit.id
            visit.slot.begin(visit.started_at, self.thread, line.method, line.path, visit.peer, id)
        else:
            self.row[cells.UNSEEN] += 1

    def end_request(self, request_conn: HTTPConnection) -> None:
        """The answer is complete, or the connection has ended before."""
        visit = self.running.pop(request_conn, None)
        if visit is None:
            return
        with visit.lock:
            visit.ended = True
        self.row[cells.BUSY] = len(self.running)
        self.row[cells.BYTES_OUT] += visit.sent
        if visit.slot is not None:
            visit.slot.end()
            self.slots.append(visit.slot)
        context = self.worker.context
        if context.post_request is not None:
            try:
                context.post_request(self.worker, visit.request, None, visit)
            except Exception:
                self.worker.log.exception("Exception in the post_request hook")
        if context.access is not None:
            took, status = monotonic_ns() - visit.started_at, visit.status_code or ABANDONED
            context.access.record(visit.request, visit.peer, status, visit.sent, took, None, visit.headers)

    # -- what the watchdog asks, in a thread of its own ----------------------------------------------

    @property
    def alive(self) -> bool:
        return self.worker.alive

    @property
    def log(self) -> logging.Logger:
        return self.worker.log

    @property
    def context(self) -> Context:
        return self.worker.context

    def overdue(self) -> list[Visit]:
        """The requests whose deadline has passed, but for those that were told so already."""
        now = monotonic_ns()
        return [visit for visit in self.jobs() if 0 < visit.deadline <= now and not visit.overruled]

    def jobs(self) -> list[Visit]:
        """The requests that run, the oldest first."""
        return list(self.running.values())

    def hopeless(self) -> bool:
        """Whether nothing is left but requests whose deadline has passed, and the loop does not turn."""
        running = self.jobs()
        stuck = monotonic_ns() - self.row[cells.BEAT] > deadlines.HELD_UP
        return stuck and bool(running) and all(visit.overruled for visit in running)

    def describe(self, visit: Visit) -> str:
        return deadlines.description(visit.line, visit.started_at, visit.peer, visit.id)

    def interrupt(self, visit: Visit) -> bool:
        """Close its connection: once the loop turns, the handler is told as if its client had left."""
        self.worker.loop.call_soon_threadsafe(close, visit.server_conn)
        return True

    def waits(self, visit: Visit) -> bool:
        return self.on_loop() not in (None, visit)

    def stack_of(self, visit: Visit) -> FrameType | list[FrameType] | None:
        return visit.stack

    def find_stack(self, visit: Visit) -> FrameType | list[FrameType] | None:
        """Where the handler of a request is: on the loop's thread, or waiting in its task."""
        if self.on_loop() is visit:
            return sys._current_frames().get(self.thread)
        for task in asyncio.all_tasks(self.worker.loop):
            frames = frames_of(task.get_coro())
            if frames and self.visit_of(frames[0]) is visit:
                return frames
        return None

    def on_loop(self) -> Visit | None:
        """The request whose handler the loop's thread runs now; None: none, or its stack does not tell."""
        frame = sys._current_frames().get(self.thread)
        while frame is not None:
            if visit := self.visit_of(frame):
                return visit
            frame = frame.f_back
        return None

    def visit_of(self, frame: FrameType) -> Visit | None:
        """The request that a frame runs from beginning to end; None for all frames but such of Tornado's."""
        if frame.f_code is not EXECUTE:
            return None
        handler = frame.f_locals.get("self")
        connection = handler.request.connection if isinstance(handler, RequestHandler) else None
        return self.running.get(connection) if connection is not None else None


class Parting(OutputTransform):
    """Sees an answer go by; tells its client, during a stop, that the connection ends with it."""

    def __init__(self, server: Server, request: HTTPServerRequest) -> None:
        self.server = server
        self.connection = request.connection
        self.visit = server.running.get(request.connection) if request.connection is not None else None

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """What is written after the watchdog has answered goes nowhere, and is not counted."""
        if not self.server.accepting:
            headers.setdefault("Connection", "close")
            if self.connection is not None:
                self.server.last.add(self.connection)
        if not self.server.worker.cfg.server_header:
            headers.pop("Server", None)
        if self.visit is not None:
            with self.visit.lock:
                if not self.visit.status_code:
                    self.visit.status_code = status_code
                    self.visit.headers = list(headers.get_all())
                    self.visit.sent = len(chunk)
        return status_code, headers, chunk

    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
        if self.visit is not None and not self.visit.overruled:
            self.visit.sent += len(chunk)
        return chunk


class Counted(HTTPMessageDelegate):
    """Passes everything on, and says when a request begins."""

    def __init__(
        self, server: Server, server_conn: object, request_conn: HTTPConnection, inner: HTTPMessageDelegate
    ) -> None:
        self.server = server
        self.server_conn = server_conn
        self.request_conn = request_conn
        self.inner = inner
        self.begun = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert not isinstance(start_line, ResponseStartLine)
        self.server.begin_request(self.server_conn, self.request_conn, start_line, headers)
        self.begun = True
        return self.inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self.inner.data_received(chunk)

    def finish(self) -> None:
        self.inner.finish()

    def on_connection_close(self) -> None:
        if self.begun:  # else a hook has refused it
            self.inner.on_connection_close()


def parsed(line: str, headers: HTTPHeaders) -> Request | None:
    """A request as hooks and the access log know it; None where Tornado takes what our parser does not."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.get_all())
    connection = Connection(Limits(request_line=0, field_size=0, head=1 << 20))
    try:
        connection.feed(f"{line}\r\n{fields}\r\n".encode("latin-1", "replace"))
        return connection.next_request()
    except ProtocolError:
        return None


def close(server_conn: object) -> None:
    """Close a connection: one that nothing runs on, or whose request is out of time."""
    if isinstance(server_conn, HTTP1ServerConnection):
        server_conn.stream.close()


def peer_of(request_conn: HTTPConnection) -> str:
    """The address of the other side; "" on a unix socket."""
    address = getattr(getattr(request_conn, "context", None), "address", None)
    return address[0] if isinstance(address, tuple) else ""
