# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The exchange: one request on one stream, from its first octet to its last.

`serve_one` is the blocking driver. Threads, greenlets and the pool under an event
loop run this same code; they differ only in how the stream waits. What an answer
looks like on the wire is decided by `http.Response`, which the asynchronous driver
asks too; what both drivers share of a request's life (slot, counters, claim, error
to answer, access record, recycling) is `Job` and `Context`, here.

The common answer, a list of one bytes object, leaves as head and body in one send.
What the client does not take of a finished answer is left to the poller, so a slow
reader costs no thread.

**Who may answer.** The application and the watchdog of a deadline can both want to
speak. `Job.claim` decides, under the GIL, once; the loser's writes raise.

**No cycles.** An exchange never holds the environ or the application's iterable, and
the input lets go of the stream when the request is over, so everything of a request
is freed when it ends, without the collector.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.tuple cimport PyTuple_CheckExact
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from libc.time cimport time

from canter.gateway.wsgi cimport EMPTY, FileWrapper, file_part, open_input
from canter.http._http1 cimport Request
from canter.http._response cimport Response, interim, refusal
from canter.io cimport canter_now
from canter.observe.access cimport AccessLog
from canter.poller cimport CLOSE, CUT, KEEP_ALIVE, Host, Poller
from canter.stream cimport BUSY, QUEUED, SECOND, Site, Stream

import os
import socket
from email.utils import formatdate

from canter import __version__, scoreboard
from canter.errors import ClientDisconnected, ClientStalled, DeadlineExceeded, Overloaded, ProtocolError, ResponseError
from canter.gateway.wsgi import ErrorStream
from canter.http.forwarded import Proxies

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident()

cdef enum:
    JOIN_LIMIT = 131072                          # octets: a body up to here is copied behind its head
    LEAD = 4                                     # connections that a worker may hold more than a sibling
    DRAIN_LIMIT = 65536                          # octets of an unread body thrown away to keep a connection

cdef int64_t LOST_NS = 3 * SECOND                # a sibling that has not beaten for so long is not waited for
cdef int64_t LATE_NS = SECOND // 10              # a queued request whose client left is not run after this

cdef Py_ssize_t REQUESTS = scoreboard.REQUESTS
cdef Py_ssize_t ERRORS = scoreboard.ERRORS
cdef Py_ssize_t BYTES_OUT = scoreboard.BYTES_OUT
cdef Py_ssize_t BYTES_IN = scoreboard.BYTES_IN
cdef Py_ssize_t BUSY_CELL = scoreboard.BUSY
cdef Py_ssize_t QUEUED_CELL = scoreboard.QUEUED
cdef Py_ssize_t QUEUE_WAIT = scoreboard.QUEUE_WAIT
cdef Py_ssize_t OVERLOADED = scoreboard.OVERLOADED
cdef Py_ssize_t TIMEOUTS = scoreboard.TIMEOUTS
cdef Py_ssize_t UNSEEN = scoreboard.UNSEEN
cdef Py_ssize_t RECYCLE = scoreboard.RECYCLE
cdef uint64_t RECYCLE_REQUESTS = scoreboard.RECYCLE_REQUESTS
cdef Py_ssize_t BEAT = scoreboard.BEAT
cdef Py_ssize_t ACCEPTED = scoreboard.ACCEPTED
cdef Py_ssize_t CONNECTIONS = scoreboard.CONNECTIONS
cdef Py_ssize_t STATE = scoreboard.STATE
cdef Py_ssize_t CAPACITY = scoreboard.CAPACITY
cdef uint64_t SERVING = scoreboard.SERVING
cdef Py_ssize_t START = scoreboard.START
cdef Py_ssize_t THREAD = scoreboard.THREAD
cdef Py_ssize_t SEQ = scoreboard.SEQ
cdef Py_ssize_t METHOD_LENGTH = scoreboard.METHOD_LENGTH
cdef Py_ssize_t PEER_LENGTH = scoreboard.PEER_LENGTH
cdef Py_ssize_t ID_LENGTH = scoreboard.ID_LENGTH
cdef Py_ssize_t PATH_LENGTH = scoreboard.PATH_LENGTH
cdef Py_ssize_t METHOD_AT = scoreboard.METHOD
cdef Py_ssize_t METHOD_SIZE = scoreboard.METHOD_SIZE
cdef Py_ssize_t PEER_AT = scoreboard.PEER
cdef Py_ssize_t PEER_SIZE = scoreboard.PEER_SIZE
cdef Py_ssize_t ID_AT = scoreboard.ID
cdef Py_ssize_t ID_SIZE = scoreboard.ID_SIZE
cdef Py_ssize_t PATH_AT = scoreboard.PATH
cdef Py_ssize_t PATH_SIZE = scoreboard.PATH_SIZE


