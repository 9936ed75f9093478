# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""ASGI 3 over HTTP: the scope, `receive` and `send` of one request.

`receive` gives the body in pieces as they come, then `http.disconnect` as soon as the
client has finished sending or is gone, or the answer is complete. `send` writes at
once, in the order of the calls, and awaits only while the client does not take what
was sent. What breaks the rules of the protocol is answered by the server, whatever the
application does with it: a framework's catch-all would make a 500 of a 413.

ASGI 3.0, HTTP & WebSocket message format 2.4: `send` raises an OSError once the client
is gone.
"""

cimport cython
import os

from cpython.bytes cimport PyBytes_CheckExact
from cpython.dict cimport PyDict_Copy, PyDict_GetItem, PyDict_SetItem
from cpython.object cimport PyObject

from canter.async_exchange cimport NOT_YET, AsyncExchange, Driver, Waiting
from canter.exchange cimport as_octets
from canter.http._response cimport interim, trailer
from canter.poller cimport CUT
from canter.stream cimport Site, Stream

from canter.errors import ClientDisconnected, ProtocolError
from canter.exchange import InternalServerError

cdef dict VERSIONS = {"version": "3.0", "spec_version": "2.4"}
cdef dict EXTENSIONS = {"http.response.early_hint": {}, "http.response.pathsend": {}, "http.response.trailers": {}}


cdef class AsgiDriver(Driver):
    """`state`: the lifespan's, or None where there is none to hand on."""

    def __init__(self, context, loop, ended, dict state=None):
        super().__init__(context, loop, ended)
        self.state = state
        self.bases = {}

    cdef AsyncExchange exchange_for(self, Stream stream):
        return AsgiExchange.__new__(AsgiExchange)

    cdef dict base_of(self, Site site):
        cdef dict base = self.bases.get(site)
        if base is None:
            base = {
                "type": "http",
                "asgi": VERSIONS,
                "scheme": site.scheme,
                "server": (site.name, None if site.local else int(site.port)),
                "root_path": self.context.cfg.script_name,
                "client": None,
            }
            self.bases[site] = base
        return base

    cdef dict scope_of(self, Stream stream):
        """The scope of the stream's request."""
        cdef dict scope = stream.request.scope(self.base_of(stream.site))
        if not stream.site.local:
            PyDict_SetItem(scope, "client", stream.peer)
        if self.state is not None:
            PyDict_SetItem(scope, "state", PyDict_Copy(self.state))
        PyDict_SetItem(scope, "extensions", PyDict_Copy(EXTENSIONS))
        if stream.request.forwarded or self.context.always_read:
            said = self.context.said_by_proxy(stream)
            if said is not None:
                apply_forwarded(scope, said)
        return scope


cdef int apply_forwarded(dict scope, object said) except -1:
    """Let a trusted proxy's word stand in the scope."""
    if said.scheme is not None:
        scope["scheme"] = said.scheme
    if said.client is not None:
        scope["client"] = said.client
    if said.script_name:
        scope["root_path"] = said.script_name
    return 0


@cython.final
cdef class Receiving(Waiting):
    """What `receive()` returns."""

    cdef object look(self):
        return (<AsgiExchange>self.exchange).message()

    cdef list bells(self):
        return self.exchange.reading_bells()


