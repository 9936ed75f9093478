# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""A stream: one client's socket, with the `http.Connection` that reads it.

The only door to a socket. Every system call is non-blocking and keeps the GIL: it
is shorter than a hand-over of it. Where a call would block, the stream *waits*
through its `Waiter`: a thread blocks in poll(2) without the GIL, a greenlet leaves
it to its hub. That is all in which the worker classes differ here, so a request
runs through the same code on each.

Two sides use a stream, never at once: the poller (`core/poller.pyx`) while it waits
for a request or flushes a finished answer, and one exchange while the request is
served. `state` says whose it is. Only the poller's notes `stirred`, `fin` and
`gone` are written while an exchange runs; each is one store under the GIL.

Deadlines are about progress, never about totals: `body_timeout` without an octet
of the body, `write_timeout` without an octet taken by the client; on top of that
`body_min_rate` octets a second over windows of ten seconds.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t

from canter.io cimport (
    AF_INET,
    AF_INET6,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    SHUT_WR,
    canter_now,
    canter_peer_left,
    canter_send_two,
    canter_sendfile,
    canter_untaken,
    canter_wait_one,
    close,
    dup,
    inet_ntop,
    ntohs,
    recv,
    send as send_octets,
    shutdown,
    sockaddr_in,
)

from canter.errors import ClientDisconnected, ClientStalled, RequestTimeout


cdef extern from "Python.h":
    PyObject *new_octets "PyBytes_FromStringAndSize"(const char *octets, Py_ssize_t size) except NULL
    char *octets_of "PyBytes_AS_STRING"(PyObject *octets)
    int _PyBytes_Resize(PyObject **octets, Py_ssize_t size) except -1

SECOND = 1_000_000_000
cdef enum:
    DIRECT = 1048576                     # octets: one direct read of a large body, at most
    SCRATCH = 65536                      # octets: one read of anything else
    RATE_WINDOW = 10                     # seconds
    FILE_SHARE = 4194304                 # octets of a file sent in one turn, at most

# One buffer for all reads of this process: filled and emptied without letting go of the GIL.
cdef char[SCRATCH] scratch


