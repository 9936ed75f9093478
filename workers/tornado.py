"""tornado: a `tornado.web.Application`, served by Tornado itself under our master.

Its handlers write to Tornado's own connections, so Tornado's HTTP server accepts, reads
and answers; what the wire looks like is Tornado's doing, and so are its limits. Ours are
the listeners, the process, its signals, the graceful stop, the sign of life, recycling
and the counts of connections and requests. Any other application (WSGI, ASGI) is served
as by `-k asyncio`.

A poller without listeners stays for what every worker hears through it: the master's
end, signals, and the time that a stop leaves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.web import Application, OutputTransform, RequestHandler

from canter import scoreboard as cells
from canter.http.forwarded import Proxies
from canter.workers.asyncio import TICK, AsyncioWorker

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable

    from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine


class TornadoWorker(AsyncioWorker):
    """Tornado's server for Tornado's applications; the asyncio worker for all others."""

    server: Server | None = None
    listeners: list[socket.socket]

    def learn_interface(self) -> None:
        if isinstance(self.app, Application):
            self.listeners, self.sockets = self.sockets, []
            self.server = Server(self.app, **self.server_settings())
            self.server.attend(self)
        else:
            super().learn_interface()

    def server_settings(self) -> dict[str, Any]:
        """What of our settings Tornado's server knows, in its words."""
        cfg = self.cfg
        keepalive = self.keepalive if cfg.keepalive is None else cfg.keepalive
        return {
            "no_keep_alive": keepalive == 0,
            "idle_connection_timeout": keepalive or None,
            "max_body_size": cfg.limit_request_body or None,
            "trusted_downstream": [
                peer for peer in cfg.forwarded_allow_ips if peer != "*" and "/" not in peer
            ],
        }

    def capacity(self) -> int:
        return self.cfg.worker_connections if self.server else super().capacity()

    def warm_up(self) -> None:
        if self.server is None:
            super().warm_up()

    def run(self) -> None:
        if self.server is None:
            super().run()
        else:
            self.loop.run_until_complete(self.serve_tornado(self.server))
            self.loop.close()

    async def serve_tornado(self, server: Server) -> None:
        """Until a stop: serve. Then until nothing runs, or the time is over: finish."""
        self.over = asyncio.Event()
        server.add_sockets(self.listeners)
        self.loop.add_reader(self.poller.fileno(), self.look, server)
        beat = self.loop.create_task(self.beat(server))
        await self.over.wait()
        if server.connections:
            self.log.warning("%d connections are cut at the end of the stop", len(server.connections))
        beat.cancel()
        self.loop.remove_reader(self.poller.fileno())
        await self.loop.shutdown_asyncgens()

    def look(self, server: Server) -> None:
        """Hear what the poller hears, and say that we live."""
        self.poller.poll(0)
        if self.poller.stopping:
            server.finish()
            if not server.connections or self.poller.left == 0:
                self.over.set()

    async def beat(self, server: Server) -> None:
        while True:
            self.look(server)
            await asyncio.sleep(TICK)


class Server(HTTPServer):
    """Tornado's server, keeping count for the scoreboard."""

    def attend(self, worker: TornadoWorker) -> None:
        cfg = worker.cfg
        self.worker = worker
        self.row = worker.row
        self.proxies = Proxies(cfg.forwarded_allow_ips, cfg.forwarder_headers, cfg.secure_scheme_headers)
        self.connections: dict[object, HTTPConnection] = {}  # and the request that each has now
        self.running: set[HTTPConnection] = set()
        self.accepting = True
        app: Any = self.request_callback
        log_request = app.log_request

        def ended(handler: RequestHandler) -> None:
            if handler.request.connection is not None:
                self.end_request(handler.request.connection)
            log_request(handler)

        app.add_transform(lambda _: Farewell(self))
        app.log_request = ended  # Tornado calls it once for each request, when its answer is complete

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """A connection awaits its next request."""
        if not self.accepting:
            self.worker.loop.call_soon(close, server_conn)
        if server_conn not in self.connections:
            self.row[cells.ACCEPTED] += 1
        self.connections[server_conn] = request_conn
        self.row[cells.CONNECTIONS] = len(self.connections)
        self.xheaders = self.proxies.trusts(peer_of(request_conn))
        return Counted(self, request_conn, super().start_request(server_conn, request_conn))

    def begin_request(self, request_conn: HTTPConnection) -> None:
        self.running.add(request_conn)
        self.row[cells.BUSY] = len(self.running)
        self.row[cells.REQUESTS] += 1
        context = self.worker.context
        if context.recycle_after and self.row[cells.REQUESTS] >= context.recycle_after:
            self.row[cells.RECYCLE] = self.row[cells.RECYCLE] or cells.RECYCLE_REQUESTS

    def end_request(self, request_conn: HTTPConnection) -> None:
        self.running.discard(request_conn)
        self.row[cells.BUSY] = len(self.running)

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        self.end_request(self.connections.pop(server_conn))
        self.row[cells.CONNECTIONS] = len(self.connections)

    def finish(self) -> None:
        """Accept no more; close what is idle, and each other connection behind its answer."""
        if not self.accepting:
            return
        self.accepting = False
        self.stop()
        for server_conn, request_conn in list(self.connections.items()):
            if request_conn not in self.running:
                close(server_conn)


class Farewell(OutputTransform):
    """Tells the client of an answer during a stop that its connection ends with it."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        if not self.server.accepting:
            headers.setdefault("Connection", "close")
        return status_code, headers, chunk


class Counted(HTTPMessageDelegate):
    """Passes everything on, and says when a request begins."""

    def __init__(self, server: Server, request_conn: HTTPConnection, inner: HTTPMessageDelegate) -> None:
        self.server = server
        self.request_conn = request_conn
        self.inner = inner

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self.server.begin_request(self.request_conn)
        return self.inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self.inner.data_received(chunk)

    def finish(self) -> None:
        self.inner.finish()

    def on_connection_close(self) -> None:
        self.inner.on_connection_close()


def close(server_conn: object) -> None:
    """Close a connection that nothing runs on."""
    if isinstance(server_conn, HTTP1ServerConnection):
        server_conn.stream.close()


def peer_of(request_conn: HTTPConnection) -> str:
    """The address of the other side; "" on a unix socket."""
    address = getattr(getattr(request_conn, "context", None), "address", None)
    return address[0] if isinstance(address, tuple) else ""