cdef class AsgiExchange(AsyncExchange):
    """A request of an ASGI application."""

    cdef object begin(self):
        cdef dict scope = (<AsgiDriver>self.driver).scope_of(self.stream)
        if self.context.pre_request is not None:
            self.context.pre_request(self.context.worker, self.request)
        return self.driver.app(scope, self.asgi_receive, self.asgi_send)

    cdef int incomplete(self) except -1:
        if self.response.started:
            self.context.log.error("The application returned before its answer to %s was complete",
                                   self.request.target)
            return CUT
        self.context.log.error("The application returned without an answer to %s", self.request.target)
        return self.respond(InternalServerError())

    # -- receive ---------------------------------------------------------------------------------

    def asgi_receive(self):
        """ASGI's receive()."""
        cdef Receiving receiving = Receiving.__new__(Receiving)
        receiving.exchange = self
        return receiving

    cdef object message(self):
        """The next message for the application, or NOT_YET."""
        if self.left or self.overruled:
            return {"type": "http.disconnect"}
        if not self.body_over:
            return self.body_message()
        if self.stream.fin or self.stream.gone or self.stream.http.eof:
            return {"type": "http.disconnect"}
        self.driver.poller.watch_stream(self.stream)
        return NOT_YET

    cdef object body_message(self):
        cdef bytes data
        try:
            data = self.read_piece()
        except ClientDisconnected:
            self.body_over = True
            self.stream.fin = True
            return {"type": "http.disconnect"}
        except ProtocolError as error:
            self.refuse(error)
            return {"type": "http.disconnect"}
        if data is None:
            return NOT_YET
        self.body_over = self.stream.http.body_done
        return {"type": "http.request", "body": data, "more_body": not self.body_over}

    # -- send --------------------------------------------------------------------------------------

    def asgi_send(self, dict message not None):
        """ASGI's send()."""
        cdef object kind = message["type"]
        if self.left:
            self.too_late(kind)
        if kind == "http.response.start":
            self.start_answer(message)
        elif kind == "http.response.body":
            self.answer_body(message)
        elif kind == "http.response.trailers":
            self.answer_trailers(message)
        elif kind == "http.response.pathsend":
            self.answer_file(message["path"])
        elif kind == "http.response.early_hint":
            self.answer_early(message["links"])
        else:
            raise RuntimeError(f"send() does not know the message type {kind!r}")
        return self.room()

    cdef int too_late(self, object kind) except -1:
        if self.lost:
            raise ClientDisconnected("the client is gone")
        raise RuntimeError(f"{kind} is sent after the answer was complete")

    cdef int start_answer(self, dict message) except -1:
        if self.response.begun:
            raise RuntimeError("http.response.start is sent a second time")
        headers = message.get("headers", ())
        self.response.begin_asgi(message["status"], headers)
        self.trailers = [] if message.get("trailers") else None
        return self.keep_headers(headers)

    cdef int answer_body(self, dict message) except -1:
        cdef PyObject *found = PyDict_GetItem(message, "body")
        cdef object body = b"" if found == NULL else <object>found
        cdef bint more
        found = PyDict_GetItem(message, "more_body")
        more = found != NULL and <object>found
        self.hold_begun("http.response.body")
        if self.body_ended:
            raise RuntimeError("http.response.body is sent after the last one")
        self.emit(<bytes>body if PyBytes_CheckExact(body) else as_octets(body), more or self.trailers is not None)
        if not more and self.trailers is not None:
            self.body_ended = True               # and the trailers are awaited
        elif not more:
            self.complete()
        return 0

    cdef int answer_trailers(self, dict message) except -1:
        """The fields behind the body: sent where the body is chunked and the client wants them (RFC 9110 6.5.1)."""
        if not self.body_ended:
            raise RuntimeError("http.response.trailers is sent before the end of the body")
        self.trailers.extend(message.get("headers", ()))
        if message.get("more_trailers"):
            return 0
        if self.response.chunked and b"trailers" in (self.request.field(b"te") or b"").lower():
            self.put(trailer(self.trailers), None)
        else:
            self.put(self.response.end(), None)
        return self.complete()

    cdef int answer_file(self, object path) except -1:
        """The body is a file."""
        self.hold_begun("http.response.pathsend")
        if self.response.started:
            raise RuntimeError("http.response.pathsend is sent after a part of the body")
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.emit_file(fd, 0, os.fstat(fd).st_size)
        finally:
            os.close(fd)
        return self.complete()

    cdef int answer_early(self, object links) except -1:
        """103 Early Hints; nothing to an HTTP/1.0 client, and nothing once the answer has begun."""
        if self.request.minor >= 1 and not self.response.started:
            self.hold_claim()
            self.put(interim(103, [(b"link", link) for link in links]), None)
        return 0

    cdef int hold_begun(self, str kind) except -1:
        if not self.response.begun:
            raise RuntimeError(f"{kind} is sent before http.response.start")
        return 0