@cython.final
cdef class Context(Host):
    """One a worker: the application, what is granted, and what is counted.

    `deadline_of` gives the seconds (0: none) that a path may take, `runner_of` the
    greenlet or task that runs now. `row` is the worker's row on the scoreboard, or None. `access` is an AccessLog or
    None. `worker` is handed to hooks.
    """

    def __cinit__(self):
        self.slots = NULL
        self.free_slots = NULL
        self.siblings = NULL
        self.marks = NULL

    def __init__(self, object app, Poller poller, object cfg, object log, *, object worker=None,
                 object row=None, AccessLog access=None,
                 object deadline_of=None, object runner_of=None,
                 bint multithread=False, bint multiprocess=True):
        self.app = app
        self.poller = poller
        self.terms = poller.terms
        self.cfg = cfg
        self.log = log
        self.worker = worker
        self.access = access
        self.proxies = Proxies(cfg.forwarded_allow_ips, cfg.forwarder_headers, cfg.secure_scheme_headers)
        self.always_read = self.proxies.always
        self.server = "canter" if cfg.server_header else None
        self.pre_request = cfg.pre_request
        self.post_request = cfg.post_request
        self.request_ns = <int64_t>(cfg.request_timeout * 1e9)
        self.deadline_of = deadline_of
        self.runner_of = runner_of
        self.queue_ns = <int64_t>(cfg.queue_timeout * 1e9)
        self.warned = set()
        self.ring = Job.__new__(Job)
        self.ring.before = self.ring.after = self.ring
        self.bases = {}
        self.shared_base = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": ErrorStream(log),
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
            "SERVER_SOFTWARE": f"canter/{__version__}",
            "SCRIPT_NAME": cfg.script_name.rstrip("/"),
        }
        self.bind_row(row)
        poller.host = self

    def __dealloc__(self):
        free(self.siblings)
        free(self.marks)
        free(self.slots)
        free(self.free_slots)

    cdef int bind_row(self, object row) except -1:
        """Point at the worker's cells and its slots."""
        cdef uint64_t[::1] cells
        cdef uint64_t[::1] slot_cells
        cdef unsigned char[::1] text
        cdef int i
        if row is None:
            row = scoreboard.Scoreboard.create(1, 1).row(0)
        self.row = row
        cells = row.cells
        self.cells = &cells[0]
        self.slot_count = row.slots
        self.slots = <Slot *>calloc(max(self.slot_count, 1), sizeof(Slot))
        self.free_slots = <int *>calloc(max(self.slot_count, 1), sizeof(int))
        if self.slots == NULL or self.free_slots == NULL:
            raise MemoryError()
        for i in range(self.slot_count):            # the last taken is the first slot
            slot = row.slot(i)
            slot_cells = slot.cells
            text = slot.text
            self.slots[i].cells = &slot_cells[0]
            self.slots[i].text = &text[0]
            self.free_slots[self.slot_count - 1 - i] = i
        self.free_count = self.slot_count
        return 0

    def know_siblings(self, rows, Py_ssize_t capacity):
        """`rows`: the other workers' rows on the scoreboard; `capacity`: requests served at once here."""
        cdef uint64_t[::1] cells
        self.capacity = capacity
        self.sibling_rows = [row.cells for row in rows]
        self.siblings = <uint64_t **>calloc(max(len(self.sibling_rows), 1), sizeof(uint64_t *))
        self.marks = <uint64_t *>calloc(max(len(self.sibling_rows), 1), sizeof(uint64_t))
        if self.siblings == NULL or self.marks == NULL:
            raise MemoryError()
        for view in self.sibling_rows:
            cells = view
            self.siblings[self.sibling_count] = &cells[0]
            self.sibling_count += 1

    # -- what a request starts from ---------------------------------------------------------

    cdef bytes stamp(self):
        """The Server and Date fields, made once a second (RFC 9110 6.6.1, 10.2.4)."""
        cdef long now = time(NULL)
        if now != self._stamp_second:
            date = f"Date: {formatdate(now, usegmt=True)}\r\n"
            self._stamp = (f"Server: {self.server}\r\n{date}" if self.server else date).encode("latin-1")
            self._stamp_second = now                # last: formatting lets other threads run
        return self._stamp

    cdef dict base_of(self, Site site):
        cdef dict base = self.bases.get(site)
        if base is None:
            base = dict(self.shared_base, SERVER_NAME=site.name, SERVER_PORT=site.port)
            base["wsgi.url_scheme"] = site.scheme
            self.bases[site] = base
        return base

    cdef dict environ(self, Stream stream):
        """The environ of the stream's request, but for what belongs to its exchange."""
        cdef dict base = self.base_of(stream.site)
        cdef dict environ
        said = None
        if stream.request.forwarded or self.always_read:
            said = self.said_by_proxy(stream)
            if said is not None and said.script_name is not None:
                base = dict(base, SCRIPT_NAME=said.script_name)
        environ = stream.request.environ(base)
        environ["REMOTE_ADDR"] = stream.host()
        if not stream.site.local:
            environ["REMOTE_PORT"] = stream._port
        if said is not None:
            apply_forwarded(environ, said)
        return environ

    cdef object said_by_proxy(self, Stream stream):
        """What a trusted peer says of the client (a Forwarded), or None. Raises BadRequest."""
        if stream.trusted < 0:
            stream.trusted = self.proxies.trusts(stream.host())
        return self.proxies.read(stream.request.raw_headers(True)) if stream.trusted else None

    # -- the life of a job --------------------------------------------------------------------

    cdef int enter(self, Job job) except -1:
        """A request begins to be served: take a slot, say so on the scoreboard."""
        cdef Job last = self.ring.before
        job.before = last
        job.after = self.ring
        last.after = job
        self.ring.before = job
        self.running += 1
        self.cells[BUSY_CELL] = self.running
        self.cells[REQUESTS] += 1
        if job.stream.queued_at:
            self.cells[QUEUE_WAIT] += <uint64_t>max(job.started_at - job.stream.queued_at, 0)
        if self.free_count > 0:
            self.free_count -= 1
            job.slot = self.free_slots[self.free_count]
            self.describe(&self.slots[job.slot], job)
        else:
            job.slot = -1
            self.cells[UNSEEN] += 1
        return 0

    cdef int describe(self, Slot *slot, Job job) except -1:
        """Write the request into its slot; texts are guarded by SEQ, which is odd meanwhile."""
        cdef Request request = job.request
        cdef const char *head = PyBytes_AS_STRING(request.head)
        cdef bytes id
        slot.cells[SEQ] += 1
        slot.cells[METHOD_LENGTH] = put(slot.text + METHOD_AT, METHOD_SIZE, head, request.parts.at - 1)
        slot.cells[PATH_LENGTH] = put(slot.text + PATH_AT, PATH_SIZE, head + request.parts.at, request.parts.size)
        slot.cells[PEER_LENGTH] = put_text(slot.text + PEER_AT, PEER_SIZE, job.stream.host())
        id = request.field(b"x-request-id")
        slot.cells[ID_LENGTH] = 0 if id is None else put(
            slot.text + ID_AT, ID_SIZE, PyBytes_AS_STRING(id), PyBytes_GET_SIZE(id))
        slot.cells[THREAD] = job.thread
        slot.cells[SEQ] += 1
        slot.cells[START] = <uint64_t>job.started_at
        return 0

    cdef int leave(self, Job job) except -1:
        """It is over: free the slot, count, ask to be recycled when it is time."""
        if job.after is None:
            return 0
        job.before.after = job.after
        job.after.before = job.before
        job.before = job.after = None
        self.running -= 1
        self.cells[BUSY_CELL] = self.running
        if job.slot >= 0:
            self.slots[job.slot].cells[START] = 0
            self.free_slots[self.free_count] = job.slot
            self.free_count += 1
            job.slot = -1
        self.poller.ungate()
        if self.recycle_after and <long long>self.cells[REQUESTS] >= self.recycle_after:
            self.recycle_after = 0
            if self.cells[RECYCLE] == 0:
                self.cells[RECYCLE] = RECYCLE_REQUESTS
        return 0

    def overdue(self):
        """The requests whose deadline has passed, but for those that were told so already."""
        cdef int64_t now = canter_now()
        return [job for job in self.jobs()
                if (<Job>job).deadline and now >= (<Job>job).deadline and (<Job>job).claimed != WATCHDOG
                and not (<Job>job).overruled]

    def hopeless(self):
        """Whether nothing is left to do but requests whose deadline has passed.

        Other connections are left, too, where the poller goes on without these requests' thread.
        """
        cdef bint stuck = canter_now() - <int64_t>self.cells[BEAT] > LOST_NS
        if self.running == 0 or self.poller.count > self.running and not stuck:
            return False
        return all((<Job>job).overruled for job in self.jobs())

    def jobs(self):
        """The requests in flight, the oldest first."""
        cdef list found = []
        cdef Job job = self.ring.after
        while job is not self.ring:
            found.append(job)
            job = job.after
        return found

    @property
    def requests(self):
        """Requests served, the ones in flight included."""
        return self.cells[REQUESTS]

    cdef int queued(self, Py_ssize_t count) except -1:
        """Say how many complete requests wait for a thread, greenlet or task."""
        self.cells[QUEUED_CELL] = <uint64_t>count
        return 0

    # -- what goes wrong ------------------------------------------------------------------------

    cdef int refuse(self, Stream stream, object error) except -1:
        """Answer a request that the application never sees; the poller then closes."""
        cdef bytes answer = refusal(error.status, error.reason, self.stamp(), type(error).fields, stream.request)
        self.log.warning("%d to %s: %s", error.status, stream.name, error)
        self.cells[BYTES_OUT] += <uint64_t>PyBytes_GET_SIZE(answer)
        try:
            stream.try_send(PyBytes_AS_STRING(answer), PyBytes_GET_SIZE(answer))
        except ClientDisconnected:
            pass
        if self.access is not None:
            self.access.add(stream.request, stream.host(), error.status, PyBytes_GET_SIZE(answer), 0, None, None)
        return 0

    cdef int idle(self) except -1:
        if self.access is not None:
            self.access.flush()
        return 0

    def idle_now(self):
        """Write out what is buffered."""
        self.idle()

    def reopen_logs(self):
        """USR1: go on in new files."""
        self.log.reopen()
        if self.access is not None:
            self.access.reopen()

    cdef bint full(self) except -1:
        """Every slot is busy here, while a sibling has a free one: new connections are its."""
        cdef Py_ssize_t i
        if self.running < self.capacity:
            return False
        for i in range(self.sibling_count):
            if self.siblings[i][STATE] == SERVING and self.siblings[i][BUSY_CELL] < self.siblings[i][CAPACITY]:
                return True
        return False

    cdef bint ahead(self, uint64_t few) noexcept:
        cdef uint64_t accepted
        cdef bint found = False
        cdef Py_ssize_t i
        for i in range(self.sibling_count):
            accepted = self.siblings[i][ACCEPTED]
            if accepted - self.marks[i] < few and self.has_room(self.siblings[i]):
                found = True
            self.marks[i] = accepted
        return found

    cdef bint outgrown(self, Py_ssize_t count) noexcept:
        cdef Py_ssize_t i
        if count <= LEAD:
            return False
        for i in range(self.sibling_count):
            if count > <Py_ssize_t>self.siblings[i][CONNECTIONS] + LEAD and self.has_room(self.siblings[i]):
                return True
        return False

    cdef bint has_room(self, uint64_t *sibling) noexcept:
        """Is it well, and could it serve a request now?"""
        return (sibling[STATE] == SERVING and sibling[BUSY_CELL] < sibling[CAPACITY]
                and canter_now() - <int64_t>sibling[BEAT] < LOST_NS)

    cdef bint has_siblings(self) noexcept:
        return self.sibling_count > 0

    cdef int64_t patience(self) noexcept:
        return self.queue_ns

    cdef bint too_late(self, Stream stream) except -1:
        """Is a request that waited in the queue not worth running any more?

        Its client left meanwhile (a half-close counts only after a wait), or it waited
        longer than `--queue-timeout` and gets a 503 at once.
        """
        cdef int64_t waited = canter_now() - stream.queued_at
        if waited > LATE_NS and stream.peer_left():
            self.log.info("499 %s: its client left while it was queued for %.3f s",
                          stream.request.request_line, waited / 1e9)
            if self.access is not None:
                self.access.add(stream.request, stream.host(), 499, 0, waited, None, None)
            stream.gone = True
            return True
        if self.queue_ns and waited > self.queue_ns:
            self.cells[OVERLOADED] += 1
            self.refuse(stream, Overloaded(f"the request waited {waited / 1e9:.3f} s in the queue"))
            return True
        return False

    cdef object failed(self, Job job, object error):
        """What an exception out of the application means: the ProtocolError to answer with, or None.

        None: nothing can or need be said; the connection is cut.
        """
        if isinstance(error, ClientStalled):
            self.log.warning("%s %s", job.stream.name, error)
            return None
        if isinstance(error, ClientDisconnected) or job.stream.gone:
            self.log.debug("%s: the client left: %s", job.request.request_line, error)
            return None
        if isinstance(error, ProtocolError):
            self.log.warning("%d to %s: %s", error.status, job.stream.name, error)
            return error
        self.cells[ERRORS] += 1
        if isinstance(error, ResponseError):
            self.log.error("The answer to %s is not valid: %s", job.request.request_line, error)
        else:
            self.log.error("Error handling request %s", job.request.target, exc_info=error)
        return INTERNAL

    cdef int call_post_request(self, Job job, object environ) except -1:
        """Gunicorn's hook: post_request(worker, request, environ, response)."""
        try:
            self.post_request(self.worker, job.request, environ, HookResponse(job.response, job.headers))
        except (Exception, SystemExit):
            self.log.exception("Exception in the post_request hook")
        return 0

    cdef int warn_dropped(self, Response response) except -1:
        """One warning for each hop-by-hop field that the application sets."""
        for name in response.dropped:
            if name not in self.warned:
                self.warned.add(name)
                self.log.warning("The application sets %s, which is the server's to say (PEP 3333): dropped", name)
        return 0


