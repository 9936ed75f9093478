# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The asynchronous driver: a request as a task of an event loop.

What it shares with the blocking driver is `Job` and `Context` (core/exchange.pyx) and
`http.Response`; what is its own is how it waits. No transport, protocol or buffer of
asyncio's is involved: the loop watches the poller's one descriptor, and this code
receives from and sends to the stream itself, without blocking.

**A task without a wrapper.** `AsyncExchange` is what the task runs in a coroutine's
place: each step is handed on to the application's own coroutine, and its end ends the
exchange. So a request costs one task and no Python frame of the server's.

**Waiting.** What the application awaits is mostly done already: `DONE`, one shared
object. Else it is a `Waiting`, which looks, and where there is nothing yet leaves a
future with the exchange; an event of the stream rings them all, and each looks again.
So nothing is taken from the stream for a task that is cancelled meanwhile.

**The answer may be over before the application is.** After its last octet the
connection is given back at once, while the application may go on for as long as it
likes; it only learns that the connection is gone (`left`).

**Cancelling.** No application is cancelled because its client left; it is told, if it
asks. Only the end of the time to stop, and a request's own deadline, cancel.

**No cycles.** An exchange holds its task and its coroutine, which hold it: both are let
go in `over`.
"""

cimport cython
from asyncio import CancelledError, Future, Task
from collections.abc import Coroutine

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport int64_t, uint64_t

from canter.exchange cimport APPLICATION, Context
from canter.http._response cimport Response, interim
from canter.io cimport CANTER_WRITE, canter_now, canter_watch_room
from canter.poller cimport CLOSE, CUT
from canter.stream cimport BUSY, Stream

from canter.errors import ClientDisconnected, RequestTimeout

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object found)
    int PyIter_Send(object iterator, object value, PyObject **result) except -1
    object steal "(PyObject *)"(PyObject *found)
    ctypedef PyObject *(*iternext "iternextfunc")(PyObject *) noexcept
    ctypedef struct PyTypeObject:
        iternext tp_iternext
    void PyType_Modified(PyTypeObject *type)
    enum:
        PYGEN_RETURN
        PYGEN_NEXT

cdef enum:
    JOIN_LIMIT = 131072                          # octets: a body up to here is copied behind its head

cdef object NOT_YET = object()
cdef list PLAIN = [(b"Content-Type", b"text/plain; charset=utf-8")]


cdef class Driver:
    """Runs the requests of one worker on `loop`. `ended()` is called when a stopping worker has nothing left to do."""

    def __init__(self, Context context, object loop, object ended):
        self.context = context
        self.poller = context.poller
        self.poller.wakes = False                # what gets ready outside of a poll asks for a turn here
        self.app = context.app
        self.loop = loop
        self.ended = ended
        self.make_task = Task
        self.make_future = Future
        self.begun = set()
        self.reading = {}
        self.writing = {}

    cdef AsyncExchange exchange_for(self, Stream stream):
        """The exchange, not opened yet, that serves this request."""
        raise NotImplementedError

    def turn(self):
        """The poller's descriptor is ready, or something is that needs no descriptor."""
        self.turning = False
        for stream in self.poller.poll(0):
            try:
                self.start(<Stream>stream)
            except Exception:                    # the others of the batch must not wait for ever
                self.context.log.exception("a request could not be started")
                self.poller.give_back(stream, CUT)
        if self.poller.stop_at and self.ended is not None and self.finished:
            ended, self.ended = self.ended, None
            ended()

    def tick(self):
        """A few times a second: deadlines, and what can wait for a quiet moment."""
        self.context.idle_now()
        self.expire()
        self.turn()

    @property
    def finished(self):
        """Stopping, and no application runs any more, or the time is over."""
        return self.poller.finished and (self.tasks == 0 or canter_now() >= self.poller.stop_at)

    def cancel_all(self):
        """The time to stop is over: end what still runs. The tasks."""
        self.cancelling = True
        tasks = [(<AsyncExchange>exchange).runner for exchange in self.begun]
        for task in tasks:
            task.cancel()
        return tasks

    cdef int start(self, Stream stream) except -1:
        cdef AsyncExchange exchange
        if self.context.too_late(stream):
            return self.poller.give_back(stream, CUT if stream.gone else CLOSE)
        stream.state = BUSY
        exchange = self.exchange_for(stream)
        exchange.driver = self
        exchange.open(self.context, stream)
        exchange.expecting = exchange.request.expect_continue
        stream.owner = exchange
        self.tasks += 1
        self.begun.add(exchange)
        exchange.runner = self.make_task(exchange, loop=self.loop, name="request")
        return 0

    cdef int look_again(self) except -1:
        """A stream was given back: is another request ready, or is this the end?"""
        if not self.turning and (self.poller.ready or self.poller.stop_at):
            self.turning = True
            self.loop.call_soon(self.turn)
        return 0

    cdef int expire(self) except -1:
        """End what has waited too long. Both are in order of time: only the front is looked at."""
        cdef int64_t now = canter_now()
        cdef int64_t limit = self.context.terms.body_ns
        while limit and self.reading:
            exchange = next(iter(self.reading))
            if now - <int64_t>self.reading[exchange] < limit:
                break
            del self.reading[exchange]
            (<AsyncExchange>exchange).read_late()
        limit = self.context.terms.write_ns
        while limit and self.writing:
            exchange = next(iter(self.writing))
            if now - <int64_t>self.writing[exchange] < limit:
                break
            del self.writing[exchange]
            (<AsyncExchange>exchange).write_late()
        return 0


