# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Asynchronous WSGI: `async def app(environ, start_response)`, on the event loop.

PEP 3333 with two words added: the application is awaited, and what it returns may be
an async iterable (docs/async-wsgi.md). Everything else is as it is there. The input is
received before the application is called, so that reading it never waits: a body is
held in memory, up to `--limit-request-body`. Each piece of the result is sent before
the next is asked for; while the client does not take it, other requests run.

An async iterable that waits for news is cancelled when its client has left: at once
after a reset; after a FIN, which may be half a close, when it then says nothing for
`SILENCE`. Only the exchanges that have seen either are looked at.
"""

cimport cython
from asyncio import CancelledError

from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from canter.async_exchange cimport AsyncExchange, Driver, Piece
from canter.exchange cimport as_octets, join
from canter.gateway.wsgi cimport EMPTY, FileWrapper, file_part, whole_input
from canter.io cimport canter_now
from canter.http._response cimport interim
from canter.poller cimport CUT
from canter.stream cimport SECOND, Stream

cdef int64_t SILENCE = 2 * SECOND                # long for a stream that has something to say to half a close


@cython.final
cdef class WsgiDriver(Driver):
    """For applications of asynchronous WSGI."""

    def __init__(self, context, loop, ended):
        super().__init__(context, loop, ended)
        self.leaving = {}

    def tick(self):
        for exchange in list(self.leaving):
            (<AsyncWsgiExchange>exchange).look_whether_silent()
        Driver.tick(self)

    cdef AsyncExchange exchange_for(self, Stream stream):
        return AsyncWsgiExchange.__new__(AsyncWsgiExchange)


@cython.final
cdef class AsyncWsgiExchange(AsyncExchange):
    """A request of an asynchronous WSGI application."""

    # -- what the application calls ----------------------------------------------------------

    def start_response(self, status, headers, exc_info=None):
        """PEP 3333's start_response."""
        self.begin_wsgi(status, headers, exc_info)
        return self.write

    def write(self, data):
        """PEP 3333's write(). What the client does not take at once is sent while others run."""
        if data or not PyBytes_CheckExact(data):
            self.deliver_piece(data)

    def early_hints(self, headers):
        """`wsgi.early_hints`: send `103 Early Hints` with [(name, value)]; nothing to an HTTP/1.0 client."""
        if self.request.minor >= 1 and not self.response.started:
            self.hold_claim()
            self.put(interim(103, headers), None)

    def client_disconnected(self):
        """`canter.client_disconnected`: has the client left? A half-close counts too."""
        return self.left or self.stream.peer_left() > 0

    # -- the driver ------------------------------------------------------------------------------

    cdef object begin(self):
        return self.serve()

    async def serve(self):
        """Receive, call, deliver."""
        parts = []
        while self.request.has_body:
            part = await self.piece()
            if not part:
                break
            parts.append(part)
        self.environ = environ = self.context.environ(self.stream)
        environ["wsgi.input"] = whole_input(b"".join(parts)) if parts else EMPTY
        environ["wsgi.early_hints"] = self.early_hints
        environ["canter.client_disconnected"] = self.client_disconnected
        if self.context.pre_request is not None:
            self.context.pre_request(self.context.worker, self.request)
        self.called = self.driver.app(environ, self.start_response)
        result = await self.called
        try:
            if not self.deliver_at_once(result):
                await self.deliver_each(result)
                self.finish()
            self.delivered = True
        finally:
            if hasattr(result, "aclose"):
                await result.aclose()
            elif hasattr(result, "close"):
                result.close()
        self.complete()

    cdef Piece piece(self):
        cdef Piece piece = Piece.__new__(Piece)
        piece.exchange = self
        return piece

    cdef bint deliver_at_once(self, object result) except -1:
        """The results that are all there: a list of bytes, a file."""
        if type(result) in (list, tuple) and not self.response.started:
            whole = join(list(result))
            if whole is not None:
                self.must_have_begun()
                self.emit(whole, False)
                return True
        if type(result) is FileWrapper and not self.response.started:
            part = file_part(result)
            if part is not None:
                self.must_have_begun()
                fd, at, count = part
                self.emit_file(fd, at, count)
                return True
            (<FileWrapper>result).left = self.response.length
        return False

    async def deliver_each(self, result):
        if hasattr(type(result), "__aiter__"):
            self.begin_stream()
            async for data in result:
                self.pieces += 1
                self.deliver_piece(data)
                await self.room()
                if self.response.bodyless or self.response.overrun:
                    return
        else:
            for data in result:
                self.deliver_piece(data)
                await self.room()
                if self.response.bodyless or self.response.overrun:
                    return

    cdef int deliver_piece(self, object data) except -1:
        cdef bytes octets = <bytes>data if PyBytes_CheckExact(data) else as_octets(data)
        if PyBytes_GET_SIZE(octets):
            self.must_have_begun()
            self.emit(octets, True)
        return 0

    cdef int finish(self) except -1:
        """Nothing more comes: the end of the body, or the head of an empty one."""
        self.end_stream()
        self.must_have_begun()
        return self.emit(b"", False)

    # -- a client that leaves --------------------------------------------------------------------

    cdef int begin_stream(self) except -1:
        """From here on the application may wait for news: have the poller tell when the client leaves."""
        self.streaming = True
        if self.stream.fin or self.stream.gone or self.stream.http.eof:
            return self.leaves()
        return self.driver.poller.watch_stream(self.stream)

    cdef int end_stream(self) except -1:
        """It has no news to wait for any more: a client that listens on may have all the rest."""
        self.streaming = False
        (<WsgiDriver>self.driver).leaving.pop(self, None)
        return 0

    cdef int stirred(self, unsigned what) except -1:
        AsyncExchange.stirred(self, what)
        if self.streaming and not self.left and (self.stream.fin or self.stream.gone):
            return self.leaves()
        return 0

    cdef int leaves(self) except -1:
        """The client has left, or finished sending."""
        if self.stream.gone:
            return self.abandon()
        if self not in (<WsgiDriver>self.driver).leaving:
            (<WsgiDriver>self.driver).leaving[self] = (canter_now(), self.pieces)
        return 0

    cdef int look_whether_silent(self) except -1:
        """Has nothing been said since the client finished sending?"""
        since, pieces = (<WsgiDriver>self.driver).leaving[self]
        if self.pieces != pieces or self.stream.pending is not None:
            (<WsgiDriver>self.driver).leaving[self] = (canter_now(), self.pieces)
        elif canter_now() - <int64_t>since >= SILENCE:
            return self.abandon()
        return 0

    cdef int abandon(self) except -1:
        """Nobody listens: end the wait for the next piece."""
        (<WsgiDriver>self.driver).leaving.pop(self, None)
        if not self.abandoned:
            self.abandoned = True
            self.runner.cancel()
        return 0

    cdef int conclude(self, object error) except -1:
        if self.abandoned and isinstance(error, CancelledError):
            return CUT
        return AsyncExchange.conclude(self, error)

    cdef int leave(self, int then) except -1:
        self.end_stream()
        return AsyncExchange.leave(self, then)

    cdef int incomplete(self) except -1:
        return CUT                               # `serve` completes the answer, or raises