cdef int apply_forwarded(dict environ, object said) except -1:
    """Let a trusted proxy's word stand in the environ."""
    environ.update(said.fields)
    if said.scheme is not None:
        environ["wsgi.url_scheme"] = said.scheme
    if said.client is not None:
        environ["REMOTE_ADDR"] = said.client[0]
        environ["REMOTE_PORT"] = str(said.client[1] or "")
    return 0


class HookResponse:
    """An answer as Gunicorn's post_request hooks know it. `status` is None where none was sent."""

    def __init__(self, Response response, headers):
        self.status = response.status_line
        self.status_code = response.status
        self.headers = headers or []
        self.response_length = response.length if response.length >= 0 else None
        self.sent = response.sent


class InternalServerError(ProtocolError):
    status = 500
    reason = "Internal Server Error"


cdef object INTERNAL = InternalServerError()


cdef uint64_t put(unsigned char *to, Py_ssize_t room, const char *text, Py_ssize_t size) noexcept:
    """Copy what fits; how many octets that were."""
    if size > room:
        size = room
    memcpy(to, text, <size_t>size)
    return <uint64_t>size


cdef uint64_t put_text(unsigned char *to, Py_ssize_t room, str text) except? 0:
    cdef bytes octets = text.encode("utf-8")
    return put(to, room, PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets))


