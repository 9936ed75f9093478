# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""WebSocket (RFC 6455) for ASGI applications, on the same streams.

Framing, permessage-deflate and the closing handshake are those of the `websockets`
library's sans-I/O `ServerProtocol`; this room moves octets between it and the stream,
and messages between it and the application. What is bounded: a message
(`--ws-max-size`, 1009 over it), the messages that wait for the application (at
`--ws-max-queue` no more is read, so that the client feels it), the memory of a
compressor (a window of 4 KiB).

A connection is pinged every `--ws-ping-interval` and closed with 1011 when the pong
does not come in time. After a close frame nothing more is expected: the poller
lingers until the client has left, too. When the worker stops, open sockets are closed
with 1012 (the service restarts), or 1001 where the whole server goes.

Without the library an Upgrade to it is ignored, as any that nobody handles.
"""

cimport cython
import logging
from collections import deque

from libc.stdint cimport int64_t

from canter.async_asgi cimport AsgiDriver, AsgiExchange
from canter.async_exchange cimport NOT_YET, AsyncExchange, ring
from canter.io cimport CANTER_WRITE, canter_now
from canter.poller cimport CLOSE, CUT
from canter.stream cimport SECOND, Stream

from canter.errors import ClientDisconnected, ResponseError
from canter.exchange import InternalServerError

cdef enum:
    FULL_READ = 65536                            # octets: a shorter read has emptied the socket
    REASON_LIMIT = 123                           # octets of a close reason (RFC 6455 5.5)

cdef int NORMAL = 1000, GOING_AWAY = 1001, NO_STATUS = 1005, ABNORMAL = 1006, INVALID_DATA = 1007
cdef int INTERNAL_ERROR = 1011, RESTARTS = 1012


def _library():
    """What is used of the `websockets` package, or None where it is not installed."""
    try:
        from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
        from websockets.frames import Opcode
        from websockets.server import ServerProtocol
    except ImportError:
        return None
    logging.getLogger("canter.websocket").setLevel(logging.ERROR)
    deflate = ServerPerMessageDeflateFactory(
        server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5})
    return ServerProtocol, Opcode, deflate, logging.getLogger("canter.websocket")


@cython.final
cdef class SocketDriver(AsgiDriver):
    """Requests of an ASGI application, and its WebSockets."""

    def __init__(self, context, loop, ended, dict state=None):
        super().__init__(context, loop, ended, state)
        self.library = _library()
        self.max_queue = context.cfg.ws_max_queue
        self.sockets = {}
        self.pinged = {}

    cdef AsyncExchange exchange_for(self, Stream stream):
        if self.wants_socket(stream):
            return SocketExchange.__new__(SocketExchange)
        return AsgiExchange.__new__(AsgiExchange)

    cdef bint wants_socket(self, Stream stream) except -1:
        """Does the client ask for a WebSocket, and can it have one?"""
        cdef bytes upgrade = stream.request.field(b"upgrade")
        if upgrade is None or upgrade.lower() != b"websocket" or stream.request.minor == 0:
            return False
        if b"upgrade" not in (stream.request.field(b"connection") or b"").lower() or stream.request.has_body:
            return False
        if self.library is None and not self.warned:
            self.warned = True
            self.context.log.warning("A client asks for a WebSocket, and is answered without one: "
                                     "that needs a package, pip install 'canter[websocket]'")
        return self.library is not None

    def tick(self):
        if self.poller.stop_at and not self.told:
            self.told = True
            code = GOING_AWAY if self.context.worker.scoreboard.stopping else RESTARTS
            for socket in list(self.sockets):
                (<SocketExchange>socket).close_socket(code, "")
        self.expire_sockets()
        AsgiDriver.tick(self)

    cdef int expire_sockets(self) except -1:
        """Pings that are due, and pongs that are overdue; each dict is in order of time."""
        cdef int64_t now = canter_now()
        cdef int64_t interval = <int64_t>(self.context.cfg.ws_ping_interval * SECOND)
        cdef int64_t limit = <int64_t>(self.context.cfg.ws_ping_timeout * SECOND)
        while limit and self.pinged:
            socket = next(iter(self.pinged))
            if now - <int64_t>self.pinged[socket] < limit:
                break
            (<SocketExchange>socket).close_socket(INTERNAL_ERROR, "keepalive ping timeout")
        while interval and self.sockets:
            socket = next(iter(self.sockets))
            if now - <int64_t>self.sockets[socket] < interval:
                break
            del self.sockets[socket]
            self.sockets[socket] = now
            (<SocketExchange>socket).ping()
        return 0


@cython.final
cdef class SocketExchange(AsgiExchange):
    """One WebSocket, from its handshake to its end."""

    cdef object begin(self):
        cdef SocketDriver driver = <SocketDriver>self.driver
        cdef dict scope = driver.scope_of(self.stream)
        protocol, _, deflate, log = driver.library
        self.messages = deque()
        self.protocol = protocol(
            extensions=[deflate], max_size=self.context.cfg.ws_max_size or None, logger=log)
        self.protocol.receive_data(self.request.head)
        self.response.keep_alive = False
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
        del scope["method"]
        offered = (self.request.field(b"sec-websocket-protocol") or b"").decode("latin-1")
        scope["subprotocols"] = [name.strip() for name in offered.split(",") if name.strip()]
        scope["extensions"] = {"websocket.http.response": {}}
        if self.context.pre_request is not None:
            self.context.pre_request(self.context.worker, self.request)
        return driver.app(scope, self.asgi_receive, self.asgi_send)

    # -- receive -----------------------------------------------------------------------------------

    cdef object message(self):
        if not self.connect_told:
            self.connect_told = True
            return {"type": "websocket.connect"}
        if not self.messages and self.open:
            self.pump()
        if self.messages:
            found = self.messages.popleft()
            if isinstance(found, str):
                return {"type": "websocket.receive", "text": found}
            return {"type": "websocket.receive", "bytes": found}
        if self.code or self.left or (not self.open and (self.stream.fin or self.stream.gone)):
            return {"type": "websocket.disconnect", "code": self.code or ABNORMAL, "reason": self.reason or ""}
        self.driver.poller.watch_stream(self.stream)
        return NOT_YET

    cdef int pump(self) except -1:
        """Receive until nothing more is here, or the application has enough to do."""
        cdef bytes data
        if self.pumping:                         # a close inside of it
            return 0
        self.pumping = True
        try:
            while self.open and len(self.messages) < (<SocketDriver>self.driver).max_queue:
                data = self.stream.try_take()
                if data is None:
                    break
                if data:
                    self.protocol.receive_data(data)
                else:
                    self.protocol.receive_eof()
                self.digest()
                if len(data) < FULL_READ and not self.stream.fin:
                    break
        finally:
            self.pumping = False
        return 0

    cdef int digest(self) except -1:
        """What came of the octets received: messages, pongs, the end."""
        opcode = (<SocketDriver>self.driver).library[1]
        protocol = self.protocol
        for frame in protocol.events_received():
            kind = frame.opcode
            if kind is opcode.TEXT or kind is opcode.BINARY:
                self.is_text = kind is opcode.TEXT
                self.collect(frame, True)
            elif kind is opcode.CONT:
                self.collect(frame, False)
            elif kind is opcode.PONG:
                (<SocketDriver>self.driver).pinged.pop(self, None)
            if not self.open:
                return 0
        self.flush()
        if not self.open:
            return 0
        if protocol.close_rcvd is not None:
            return self.ended(protocol.close_rcvd.code, protocol.close_rcvd.reason)
        if protocol.parser_exc is not None:
            sent = protocol.close_sent
            return self.ended(ABNORMAL if sent is None else sent.code, "" if sent is None else sent.reason)
        return 0

    cdef int collect(self, object frame, bint first) except -1:
        """A frame of a message: whole with its last."""
        cdef bytes data
        if first and frame.fin:
            data = bytes(frame.data)
        else:
            if first:
                self.parts = []
            self.parts.append(frame.data)
            if not frame.fin:
                return 0
            data = b"".join(self.parts)
            self.parts = None
        if not self.is_text:
            self.messages.append(data)
            return 0
        try:
            self.messages.append(data.decode())
        except UnicodeDecodeError as error:
            self.close_socket(INVALID_DATA, f"{error.reason} at position {error.start}")
        return 0

    # -- send --------------------------------------------------------------------------------------

    def asgi_send(self, dict message not None):
        """ASGI's send()."""
        cdef object kind = message["type"]
        if self.left:
            if self.code or self.lost:
                raise ClientDisconnected("the WebSocket is closed")
            raise RuntimeError(f"{kind} is sent after the answer was complete")
        if kind == "websocket.send" and self.open:
            self.send_message(message)
        elif kind == "websocket.close" and self.open:
            self.close_socket(message.get("code") or NORMAL, message.get("reason") or "")
        elif kind == "websocket.accept" and not self.open and not self.denying:
            self.accept(message)
        elif kind == "websocket.close" and not self.denying:
            self.response.begin_asgi(403, ())
            self.emit(b"", False)
            self.code = ABNORMAL
            self.complete()
        elif kind == "websocket.http.response.start" and not self.open:
            self.denying = True
            self.start_answer(message)
        elif kind == "websocket.http.response.body" and self.denying:
            self.answer_body(message)
            if self.left:
                self.code = ABNORMAL
        else:
            raise RuntimeError(f"{kind} can't be sent now")
        return self.room()

    cdef int accept(self, dict message) except -1:
        """Complete the handshake, if the client's part of it is right."""
        protocol = self.protocol
        requests = protocol.events_received()
        if not requests:
            return self.refuse_handshake()
        answer = protocol.accept(requests[0])
        if answer.status_code != 101:
            self.response.begin_asgi(answer.status_code, [
                (b"sec-websocket-version", b"13"), (b"content-type", b"text/plain; charset=utf-8")])
            self.emit(answer.body or b"", False)
            self.code = ABNORMAL
            return self.complete()
        headers = message.get("headers") or ()
        self.response.begin_asgi(101, headers)   # checks them, and is the record of this answer
        for name, value in headers:
            answer.headers[name.decode("latin-1")] = value.decode("latin-1")
        if message.get("subprotocol"):
            protocol.subprotocol = message["subprotocol"]
            if not protocol.subprotocol.isprintable():
                raise ResponseError("the subprotocol has a control character")
            answer.headers["Sec-WebSocket-Protocol"] = protocol.subprotocol
        self.hold_claim()
        self.response.head(b"", -1)
        self.deadline = 0                        # a WebSocket may last
        protocol.send_response(answer)
        self.open = True
        (<SocketDriver>self.driver).sockets[self] = canter_now()
        self.driver.poller.watch_stream(self.stream)
        self.flush()
        rest = self.stream.http.take_rest()
        if rest and self.open:
            protocol.receive_data(rest)
            self.digest()
        return 0

    cdef int refuse_handshake(self) except -1:
        """The library could not read what our parser could."""
        self.response.begin_asgi(400, ())
        self.emit(b"", False)
        self.code = ABNORMAL
        return self.complete()

    cdef int send_message(self, dict message) except -1:
        text = message.get("text")
        if text is not None:
            self.protocol.send_text((<str?>text).encode())
        else:
            data = message.get("bytes")
            if data is None:
                raise RuntimeError("websocket.send has neither text nor bytes")
            self.protocol.send_binary(data)
        return self.flush()

    cdef int close_socket(self, int code, str reason) except -1:
        """Send a close frame. Nothing more is expected of the client but that it leaves."""
        if self.protocol.close_sent is None:
            self.protocol.send_close(code, reason.encode()[:REASON_LIMIT].decode("utf-8", "ignore"))
        self.flush()
        return self.ended(code, reason) if self.open else 0

    cdef int ping(self) except -1:
        self.protocol.send_ping(b"")
        (<SocketDriver>self.driver).pinged.setdefault(self, canter_now())
        return self.flush()

    cdef int flush(self) except -1:
        """Send what the protocol has to say; a client that is gone ends the socket."""
        cdef bytes data = b"".join(self.protocol.data_to_send())
        try:
            if data:
                self.put(data, None)
        except ClientDisconnected:
            self.ended(ABNORMAL, "")
        return 0

    # -- the end -----------------------------------------------------------------------------------

    cdef int ended(self, int code, str reason) except -1:
        """The socket is closed, by whomever: the connection is the poller's again."""
        self.code = code
        self.reason = reason
        self.open = False
        self.stream.stirred = True               # frames may be on their way: linger, so that ours is not lost
        return self.leave(CUT if self.stream.gone else CLOSE)

    cdef int leave(self, int then) except -1:
        self.open = False
        (<SocketDriver>self.driver).sockets.pop(self, None)
        (<SocketDriver>self.driver).pinged.pop(self, None)
        return AsgiExchange.leave(self, then)

    cdef int conclude(self, object error) except -1:
        """The application has ended before its socket."""
        if not self.open or self.stream.gone:
            return AsgiExchange.conclude(self, error)
        if error is not None:
            self.context.failed(self, error)
        if self.protocol.close_sent is None:
            self.protocol.send_close(NORMAL if error is None else INTERNAL_ERROR)
        self.open = False                        # so that a failing flush does not end it twice
        data = b"".join(self.protocol.data_to_send())
        try:
            self.put(data, None)
        except ClientDisconnected:
            return CUT
        self.stream.stirred = True
        return CLOSE

    cdef int incomplete(self) except -1:
        self.context.log.error("The application returned without an answer to the WebSocket %s", self.request.target)
        return self.respond(InternalServerError())

    cdef int write_late(self) except -1:
        AsgiExchange.write_late(self)
        return self.ended(ABNORMAL, "") if self.open else 0

    cdef int stirred(self, unsigned what) except -1:
        if what & CANTER_WRITE:
            AsgiExchange.stirred(self, what)
        if self.open:
            if self.stream.gone:
                self.ended(ABNORMAL, "")
            else:
                self.pump()
        return ring(self.readers)