# -- what is awaited -------------------------------------------------------------------------


cdef class Awaitable:
    """The face of a coroutine."""

    cdef object advance(self):
        """One step: a future to wait for, or StopIteration with what came of it."""
        raise StopIteration

    cdef int abandon(self) except -1:
        """It is not waited for any more."""
        return 0

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.advance()

    def send(self, value):
        return self.advance()

    def throw(self, kind, value=None, traceback=None):
        self.abandon()
        raise kind if value is None else value

    def close(self):
        self.abandon()


cdef class Waiting(Awaitable):
    """Looks for something of its exchange, and waits for a ring where it is not there yet."""

    cdef object look(self):
        """What is waited for, or NOT_YET."""
        return None

    cdef list bells(self):
        """Where this is woken."""
        return None

    cdef object advance(self):
        self.future = None
        found = self.look()
        if found is not NOT_YET:
            if found is None:
                raise StopIteration
            raise StopIteration(found)
        self.future = self.exchange.driver.make_future(loop=self.exchange.driver.loop)
        self.bells().append(self.future)
        self.future._asyncio_future_blocking = True     # how a coroutine tells its task to wait
        return self.future

    cdef int abandon(self) except -1:
        if self.future is not None and self.future in self.bells():
            self.bells().remove(self.future)
            if not self.exchange.readers:        # nobody waits for the body any more: nor does its time-out
                self.exchange.driver.reading.pop(self.exchange, None)
        self.future = None
        return 0


@cython.final
cdef class Room(Waiting):
    """The client has taken all that was sent so far."""

    cdef object look(self):
        cdef AsyncExchange exchange = self.exchange
        if exchange.left:
            return None
        if exchange.stream.gone:
            raise ClientDisconnected("the client is gone")
        return None if exchange.stream.pending is None else NOT_YET

    cdef list bells(self):
        if self.exchange.writers is None:
            self.exchange.writers = []
        return self.exchange.writers


@cython.final
cdef class Piece(Waiting):
    """The next octets of the request's body; b"" at its end."""

    cdef object look(self):
        if self.exchange.left:
            raise ClientDisconnected("the request was refused")
        data = self.exchange.read_piece()
        return NOT_YET if data is None else data

    cdef list bells(self):
        return self.exchange.reading_bells()


@cython.final
cdef class Done(Awaitable):
    """What there is nothing to wait for. Stateless, so that one object serves all."""


cdef Awaitable DONE = Done()


cdef int ring(list bells) except -1:
    """Wake who waits."""
    if bells:
        for future in bells:
            if not future.done():
                future.set_result(None)
        bells.clear()
    return 0


# -- a request -------------------------------------------------------------------------------