cdef class Job(Owner):
    """One request in flight. `runner` is what a deadline may interrupt: a greenlet or a task."""

    cdef int open(self, Context context, Stream stream) except -1:
        self.context = context
        self.stream = stream
        self.request = stream.request
        self.claimed = NOBODY
        self.thread = PyThread_get_thread_ident()
        self.started_at = canter_now()
        self.deadline = 0
        if context.request_ns or context.deadline_of is not None:
            self.set_deadline()
        self.response = Response(
            self.request, self.request.keep_alive and not context.stopping and context.terms.keepalive_ns > 0)
        context.enter(self)
        return 0

    cdef int set_deadline(self) except -1:
        cdef int64_t span = self.context.request_ns
        if self.context.deadline_of is not None:
            span = <int64_t>(self.context.deadline_of(self.request.path) * 1e9)
        if span:
            self.deadline = self.started_at + span
            if self.context.runner_of is not None:
                self.runner = self.context.runner_of()
        return 0

    cdef int shut(self, object environ) except -1:
        """Count and log the request that is over now."""
        cdef Context context = self.context
        cdef int64_t took
        cdef int status = self.response.status if self.response.started else 0
        context.cells[BYTES_OUT] += <uint64_t>max(self.response.sent, 0)
        context.leave(self)
        if context.post_request is not None:
            context.call_post_request(self, environ)
        if self.response.dropped is not None:
            context.warn_dropped(self.response)
        if context.access is not None:
            took = canter_now() - self.started_at
            peer = self.stream.host() if environ is None else (<dict>environ).get("REMOTE_ADDR")
            context.access.add(self.request, peer, status or 499, self.response.sent, took, environ, self.headers)
        return 0

    cdef bint claim(self, Claim who) noexcept:
        """Ask to be the one who answers; False when somebody else is."""
        if self.claimed == NOBODY:
            self.claimed = who
        return self.claimed == who

    cdef int hold_claim(self) except -1:
        """The application is about to write: it must be the one who may."""
        if self.after is None:
            raise ClientDisconnected("the request is over: its connection belongs to others")
        if self.overruled or not self.claim(APPLICATION):
            raise ClientDisconnected("the request's deadline has passed and the client was told")
        return 0

    def overrule(self):
        """A deadline passed: speak in the application's place. True: the client got a 504.

        False: part of an answer was sent; the connection is cut. Either way the
        application's writes raise from now on. None: the request has ended meanwhile.
        """
        cdef bint mine
        cdef bytes answer
        if self.after is None:
            return None
        mine = self.claim(WATCHDOG)
        self.overruled = True
        self.context.cells[TIMEOUTS] += 1
        if mine:
            answer = refusal(DeadlineExceeded.status, DeadlineExceeded.reason, self.context.stamp(), (),
                             self.request)
            try:
                self.stream.try_send(PyBytes_AS_STRING(answer), PyBytes_GET_SIZE(answer))
            except ClientDisconnected:
                mine = False
        self.told = mine
        self.stream.gone = self.stream.gone or not mine
        self.stream.stirred = True                  # what the client still sends must not destroy the 504
        self.stream.shut()
        return mine

    # -- the answer, whichever driver sends it --------------------------------------------------

    cdef int begin_wsgi(self, object status, object headers, object exc_info) except -1:
        """What start_response does (PEP 3333), but for what it returns."""
        if exc_info is not None:
            try:
                if self.response.started:
                    raise exc_info[1].with_traceback(exc_info[2])
                self.response.reset()
            finally:
                exc_info = None                     # as the PEP asks: no cycle through the traceback
        elif self.response.begun:
            raise AssertionError("start_response is called a second time without exc_info")
        self.response.begin_wsgi(status, headers)
        self.keep_headers(headers)
        return 0

    cdef int keep_headers(self, object headers) except -1:
        """The access log and hooks may want the application's fields. Since the request began we may be stopping."""
        if (
            self.context.access is not None and self.context.access.needs_headers
            or self.context.post_request is not None
        ):
            self.headers = list(headers)
        if self.context.stopping:
            self.response.keep_alive = False
        return 0

    cdef int must_have_begun(self) except -1:
        if not self.response.begun:
            raise ResponseError("the application gave a body without calling start_response")
        return 0

    cdef int check_length(self) except -1:
        """Say so when the body did not match the application's Content-Length."""
        if self.response.overrun or self.response.underrun:
            self.response.keep_alive = False
            self.context.log.error(
                "The answer to %s has %s octets than its Content-Length of %d",
                self.request.request_line, "more" if self.response.overrun else "fewer", self.response.length)
        return 0

    cdef int settle(self) except -1:
        """What becomes of the connection after an answer that went well."""
        if self.overruled:
            return CLOSE if self.told else CUT
        if not self.response.keep_alive:
            return CLOSE
        if not self.stream.http.body_done and not self.drained():
            return CLOSE
        return KEEP_ALIVE

    cdef bint drained(self) except -1:
        """Throw away what is left of the request's body, if it is little and already here."""
        cdef Py_ssize_t left = DRAIN_LIMIT
        cdef bytes data
        try:
            while left > 0:
                data = self.stream.http.next_body()
                if data is None:
                    if self.stream.try_recv() < 0:
                        return False
                elif PyBytes_GET_SIZE(data) == 0:
                    return True
                else:
                    left -= PyBytes_GET_SIZE(data)
        except (ProtocolError, ClientDisconnected):
            pass
        return False