cdef class Waiter:
    """How a stream waits. This one blocks its thread; hub workers hand in their own.

    `wait` returns True when `fd` can be read (or written), False when `seconds` are
    over. It may return True too early, never too late.
    """

    cpdef bint wait(self, int fd, bint write, double seconds) except -1:
        cdef int64_t limit = canter_now() + <int64_t>(seconds * 1e9)
        cdef int64_t left
        cdef int n, ms
        while True:
            left = limit - canter_now()
            ms = 0 if left <= 0 else <int>min(left // 1_000_000 + 1, 60_000)
            with nogil:
                n = canter_wait_one(fd, write, ms)
            if n > 0:
                return True
            if n < 0:
                if errno != EINTR:
                    return True                     # the next system call names the error
                PyErr_CheckSignals()
            elif left <= 0:
                return False


@cython.final
cdef class Terms:
    """What one worker grants its clients: limits, and times in seconds."""

    def __init__(self, Limits limits, *, double header_timeout=30, double keepalive=2,
                 double body_timeout=30, double write_timeout=30, long long body_min_rate=0,
                 Py_ssize_t body_buffer=65536, Py_ssize_t body_budget=64 << 20, Waiter waiter=None):
        self.limits = limits
        self.header_ns = <int64_t>(header_timeout * 1e9)
        self.keepalive_ns = <int64_t>(keepalive * 1e9)
        self.body_ns = <int64_t>(body_timeout * 1e9)
        self.write_ns = <int64_t>(write_timeout * 1e9)
        self.body_min_rate = body_min_rate
        self.body_buffer = body_buffer
        self.body_budget = body_budget
        self.waiter = waiter if waiter is not None else Waiter()


@cython.final
cdef class Site:
    """A listener as its connections see it: name and port for SERVER_NAME and SERVER_PORT."""

    def __init__(self, object sock):
        self.sock = sock
        self.fd = sock.fileno()
        self.address = sock.getsockname()
        self.scheme = "http"
        if isinstance(self.address, tuple):
            self.name = self.address[0]
            self.port = str(self.address[1])
        else:
            self.local = True
            self.name = self.address if isinstance(self.address, str) else self.address.decode("utf-8", "replace")
            self.port = ""


cdef class Owner:
    cdef int stirred(self, unsigned what) except -1:
        return 0


@cython.final
cdef class Stream:
    """One connection. Made by the poller when it accepts."""

    def __cinit__(self):
        self.fd = -1
        self.file_fd = -1
        self.trusted = -1
        self.state = BUSY
        self.node.owner = <void *>self

    def __dealloc__(self):
        if self.file_fd >= 0:
            close(self.file_fd)
        if self.fd >= 0:
            close(self.fd)

    def fileno(self):
        return self.fd

    @property
    def waiting(self):
        """It holds a complete request, and nobody has begun to serve it."""
        return self.state == QUEUED

    # -- who is there ---------------------------------------------------------------

    cdef str host(self):
        """The peer's address as text; "" on a unix socket."""
        cdef char[64] text
        cdef int family = (<sockaddr_in *>&self.peer_raw).sin_family if not self.site.local else 0
        if self._host is None:
            if family == AF_INET:
                inet_ntop(AF_INET, &(<sockaddr_in *>&self.peer_raw).sin_addr, text, 64)
                self._host = text.decode("ascii")
                self._port = str(ntohs((<sockaddr_in *>&self.peer_raw).sin_port))
            elif family == AF_INET6:
                inet_ntop(AF_INET6, &self.peer_raw.sin6_addr, text, 64)
                self._host = text.decode("ascii")
                self._port = str(ntohs(self.peer_raw.sin6_port))
            else:
                self._host = ""
                self._port = ""
        return self._host

    cdef str port(self):
        self.host()
        return self._port

    @property
    def peer(self):
        """(address, port), or "" on a unix socket."""
        if self._peer is None:
            self._peer = (self.host(), int(self.port())) if self.host() else ""
        return self._peer

    @property
    def name(self):
        """The peer for a log line."""
        return f"{self.host()}:{self.port()}" if self.host() else "unix"

    # -- reading --------------------------------------------------------------------

    cdef Py_ssize_t try_recv(self) except -2:
        """Feed what is there: octets fed, 0 at the end of input, -1 when there is nothing yet.

        A broken connection reads as its end, with `gone` set.
        """
        cdef Py_ssize_t n
        while True:
            n = recv(self.fd, scratch, SCRATCH, MSG_DONTWAIT)
            if n >= 0:
                self.http.feed_raw(scratch, n)
                return n
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                return -1
            self.gone = True
            self.http.feed_raw(scratch, 0)
            return 0

    cpdef bytes read(self, Py_ssize_t want=SCRATCH):
        """The next octets of the request's body, b"" at its end; waits for them.

        `want` is a hint: how many octets the caller would like in one piece. A large
        declared body is received straight into the object that is returned.
        Raises RequestTimeout when the body stops moving, ClientDisconnected when the
        peer leaves inside it, and the parser's ProtocolErrors.
        """
        cdef bytes data
        cdef Py_ssize_t n
        while True:
            data = self.http.next_body()
            if data is not None:
                return data
            n = self.http.direct()
            if n >= SCRATCH // 4:
                return self.read_direct(min(n, max(want, SCRATCH), DIRECT))
            self.read_some()

    cdef int read_some(self) except -1:
        """Feed what comes next, waiting for it."""
        cdef Py_ssize_t n = self.try_recv()
        if n > 0:
            self.body_moved(n)
        elif n < 0:
            self.wait_for_body()
        return 0

    cdef bytes read_direct(self, Py_ssize_t size):
        """Receive up to `size` octets of the body past the parser's buffer, waiting for all of them.

        Fewer are returned only where the peer leaves: the next read tells.
        """
        cdef PyObject *octets = new_octets(NULL, size)
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t n
        try:
            while at < size:
                n = recv(self.fd, octets_of(octets) + at, size - at, MSG_DONTWAIT)
                if n > 0:
                    at += n
                    self.http.received(n)
                    self.body_moved(n)
                elif n < 0 and errno == EINTR:
                    continue
                elif n < 0 and errno == EAGAIN:
                    self.wait_for_body()
                elif at > 0:
                    break
                else:
                    self.gone = self.gone or n < 0
                    self.http.feed_raw(scratch, 0)
                    self.http.next_body()               # raises ClientDisconnected
            if at < size:
                _PyBytes_Resize(&octets, at)
            return <bytes>octets
        finally:
            Py_XDECREF(octets)

    cdef bytes try_read(self):
        """Like `read`, for a driver that waits elsewhere: None where the next octets are not here yet."""
        cdef bytes data
        cdef Py_ssize_t n
        while True:
            data = self.http.next_body()
            if data is not None:
                return data
            n = self.http.direct()
            if n == 0:
                n = self.try_recv()
                if n < 0:
                    self.body_waits()
                    return None
                self.body_moved(n)
                continue
            n = recv(self.fd, scratch, <size_t>min(n, SCRATCH), MSG_DONTWAIT)
            if n > 0:
                self.http.received(n)
                self.body_moved(n)
                return PyBytes_FromStringAndSize(scratch, n)
            if n < 0 and errno == EAGAIN:
                self.body_waits()
                return None
            if n == 0 or errno != EINTR:
                self.gone = self.gone or n < 0
                self.http.feed_raw(scratch, 0)          # next_body raises ClientDisconnected

    cdef bytes try_take(self):
        """Octets as they come, of a protocol that is not HTTP: b"" at the end of input, None: nothing is here yet."""
        cdef Py_ssize_t n
        while True:
            n = recv(self.fd, scratch, SCRATCH, MSG_DONTWAIT)
            if n >= 0:
                return PyBytes_FromStringAndSize(scratch, n)
            if errno == EAGAIN:
                return None
            if errno != EINTR:
                self.gone = True
                return b""

    cdef int wait_for_body(self) except -1:
        self.body_waits()
        if not self.waits_for(False, self.terms.body_ns):
            raise RequestTimeout(f"the body did not move for {self.terms.body_ns / 1e9:g} s")
        return 0

    cdef void body_begins(self) noexcept:
        """A request with a body: `body_min_rate` counts anew."""
        self.rate_since = self.rate_waited = 0
        self.rate_got = 0

    cdef void body_waits(self) noexcept:
        """From now on it is the client that is waited for."""
        if self.terms.body_min_rate:
            self.rate_since = canter_now()

    cdef int body_moved(self, Py_ssize_t n) except -1:
        """Hold the client to `body_min_rate`, in windows of ten seconds in which it was waited for."""
        if self.terms.body_min_rate == 0:
            return 0
        self.rate_got += n
        if self.rate_since:
            self.rate_waited += canter_now() - self.rate_since
            self.rate_since = 0
        if self.rate_waited < RATE_WINDOW * SECOND:
            return 0
        if self.rate_got < self.terms.body_min_rate * (self.rate_waited // SECOND):
            raise RequestTimeout(f"the body came slower than {self.terms.body_min_rate} octets a second")
        self.body_begins()
        return 0

    # -- writing --------------------------------------------------------------------

    cdef Py_ssize_t try_send(self, const char *data, Py_ssize_t size) except -2:
        """Octets taken, -1 when the send buffer is full; ClientDisconnected when the peer is gone."""
        cdef Py_ssize_t n
        while True:
            n = send_octets(self.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            if n >= 0:
                self.sent += n
                return n
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                return -1
            self.gone = True
            raise ClientDisconnected("the client is gone")

    cpdef int send(self, bytes data) except -1:
        """Send all of `data`; waits while the client does not take it."""
        return self.send_from(data, 0)

    cdef int send_from(self, bytes data, Py_ssize_t at) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t n
        while at < size:
            if self.gone:
                raise ClientDisconnected("the client is gone")
            n = self.try_send(PyBytes_AS_STRING(data) + at, size - at)
            if n >= 0:
                at += n
            else:
                self.wait_for_room()
        return 0

    cdef int wait_for_room(self) except -1:
        self.took_some()
        while not self.waits_for(True, self.terms.write_ns):
            if not self.took_some():
                self.gone = True
                raise ClientStalled(f"took nothing of its answer for {self.terms.write_ns / 1e9:g} s")
        return 0

    cdef bint took_some(self) noexcept:
        """Has the client taken anything since this was last asked?

        A slow one empties a large send buffer so slowly that there is no room for long.
        """
        cdef int64_t taken = <int64_t>self.sent - canter_untaken(self.fd)
        cdef bint more = taken > self.taken
        self.taken = taken
        return more

    cpdef int send_two(self, bytes first, bytes second) except -1:
        """Send both blocks, with one system call where the client keeps up."""
        cdef Py_ssize_t n = self.try_send_two(first, second)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(first)
        if n < size:
            self.send_from(first, n)
            n = size
        return self.send_from(second, n - size)

    cdef Py_ssize_t try_send_two(self, bytes first, bytes second) except -2:
        cdef Py_ssize_t n
        if self.gone:
            raise ClientDisconnected("the client is gone")
        n = canter_send_two(self.fd, PyBytes_AS_STRING(first), PyBytes_GET_SIZE(first),
                            PyBytes_AS_STRING(second), PyBytes_GET_SIZE(second))
        if n < 0:
            return 0                                # whatever it was, send_from meets it again
        self.sent += n
        return n

    cdef int finish(self, bytes first, bytes second) except -1:
        """Send the last of an answer. What the client does not take at once is left to the poller."""
        cdef Py_ssize_t n
        cdef Py_ssize_t size = PyBytes_GET_SIZE(first)
        if second is None:
            n = max(self.try_send(PyBytes_AS_STRING(first), size), 0)
            if n < size:
                self.pending = first
                self.pending_at = n
            return 0
        n = self.try_send_two(first, second)
        if n < size:
            self.send_from(first, n)                # a head: small, so this hardly ever waits
            n = size
        if n - size < PyBytes_GET_SIZE(second):
            self.pending = second
            self.pending_at = n - size
        return 0

    cdef int finish_file(self, int fd, int64_t at, int64_t count) except -1:
        """The last of an answer is `count` octets of a file: the poller sends them from here on."""
        self.file_fd = dup(fd)
        if self.file_fd < 0:
            raise OSError(errno, "dup")
        self.file_at = at
        self.file_left = count
        self.flush()
        return 0

    cdef int flush(self) except -1:
        """Send what is pending without waiting: DONE, BLOCKED, or YIELDED after a fair share of a file."""
        cdef Py_ssize_t n
        cdef Py_ssize_t size
        cdef Py_ssize_t share = FILE_SHARE
        while self.pending is not None:
            size = PyBytes_GET_SIZE(self.pending)
            n = self.try_send(PyBytes_AS_STRING(self.pending) + self.pending_at, size - self.pending_at)
            if n < 0:
                return BLOCKED
            self.pending_at += n
            if self.pending_at >= size:
                self.pending = None
        while self.file_left > 0:
            if share <= 0:
                return YIELDED
            n = canter_sendfile(self.fd, self.file_fd, self.file_at, <size_t>min(self.file_left, 1 << 20))
            if n < 0 and errno == EINTR:
                continue
            if n < 0 and errno == EAGAIN:
                return BLOCKED
            if n <= 0:                              # the client left, or the file was cut: both end it
                self.gone = True
                raise ClientDisconnected("the client is gone, or the file was cut short")
            self.sent += n
            self.file_at += n
            self.file_left -= n
            share -= n
        if self.file_fd >= 0:
            close(self.file_fd)
            self.file_fd = -1
        return DONE

    @property
    def unsent(self):
        """Octets of a finished answer that the client has not taken yet."""
        cdef Py_ssize_t n = 0 if self.pending is None else PyBytes_GET_SIZE(self.pending) - self.pending_at
        return n + self.file_left

    # -- waiting and leaving ----------------------------------------------------------

    cdef bint waits_for(self, bint write, int64_t limit) except -1:
        """Wait through the worker's Waiter; False when the limit (0: none) is over."""
        return self.terms.waiter.wait(self.fd, write, limit / 1e9 if limit > 0 else 1e9)

    cpdef int peer_left(self):
        """2: the connection is reset, 1: the peer finished sending, 0: neither is known."""
        if self.gone:
            return 2
        return max(canter_peer_left(self.fd), <int>self.fin)

    cdef int shut(self) except -1:
        """Say that nothing more is sent."""
        shutdown(self.fd, SHUT_WR)
        return 0