cdef class AsyncExchange(Job):
    """One request as a coroutine. What the application is, is a subclass's to know."""

    cdef object begin(self):
        """Call the application: an awaitable."""
        raise NotImplementedError

    cdef int incomplete(self) except -1:
        """The application has returned, and its answer is not over: the Next of the connection."""
        raise NotImplementedError

    # -- as a coroutine ------------------------------------------------------------------------

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.advance()

    def send(self, value):
        return self.advance()

    def throw(self, kind, value=None, traceback=None):
        cdef object error = kind if value is None else value
        if self.coroutine is None:
            self.over(error)
            raise StopIteration
        return self.resumed(self.coroutine.throw, error)

    def close(self):
        if self.coroutine is not None:
            self.coroutine.close()
            self.over(CancelledError())

    def __getattr__(self, name):
        # Task.print_stack(), debuggers and anyio ask a coroutine for its name, frame and state.
        if (name.startswith("cr_") or name == "__qualname__") and self.called is not None:
            return getattr(self.called, name)
        raise AttributeError(name)

    def frames(self):
        """Where the application is now: a frame for each coroutine that waits for the next."""
        frames = []
        found = self.called
        while getattr(found, "cr_frame", None) is not None:
            frames.append(found.cr_frame)
            found = found.cr_await
        return frames

    cdef object advance(self):
        """One step of the application."""
        cdef PyObject *found = self.step()
        if found == NULL:
            raise StopIteration
        return steal(found)

    cdef PyObject *step(self) noexcept:
        """The same for C: a new reference, or NULL at the end, and no exception either way."""
        cdef PyObject *found = NULL
        cdef int how
        try:
            if not self.begun:
                self.begun = True
                self.coroutine = as_iterator(self.begin())
                if self.called is None:
                    self.called = self.coroutine
            how = PyIter_Send(self.coroutine, None, &found)
        except BaseException as error:           # SystemExit in a request ends the request, not the worker
            self.over(error)
            return NULL
        if how == PYGEN_NEXT:
            return found
        Py_XDECREF(found)
        self.over(None)
        return NULL

    cdef object resumed(self, object step, object argument):
        """A step that goes through Python: an exception thrown in."""
        try:
            return step(argument)
        except StopIteration:
            self.over(None)
        except BaseException as error:
            self.over(error)
        raise StopIteration

    cdef int over(self, object error) except -1:
        """The application has ended."""
        self.begun = True
        self.coroutine = self.called = None
        self.driver.tasks -= 1
        self.driver.begun.discard(self)
        if not self.left:
            self.leave(self.conclude(error))
        elif error is not None and not self.lost and not isinstance(error, (CancelledError, ClientDisconnected)):
            self.context.log.error("Error after the answer to %s", self.request.target, exc_info=error)
        self.runner = None
        return self.driver.look_again()

    # -- the end of the answer -----------------------------------------------------------------

    cdef int conclude(self, object error) except -1:
        """What becomes of a connection whose application ended before its answer."""
        if error is None:
            if self.overruled or self.stream.gone:
                return CLOSE if self.told else CUT
            return self.incomplete()
        if isinstance(error, CancelledError) and (self.driver.cancelling or self.overruled):
            return CLOSE if self.told else CUT
        refused = self.context.failed(self, error)
        if self.delivered and refused is not None and not self.overruled:
            self.check_length()
            return CLOSE                         # the result's close() raised: the answer itself is whole
        return self.respond(refused)

    cdef int respond(self, object error) except -1:
        """Answer with the ProtocolError, where that is possible yet; the Next of the connection."""
        if error is None or self.response.started or self.stream.gone or not self.claim(APPLICATION):
            return CUT
        text = f"{error.status} {error.reason}\n".encode()
        self.response = Response(self.request, False)
        self.response.begin_asgi(error.status, PLAIN)
        self.stream.stirred = True               # it may still send the body that was refused: close gently
        try:
            self.put(self.response.whole(self.context.stamp(), text), None)
        except ClientDisconnected:
            return CUT
        return CLOSE

    cdef int complete(self) except -1:
        """The last octet of the answer is on its way."""
        self.check_length()
        return self.leave(self.settle())

    cdef int leave(self, int then) except -1:
        """The answer is over, in whichever way: count it, log it, give the connection back."""
        self.left = True
        self.lost = self.lost or then == CUT
        self.unblock()
        if self.driver.reading:
            self.driver.reading.pop(self, None)
        self.shut(self.environ)
        self.environ = None
        self.driver.poller.give_back(self.stream, then)
        ring(self.readers)
        ring(self.writers)
        return self.driver.look_again()

    cdef int refuse(self, object error) except -1:
        """The request turned out to be none while the application runs: say so in its place."""
        self.context.log.warning("%d to %s: %s", error.status, self.stream.name, error)
        self.lost = True
        return self.leave(self.respond(error))

    # -- writing -------------------------------------------------------------------------------

    cdef int emit(self, bytes data, bint more) except -1:
        """Send a piece of the body, behind the head where that is still to come."""
        cdef Response response = self.response
        cdef bytes head, framed
        self.hold_claim()
        if response.started:
            framed = response.frame(data)
            self.put(framed, None if more else response.end())
        else:
            if self.expecting:                   # a client that waits for a 100 may send its body or not
                self.expecting = False
                response.keep_alive = False
            if not more and PyBytes_GET_SIZE(data) <= JOIN_LIMIT:
                self.put(response.whole(self.context.stamp(), data), None)
            else:
                head = response.head(self.context.stamp(), -1 if more else PyBytes_GET_SIZE(data))
                framed = response.frame(data)
                self.put(head, framed)
                if not more:
                    response.end()               # the length is known: nothing follows
        return 0

    cdef int emit_file(self, int fd, long long at, long long count) except -1:
        """Send `count` octets of a file, or Content-Length of them, as the whole body; finished by the poller."""
        self.hold_claim()
        if self.expecting:
            self.expecting = False
            self.response.keep_alive = False
        if 0 <= self.response.length < count:
            count = self.response.length
        self.put(self.response.head(self.context.stamp(), count), None)
        count = self.response.allow(count)
        if count > 0:
            self.response.chunk_head(count)      # a length is known, so nothing goes before it
            self.stream.finish_file(fd, at, count)
        self.response.end()
        return 0

    cdef int put(self, bytes first, bytes second) except -1:
        """Send both blocks. What the client does not take now is pending, in order."""
        cdef Stream stream = self.stream
        cdef Py_ssize_t size = PyBytes_GET_SIZE(first)
        cdef Py_ssize_t more = 0 if second is None else PyBytes_GET_SIZE(second)
        cdef Py_ssize_t n
        if stream.gone:
            raise ClientDisconnected("the client is gone")
        if stream.pending is not None:
            rest = stream.pending[stream.pending_at:]
            stream.pending = b"".join((rest, first, second) if more else (rest, first))
            stream.pending_at = 0
            return 0
        if more and size:
            n = stream.try_send_two(first, second)
            if n == size + more:
                return 0
            stream.pending = first[n:] + second if n < size else second
            stream.pending_at = max(n - size, 0)
        elif size + more == 0:
            return 0
        else:
            stream.pending = first if size else second
            stream.pending_at = 0
        return 0 if stream.flush() else self.block()

    cdef int block(self) except -1:
        """Have the poller tell when the client takes more."""
        self.driver.poller.watch_stream(self.stream)
        canter_watch_room(self.driver.poller.set, self.stream.fd, <void *>self.stream, 1)
        self.room_watched = True
        self.stream.took_some()
        self.driver.writing[self] = canter_now()
        return 0

    cdef int unblock(self) except -1:
        if self.room_watched:
            self.room_watched = False
            canter_watch_room(self.driver.poller.set, self.stream.fd, <void *>self.stream, 0)
            self.driver.writing.pop(self, None)
        return 0

    cdef object room(self):
        """What `await send(...)` waits for: that the client has taken it all."""
        cdef Room room
        if self.left or self.stream.pending is None:
            return DONE
        room = Room.__new__(Room)
        room.exchange = self
        return room

    cdef int write_late(self) except -1:
        if self.stream.took_some():
            self.driver.writing[self] = canter_now()
            return 0
        self.context.log.warning("%s took nothing of its answer for %g s",
                                 self.stream.name, self.context.terms.write_ns / 1e9)
        self.stream.gone = True
        ring(self.writers)
        return ring(self.readers)

    # -- reading -------------------------------------------------------------------------------

    cdef bytes read_piece(self):
        """What is here of the body, b"" at its end; None where more must be waited for.

        A client that waits for a 100 before it sends gets it now. Raises what
        `Stream.read` does.
        """
        cdef bytes data
        if self.expecting:
            self.expecting = False
            if not self.response.started:
                self.put(interim(100, ()), None)
        data = self.stream.try_read()
        if data is None:
            self.driver.poller.watch_stream(self.stream)
            self.driver.reading.setdefault(self, canter_now())
        elif self.driver.reading:
            self.driver.reading.pop(self, None)
        return data

    cdef list reading_bells(self):
        if self.readers is None:
            self.readers = []
        return self.readers

    cdef int read_late(self) except -1:
        return self.refuse(RequestTimeout(f"the body did not move for {self.context.terms.body_ns / 1e9:g} s"))

    # -- what the poller tells -------------------------------------------------------------------

    cdef int stirred(self, unsigned what) except -1:
        cdef uint64_t before = self.stream.sent
        if what & CANTER_WRITE and self.stream.pending is not None and not self.stream.gone:
            try:
                if self.stream.flush():
                    self.unblock()
                    ring(self.writers)
                elif self.stream.sent != before:
                    self.driver.writing.pop(self, None)
                    self.driver.writing[self] = canter_now()
            except ClientDisconnected:
                pass                             # and `gone` is set
        if self.stream.gone:
            ring(self.writers)
        return ring(self.readers)


cdef object as_iterator(object awaitable):
    """What `await` would iterate over."""
    if PyCoro_CheckExact(awaitable):
        return awaitable
    find = getattr(type(awaitable), "__await__", None)
    if find is None:
        raise TypeError(f"the application returned {type(awaitable).__name__}, which can't be awaited")
    return find(awaitable)


# The end of an awaitable is mostly None, which C may say without an exception: NULL, and
# none set. Cython has no word for that, and a StopIteration with the traceback that it
# would make at each step was a tenth of the cost of a small request.
cdef PyObject *done_next(PyObject *self) noexcept:
    return NULL


cdef PyObject *exchange_next(PyObject *self) noexcept:
    return (<AsyncExchange>self).step()


(<PyTypeObject *>Done).tp_iternext = done_next
PyType_Modified(<PyTypeObject *>Done)
(<PyTypeObject *>AsyncExchange).tp_iternext = exchange_next
PyType_Modified(<PyTypeObject *>AsyncExchange)

Coroutine.register(Awaitable)
Coroutine.register(AsyncExchange)