@cython.final
cdef class Exchange(Job):
    """A request of a WSGI application, served by blocking calls."""

    # -- what the application calls -----------------------------------------------------------

    def start_response(self, status, headers, exc_info=None):
        """PEP 3333's start_response."""
        self.begin_wsgi(status, headers, exc_info)
        return self.write

    def write(self, data):
        """PEP 3333's write(): sent when it returns."""
        if data or not PyBytes_CheckExact(data):
            self.emit(data, -1)

    def early_hints(self, headers):
        """`wsgi.early_hints`: send `103 Early Hints` with [(name, value)]; nothing to an HTTP/1.0 client."""
        if self.request.minor >= 1 and not self.response.started:
            self.hold_claim()
            self.stream.send(interim(103, headers))

    def client_disconnected(self):
        """`canter.client_disconnected`: has the client left? A half-close counts too."""
        return self.after is None or self.overruled or self.stream.peer_left() > 0

    # -- the driver ------------------------------------------------------------------------------

    cdef object run(self, dict environ):
        """Call the application and deliver what it returns."""
        cdef object result = self.context.app(environ, self.start_response)
        try:
            self.deliver(result)
            self.delivered = True
        finally:
            close = getattr(result, "close", None) if not PyList_CheckExact(result) else None
            if close is not None:
                close()

    cdef int deliver(self, object result) except -1:
        if PyList_CheckExact(result) and not self.response.started:
            if PyList_GET_SIZE(result) == 1:
                data = <object>PyList_GET_ITEM(result, 0)
                if PyBytes_CheckExact(data):
                    return self.deliver_whole(<bytes>data)
            else:
                joined = join(result)
                if joined is not None:
                    return self.deliver_whole(<bytes>joined)
        elif PyTuple_CheckExact(result) and not self.response.started:
            joined = join(list(result))
            if joined is not None:
                return self.deliver_whole(<bytes>joined)
        if type(result) is FileWrapper:
            (<FileWrapper>result).left = self.response.length
            if not self.response.bodyless:
                return self.deliver_file(result)
        return self.deliver_each(result)

    cdef int deliver_whole(self, bytes data) except -1:
        """The body is here: one send, and what does not fit is the poller's."""
        cdef Response response = self.response
        cdef bytes head, framed
        self.must_have_begun()
        self.hold_claim()
        self.check_expecting()
        if PyBytes_GET_SIZE(data) <= JOIN_LIMIT:
            self.stream.finish(response.whole(self.context.stamp(), data), None)
            return self.check_length()
        head = response.head(self.context.stamp(), PyBytes_GET_SIZE(data))
        framed = response.frame(data)
        response.end()
        self.stream.finish(head, framed if PyBytes_GET_SIZE(framed) else None)
        return self.check_length()

    cdef int deliver_each(self, object result) except -1:
        """Send each piece before the next is asked for (PEP 3333)."""
        cdef long long known = -1
        cdef bint single = False
        if not self.response.started and hasattr(result, "__len__"):
            single = len(result) == 1
        for data in result:
            if PyBytes_CheckExact(data) and PyBytes_GET_SIZE(<bytes>data) == 0:
                continue
            if single and PyBytes_CheckExact(data):
                return self.deliver_whole(<bytes>data)
            self.emit(data, known)
            if self.response.bodyless or self.response.overrun:
                break
        return self.end()

    cdef int emit(self, object data, long long known) except -1:
        """Send one piece, behind the head where that is still to come."""
        cdef bytes octets, head
        if not PyBytes_CheckExact(data):
            octets = as_octets(data)
        else:
            octets = <bytes>data
        if self.response.started:
            self.hold_claim()
            octets = self.response.frame(octets)
            if PyBytes_GET_SIZE(octets):
                self.stream.send(octets)
            return 0
        self.must_have_begun()
        self.hold_claim()
        self.check_expecting()
        head = self.response.head(self.context.stamp(), known)
        octets = self.response.frame(octets)
        if PyBytes_GET_SIZE(octets):
            return self.stream.send_two(head, octets)
        return self.stream.send(head)

    cdef int end(self) except -1:
        """Nothing more comes: the end of the body, or the head of an empty one."""
        cdef bytes tail
        if not self.response.started:
            return self.deliver_whole(b"")
        tail = self.response.end()
        if PyBytes_GET_SIZE(tail):
            self.hold_claim()
            self.stream.finish(tail, None)
        return self.check_length()

    cdef int deliver_file(self, object wrapper) except -1:
        """A file wrapper around a regular file: sendfile(2), finished by the poller."""
        cdef long long at, count
        cdef tuple part = file_part(wrapper)
        if part is None or self.response.started:
            return self.deliver_each(wrapper)
        fd, at, count = part
        self.must_have_begun()
        self.hold_claim()
        self.check_expecting()
        if 0 <= self.response.length < count:
            count = self.response.length                # PEP 3333: to the end of the file, or so far
        self.stream.send(self.response.head(self.context.stamp(), count))
        if count > 0:
            if self.handed is not None:
                os.set_blocking(self.stream.fd, False)  # sendfile(2) has no flag for it
            self.response.chunk_head(count)             # a length is known, so nothing goes before it
            self.stream.finish_file(fd, at, count)
        self.response.end()
        return self.check_length()

    cdef int check_expecting(self) except -1:
        """A final answer to a client that still waits for its 100 closes the connection.

        No 100 may follow it; the application can still read what the client sends regardless.
        """
        if self.body.expecting:
            self.response.keep_alive = False
            self.body.expecting = False
        return 0

    cdef int hand_over(self, dict environ) except -1:
        """Give a request that wants to change protocols the socket itself (Flask-Sock and the like)."""
        self.context.poller.ignore(self.stream)
        self.handed = socket.socket(fileno=os.dup(self.stream.fd))
        self.handed.setblocking(True)
        environ["canter.socket"] = environ["gunicorn.socket"] = self.handed
        return 0

    cdef int take_back(self) except -1:
        """The request is over: nobody but the server uses the socket from here on, and it never blocks."""
        self.handed.close()
        os.set_blocking(self.stream.fd, False)
        return 0

    cdef int recover(self, object error) except -1:
        """Answer for an application that raised; the Next of the connection."""
        cdef object refused
        if self.handed is not None and isinstance(error, StopIteration):
            return CLOSE                            # Gunicorn's way to say: I had the socket and am done
        refused = self.context.failed(self, error)
        if self.overruled:
            return CLOSE if self.told else CUT
        if refused is None:
            return CUT
        if isinstance(error, ProtocolError):
            self.stream.stirred = True              # it still sends the body that was refused: close gently
        if self.delivered:
            return CLOSE                            # the iterable's close() raised: the answer itself is whole
        if self.response.started or not self.claim(APPLICATION):
            return CUT
        try:
            self.answer(refused)
        except ClientDisconnected:
            return CUT
        return CLOSE

    cdef int answer(self, object error) except -1:
        self.response = Response(self.request, False)
        self.response.begin_wsgi(f"{error.status} {error.reason}", PLAIN)
        self.stream.finish(self.response.whole(
            self.context.stamp(), f"{error.status} {error.reason}\n".encode()), None)
        return 0


