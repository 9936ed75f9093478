"""tornado: a `tornado.web.Application`, served by Tornado itself under our master.

Its handlers write to Tornado's own connections, so Tornado's HTTP server accepts, reads
and answers (`canter.workers.tornado_server`); what the wire looks like is Tornado's doing,
and so are its limits. Ours are the listeners, the process, its signals, the graceful
stop, the sign of life, recycling, the counts, and what is done about each request. Any
other application (WSGI, ASGI) is served as by `-k asyncio`.

A poller without listeners stays for what every worker hears through it: the master's
end, signals, and the time that a stop leaves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tornado.web import Application

from canter import deadlines
from canter.workers.asyncio import TICK, AsyncioWorker
from canter.workers.tornado_server import Server

if TYPE_CHECKING:
    import socket

# What Tornado's server has no equivalent for.
UNHEARD = (
    "threads",
    "worker_connections",
    "limit_request_line",
    "limit_request_fields",
    "limit_request_field_size",
    "header_timeout",
    "body_timeout",
    "body_min_rate",
    "write_timeout",
    "body_buffer",
    "queue_timeout",
    "script_name",
    "interface",
    "lifespan",
    "ws_max_size",
    "ws_max_queue",
    "ws_ping_interval",
    "ws_ping_timeout",
    "forwarder_headers",
    "secure_scheme_headers",
)


class TornadoWorker(AsyncioWorker):
    """Tornado's server for Tornado's applications; the asyncio worker for all others."""

    server: Server | None = None
    listeners: list[socket.socket]

    def learn_interface(self) -> None:
        if isinstance(self.app, Application):
            self.listeners, self.sockets = self.sockets, []
            self.server = Server(self.app, **self.server_settings())
            self.server.attend(self)
            self.tell_unheard()
        else:
            super().learn_interface()

    def tell_unheard(self) -> None:
        """Name the settings that were made and have no effect here."""
        names = [name for name in UNHEARD if self.cfg.source(name) != "default"]
        if names:
            what = "Tornado's own server serves this application: these settings have no effect: %s"
            self.log.warning(what, ", ".join(names))

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

    def watch_deadlines(self) -> None:
        if self.server is None:
            super().watch_deadlines()
        else:
            deadlines.watch(self.server, self.server)

    def run(self) -> None:
        if self.server is None:
            super().run()
        else:
            self.loop.run_until_complete(self.serve_tornado(self.server))
            self.loop.close()

    async def serve_tornado(self, server: Server) -> None:
        """Until a stop: serve. Then until nothing runs, or the time is over: finish."""
        self.over = asyncio.Event()
        server.hear()
        self.loop.add_reader(self.poller.fileno(), self.look, server)
        beat = self.loop.create_task(self.beat(server))
        await self.over.wait()
        if server.open:
            self.log.warning("%d connections are cut at the end of the stop", server.open)
        beat.cancel()
        self.loop.remove_reader(self.poller.fileno())
        await self.loop.shutdown_asyncgens()

    def look(self, server: Server) -> None:
        """Hear what the poller hears, and say that we live."""
        self.poller.poll(0)
        if self.poller.stopping:
            server.finish()
            if not server.open or self.poller.left == 0:
                self.over.set()

    async def beat(self, server: Server) -> None:
        while True:
            self.context.idle_now()
            self.look(server)
            await asyncio.sleep(TICK)