cdef list PLAIN = [("Content-Type", "text/plain; charset=utf-8")]


cdef object join(list parts):
    """A list of several pieces is all there already: one body. None where a piece is no bytes."""
    for part in parts:
        if not PyBytes_CheckExact(part):
            return None
    return b"".join(parts)


cdef bytes as_octets(object data):
    """The bytes of a piece; ResponseError where it is none."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if isinstance(data, str):
        raise ResponseError("a piece of the body is a str; bytes are wanted: write text.encode('utf-8')")
    raise ResponseError(f"a piece of the body is of type {type(data).__name__}; bytes are wanted")


cpdef int serve_one(Stream stream, Context context) except -1:
    """Serve the request that `stream` holds: the Next of its connection. Never raises for a request's sake."""
    cdef Exchange exchange
    cdef dict environ
    cdef int then
    if stream.state != QUEUED:
        raise RuntimeError("serve() is for a connection that accept() gave, and for each of them once")
    if context.too_late(stream):
        return CUT if stream.gone else CLOSE
    stream.state = BUSY
    exchange = Exchange.__new__(Exchange)
    environ = None
    try:
        exchange.open(context, stream)
        exchange.body = open_input(stream)
        environ = context.environ(stream)
        environ["wsgi.input"] = exchange.body
        environ["wsgi.early_hints"] = exchange.early_hints
        environ["canter.client_disconnected"] = exchange.client_disconnected
        if "HTTP_UPGRADE" in environ:
            exchange.hand_over(environ)
        if context.pre_request is not None:
            context.pre_request(context.worker, exchange.request)
        exchange.run(environ)
        then = exchange.settle()
    except BaseException as error:                  # SystemExit in a request ends the request, not the worker
        if isinstance(error, SystemExit) and getattr(context.worker, "leaving", False):
            raise                                   # but for that of the worker's own handlers of signals
        try:
            then = exchange.recover(error)
        except Exception:
            context.log.exception("a failed request could not be answered")
            then = CUT
    if exchange.handed is not None:
        exchange.take_back()
    if exchange.body is not None and exchange.body is not EMPTY:
        exchange.body.detach()
    try:
        exchange.shut(environ)
    except Exception:                               # the log or a hook: the connection is sound
        context.log.exception("a request could not be recorded")
    return then


def serve_all(Context context, double pulse):
    """Serve one request after the other in this thread until the poller is finished; signals are heard in between."""
    cdef Poller poller = context.poller
    cdef Stream stream
    while not poller.finished:
        for stream in poller.poll(pulse):
            poller.give_back(stream, serve_one(stream, context))
        PyErr_CheckSignals()
