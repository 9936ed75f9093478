# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The poller: every connection of one worker that is not being served right now.

It accepts, reads heads and small declared bodies, keeps connections alive, enforces
the time-outs of all that, flushes what a slow client has not taken of a finished
answer, and closes without losing the last octets (lingering close). A connection
whose request is complete comes out of `poll`; whoever serves it gives it back.
Whichever worker class runs, this is the only place that does these things: a
thread blocks in `poll`, an event loop watches `fileno()` and polls with no wait.

**Watching.** A stream is added to the set once, edge-triggered, when it must first
be waited for; parking it again costs no system call. An event for a stream that is
being served is noted (`stirred`), and `give_back` looks before it parks. A
connection that is accepted, read, answered and closed at once is never added.

**Deadlines.** A stream is in the list of its state. All streams of a list share one
time-out, so the list is in order of time and only its front is ever looked at.

**Who may call.** One thread polls at a time; any thread may `give_back`. All state is
changed while the GIL is held and without running Python code in between, which
makes each change atomic. Refusals and log lines, which do run Python code, come last
in their function.

**Lifetime.** The set holds a bare pointer to each watched stream, and the poller one
reference to each stream it counts. A stream that is closed goes to the graveyard
and is let go before the next wait, so no event of the same batch meets a dead one.

**Capacity errors** (EMFILE, ENFILE, ENOBUFS, ENOMEM: the process or the system is out
of descriptors or memory): accept fails and the listener stays ready, so asking again
at once would spin. The connection that loses least is closed (`least`), and accepting
pauses: 0.1 s, doubling up to 1 s.
"""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport (
    EAGAIN,
    ECONNABORTED,
    EEXIST,
    EINTR,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    errno,
)
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport strerror
from posix.unistd cimport read, write

from canter.http._http1 cimport Connection
from canter.io cimport (
    CANTER_BATCH,
    CANTER_FIN,
    CANTER_READ,
    CANTER_RESET,
    CANTER_WRITE,
    MSG_DONTWAIT,
    SHUT_RDWR,
    canter_accept,
    canter_close_hard,
    canter_event,
    canter_now,
    canter_poll_new,
    canter_silent_ms,
    canter_unwatch,
    canter_wait,
    canter_watch_level,
    canter_watch_room,
    canter_watch_stream,
    close,
    recv,
    shutdown,
    sockaddr,
    sockaddr_in6,
    socklen_t,
)
from canter.stream cimport (
    BODY,
    BUSY,
    CLOSED,
    DONE,
    HEAD,
    IDLE,
    LINGER,
    QUEUED,
    SECOND,
    STATES,
    WRITING,
    YIELDED,
    Node,
    Owner,
    Site,
    State,
    Stream,
    Terms,
)

import os
from functools import partial

from canter.errors import ClientDisconnected, ProtocolError, RequestTimeout

cdef enum:
    SCRATCH = 65536
    RUN = 8                                    # connections a worker accepts before it lets a sibling go first

cdef int64_t LINGER_NS = 2 * SECOND            # as Apache's lingering close
cdef int64_t STOP_IDLE_NS = 2 * SECOND         # a stopping worker keeps idle connections no longer
cdef int64_t GATE_NS = SECOND // 50             # a full worker looks again after this
cdef int64_t YIELD_NS = SECOND // 1000          # a worker that is ahead of its siblings lets them accept
cdef int64_t SETTLED_NS = SECOND               # a connection that has been silent so long may go for a new one
cdef int64_t PAUSE_MIN_NS = SECOND // 10
cdef int64_t PAUSE_MAX_NS = SECOND

cdef char[SCRATCH] waste                       # what a lingering close throws away


cdef bint forked = False                        # this process has children that may have its sockets


def _note_fork(bint child):
    global forked
    forked = not child


os.register_at_fork(after_in_parent=partial(_note_fork, False), after_in_child=partial(_note_fork, True))


cdef class Host:
    """What the poller asks of the room above it (the exchange's `Context`)."""

    cdef int refuse(self, Stream stream, object error) except -1:
        """Answer a request that never reaches the application."""
        return 0

    cdef int idle(self) except -1:
        """Nothing is ready, the poller is about to wait: the moment for what can wait, too."""
        return 0

    cdef bint full(self) except -1:
        """Should a sibling take new connections instead?"""
        return False

    cdef bint ahead(self, uint64_t few) noexcept:
        """Has a sibling that has free slots accepted fewer than `few` connections since this was last asked?"""
        return False

    cdef bint outgrown(self, Py_ssize_t count) noexcept:
        """Does a sibling that has free slots hold many fewer connections than `count`?"""
        return False

    cdef bint has_siblings(self) noexcept:
        """Do other workers accept from the same listeners?"""
        return False

    cdef int64_t patience(self) noexcept:
        """How long, in ns, a request may wait before it is served; 0: for ever."""
        return 0


@cython.final
cdef class Watch:
    """A descriptor of the worker's own (such as the pipe to the master) and who to call."""

    def __init__(self, int fd, object callback):
        self.fd = fd
        self.callback = callback


@cython.final
cdef class Poller:
    """All waiting connections of one worker. `limit`: connections held at most; `batch`: accepted in one turn."""

    def __cinit__(self):
        cdef int state
        self.set = -1
        self.wake_read = -1
        self.wake_write = -1
        for state in range(<int>STATES):
            self.lists[state].before = &self.lists[state]
            self.lists[state].after = &self.lists[state]

    def __init__(self, Terms terms, list listeners, object log, *, Host host=None,
                 Py_ssize_t limit=1000, Py_ssize_t batch=8, object row=None):
        self.terms = terms
        self.log = log
        self.host = host if host is not None else Host()
        self.limit = max(limit, 1)
        self.batch = max(batch, 1)
        self.ready = []
        self.graveyard = []
        self.watches = []
        self.sites = [Site(sock) for sock in listeners]
        self.now = canter_now()
        self.wakes = True
        self.set = canter_poll_new()
        if self.set < 0:
            raise OSError(errno, strerror(errno).decode())
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        os.set_blocking(self.wake_write, False)
        self.watch(self.wake_read, self.woken)
        self.bind_row(row)
        self.listen()

    def __dealloc__(self):
        if self.set >= 0:
            close(self.set)
        if self.wake_read >= 0:
            close(self.wake_read)
        if self.wake_write >= 0:
            close(self.wake_write)

    def fileno(self):
        """The descriptor an event loop watches for reading; then `poll(0)`."""
        return self.set

    cdef int bind_row(self, object row) except -1:
        """Point at this worker's cells on the scoreboard, or at cells of our own."""
        from canter import scoreboard

        cdef uint64_t[::1] cells
        if row is None:
            row = memoryview(bytearray(8 * scoreboard.WORKER_CELLS)).cast("Q")
        self.row = row
        cells = row
        self.beat = &cells[<Py_ssize_t>scoreboard.BEAT]
        self.connections = &cells[<Py_ssize_t>scoreboard.CONNECTIONS]
        self.accepted = &cells[<Py_ssize_t>scoreboard.ACCEPTED]
        return 0

    # -- the worker's side --------------------------------------------------------------

    cpdef list poll(self, double timeout):
        """Streams whose next request is complete, waiting up to `timeout` seconds for the first.

        A poll within a poll (a log handler that lets another greenlet run, say) only takes what is
        ready: it must not free the streams that the outer one's events point to.
        """
        if self.polling:
            return self.take()
        self.polling = self.inside = True
        try:
            self.turn(timeout)
        finally:
            self.polling = self.inside = False
        return self.take()

    cdef int turn(self, double timeout) except -1:
        cdef int64_t limit
        self.waits = timeout > 0
        if self.asked_stop is not None and not self.stop_at:
            self.stop(*self.asked_stop)
            if self.count == 0:
                timeout = 0
        if self.peek or self.ready or timeout <= 0:
            self.dispatch(0)
        if not self.ready and timeout > 0:
            self.host.idle()
            self.now = canter_now()
            limit = min(<int64_t>(timeout * 1e9), max(self.next_deadline() - self.now, 0))
            self.inside = False                     # a stream that gets ready meanwhile must wake us
            self.dispatch(<int>min((limit + 999_999) // 1_000_000, 60_000))
        return self.expire()

    cdef list take(self):
        """The streams that are ready now."""
        cdef list ready = self.ready
        self.ready = []
        return ready

    cpdef int give_back(self, Stream stream, int then) except -1:
        """Take back a stream that was served; `then` is what the exchange said."""
        self.now = canter_now()
        if stream.state != BUSY and stream.state != QUEUED:
            return 0                                # it was dropped meanwhile
        # An old client may send CRLF behind a body, whatever it said.
        stream.last = stream.request is not None and not stream.request.keep_alive and not stream.request.has_body
        stream.request = None
        stream.owner = None
        if then == DETACHED:
            return self.let_go(stream)
        if then == CUT or stream.gone:
            return self.drop(stream, True)
        stream.after = then
        if stream.pending is not None or stream.file_fd >= 0:
            return self.write_out(stream)
        return self.settle(stream)

    cdef int settle(self, Stream stream) except -1:
        """The answer is out: close, or wait for the next request."""
        if stream.after == CLOSE:
            return self.part(stream)
        return self.park(stream)

    cdef int park(self, Stream stream) except -1:
        self.place(stream, HEAD if stream.http.started else IDLE)
        if stream.http.buffered() > 0 or stream.http.eof:
            self.advance(stream)
        if stream.state == QUEUED or stream.state == CLOSED or stream.state == LINGER:
            return 0
        if stream.stirred:
            return self.receive(stream)
        return self.watch_stream(stream)

    cdef int part(self, Stream stream) except -1:
        """Close. Where the client may still be sending, a plain close could destroy the answer."""
        if not (stream.watched or stream.stirred or stream.http.eof or stream.last) and stream.try_recv() > 0:
            stream.stirred = True                   # nobody would have told
        if stream.http.body_done and not stream.stirred and stream.http.buffered() == 0:
            return self.drop(stream, False)
        return self.linger(stream)

    cdef int let_go(self, Stream stream) except -1:
        """Forget a stream without closing it."""
        self.ignore(stream)
        return self.forget(stream)

    cdef int ignore(self, Stream stream) except -1:
        """Watch a stream no longer while it is served: somebody else reads its socket. Then look what came."""
        if stream.watched:
            canter_unwatch(self.set, stream.fd)
            stream.watched = False
        stream.stirred = True
        return 0

    def watch(self, int fd, object callback):
        """Call `callback()` from `poll` whenever `fd` can be read. It must read, or `unwatch`."""
        cdef Watch watch = Watch(fd, callback)
        self.watches.append(watch)
        if canter_watch_level(self.set, fd, <void *>watch, 0) < 0:
            raise OSError(errno, strerror(errno).decode())

    def unwatch(self, int fd):
        """Undo `watch`."""
        canter_unwatch(self.set, fd)
        self.graveyard.extend(watch for watch in self.watches if (<Watch>watch).fd == fd)
        self.watches = [watch for watch in self.watches if (<Watch>watch).fd != fd]

    def wake(self):
        """Make a `poll` that waits return. Safe from any thread and from a signal handler."""
        write(self.wake_write, b"\0", 1)            # where the pipe is full, it is awake already

    def woken(self):
        read(self.wake_read, waste, SCRATCH)

    def ask_stop(self, double grace, bint empty_backlog):
        """Have the next `poll` call `stop`. For signal handlers, which may come in the middle of anything."""
        if self.asked_stop is None or grace < self.asked_stop[0]:
            self.asked_stop = (grace, empty_backlog)
            if self.stop_at:
                self.stop(grace, False)
        self.wake()

    # -- stopping -------------------------------------------------------------------------

    def stop(self, double grace, bint empty_backlog):
        """Accept no more and let what is here end, within `grace` seconds.

        With `empty_backlog` (the whole server stops, nobody else will accept) what
        waits in the accept queue is taken first.
        """
        if self.stop_at:
            self.stop_at = min(self.stop_at, canter_now() + <int64_t>(grace * 1e9))
            return
        self.now = canter_now()
        self.stop_at = self.now + <int64_t>(grace * 1e9)
        self.stopped_at = self.now
        if empty_backlog:
            for site in self.sites:
                self.emptying = True                # until the queue of this one says EAGAIN
                self.accept_some(site)
            self.emptying = False
        self.unlisten()
        for site in self.sites:
            (<Site>site).sock.close()
        self.sites = []

    @property
    def stopping(self):
        return self.stop_at != 0

    @property
    def left(self):
        """Seconds until a poller that is asked to stop stops whatever still runs; 0 when they are over."""
        return max(self.stop_at - canter_now(), 0) / 1e9

    @property
    def finished(self):
        """Stopped, and nothing is left to do or no time left to do it."""
        return self.stop_at != 0 and (self.count == 0 or canter_now() >= self.stop_at)

    # -- listening --------------------------------------------------------------------------

    cdef int listen(self) except -1:
        cdef Site site
        for site in self.sites:
            if canter_watch_level(self.set, site.fd, <void *>site, 1) < 0 and errno != EEXIST:
                raise OSError(errno, strerror(errno).decode())
        self.listening = True
        return 0

    cdef int unlisten(self) except -1:
        cdef Site site
        self.resume_at = 0
        if self.listening:
            for site in self.sites:
                canter_unwatch(self.set, site.fd)
        self.listening = False
        return 0

    cdef int pause(self, int64_t span) except -1:
        """Accept nothing for `span` ns."""
        self.unlisten()
        self.resume_at = self.now + span
        return 0

    cdef int resume(self) except -1:
        self.resume_at = 0
        self.gated = self.crowded = False
        if not self.listening and not self.stop_at:
            self.listen()
        return 0

    cdef int ungate(self) except -1:
        """There is room again in a worker that was full."""
        if self.gated:
            self.resume()
        return 0

    cdef int accept_some(self, object listener) except -1:
        cdef Site site = listener
        cdef Stream stream
        cdef socklen_t size
        cdef Py_ssize_t left = self.batch
        if self.waits and not self.emptying and self.host.outgrown(self.count):
            return self.pause(YIELD_NS)
        while left > 0 or self.emptying:
            if not self.emptying and self.host.full():
                self.gated = True
                return self.pause(GATE_NS)
            if not self.emptying and self.count >= self.limit and not self.can_evict():
                self.pause(self.time_to_evict())
                self.crowded = True
                return 0
            stream = Stream.__new__(Stream)
            size = sizeof(sockaddr_in6)
            stream.fd = canter_accept(site.fd, <sockaddr *>&stream.peer_raw, &size)
            if stream.fd < 0:
                if errno == EINTR or errno == ECONNABORTED:
                    continue
                return self.accept_failed(errno)
            left -= 1
            self.pause_ns = 0
            if not self.emptying and self.count >= self.limit:
                self.evict()
            stream.site = site
            self.adopt(stream)
            self.run += 1
        if self.run >= RUN and self.listening and not self.emptying and self.host.has_siblings():
            self.step_back(site)
        return 0

    cdef int step_back(self, Site site) except -1:
        """Let a sibling be the first to be woken: the kernel always wakes whoever watched first.

        One that took less than half as much meanwhile, though it has nothing to do, hardly
        gets to run: it is given a moment in which nobody else accepts.
        """
        self.run = 0
        if self.waits and self.host.ahead(RUN // 2):
            return self.pause(YIELD_NS)
        canter_unwatch(self.set, site.fd)
        if canter_watch_level(self.set, site.fd, <void *>site, 1) < 0:
            raise OSError(errno, strerror(errno).decode())
        return 0

    cdef int accept_failed(self, int code) except -1:
        cdef object text = strerror(code).decode()
        if code == EAGAIN:
            self.emptying = False
            return 0
        self.emptying = False
        self.evict()
        first = self.pause_ns == 0
        self.pause_ns = min(max(self.pause_ns * 2, PAUSE_MIN_NS), PAUSE_MAX_NS)
        self.pause(self.pause_ns)
        if code not in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
            self.log.error("accept failed: %s; trying again in %g s", text, self.pause_ns / 1e9)
        elif first:
            self.log.warning(
                "accept failed: %s; pausing. Raise the limit (ulimit -n) or lower --worker-connections", text)
        return 0

    cdef int adopt(self, Stream stream) except -1:
        """A new connection. Most clients have sent their request by now, so look at once."""
        stream.terms = self.terms
        stream.http = Connection(self.terms.limits)
        Py_INCREF(stream)
        self.count += 1
        self.connections[0] = self.count
        self.accepted[0] += 1
        self.place(stream, HEAD)
        self.receive(stream)
        if stream.state == QUEUED and self.host.patience():
            # It waited in the accept queue, too: since its last octet came in.
            stream.queued_at -= canter_silent_ms(stream.fd) * 1_000_000
        return 0

    cdef void *least(self) noexcept:
        """The Stream that loses least when it is closed. NULL: none such.

        An idle one, else one without a whole request, else one whose answer is finished and
        whose client takes nothing of it.
        Not one that came, or was answered, or sent something a moment ago: its request
        may be on its way. Newcomers that cost such a one its place would lose it theirs.
        """
        cdef void *found
        cdef int state
        for state in (IDLE, HEAD, BODY):
            found = self.lists[state].after.owner
            if found != NULL and self.now - (<Stream>found).since >= SETTLED_NS:
                return found
        return self.least_wanted()

    cdef void *least_wanted(self) noexcept:
        """The Stream whose client has taken nothing of its finished answer for the longest time. NULL: none such."""
        cdef Node *head = &self.lists[<int>WRITING]
        cdef Stream stream
        while head.after.owner != NULL and self.now - (<Stream>head.after.owner).since >= SETTLED_NS:
            stream = <Stream>head.after.owner
            if not stream.took_some():
                return head.after.owner
            self.touch(stream)
        return NULL

    cdef bint can_evict(self) noexcept:
        return self.least() != NULL

    cdef int64_t time_to_evict(self) noexcept:
        """Nanoseconds until some connection may be closed for a newcomer; until this is looked at again."""
        cdef int64_t soonest = SETTLED_NS
        cdef void *found
        cdef int state
        for state in (IDLE, HEAD, BODY, WRITING):
            found = self.lists[state].after.owner
            if found != NULL:
                soonest = min(soonest, max(1, (<Stream>found).since + SETTLED_NS - self.now))
        return soonest

    cdef bint evict(self) except -1:
        """Close the connection that loses least. False: none may be closed."""
        cdef void *found = self.least()
        cdef Stream stream
        while found != NULL:
            stream = <Stream>found
            if stream.state == WRITING:
                return self.evict_unwanted(stream)
            if stream.state == IDLE:
                self.receive(stream)                # its next request may be here already
                if stream.state != IDLE and stream.state != CLOSED:
                    found = self.least()
                    continue
            self.drop(stream, False)
            return True
        return False

    cdef bint evict_unwanted(self, Stream stream) except -1:
        """Cut an answer that is not taken."""
        name, unsent = stream.name, stream.unsent
        self.drop(stream, True)
        self.log.warning("%s takes nothing of its answer and gives way to a new connection; "
                         "%d octets are lost to it", name, unsent)
        return True

    # -- reading ------------------------------------------------------------------------------

    cdef int dispatch(self, int timeout_ms) except -1:
        """Fetch one batch of events and act on each."""
        cdef canter_event[CANTER_BATCH] events
        cdef int n, i
        cdef object owner
        self.graveyard.clear()
        if timeout_ms == 0:
            n = canter_wait(self.set, events, 0)
        else:
            with nogil:
                n = canter_wait(self.set, events, timeout_ms)
        if n < 0 and errno != EINTR:
            raise OSError(errno, strerror(errno).decode())
        self.inside = True
        self.now = canter_now()
        self.beat[0] = <uint64_t>self.now
        for i in range(n):                          # n < 0 (a signal came): nothing
            owner = <object>events[i].owner
            try:
                self.act(owner, events[i].what)
            except Exception:                       # an edge is told once: the rest of the batch must not be lost
                self.log.exception("an event of a connection failed")
                if type(owner) is Stream and (<Stream>owner).state != BUSY:
                    self.drop(<Stream>owner, True)
        return 0

    cdef int act(self, object owner, unsigned what) except -1:
        if type(owner) is Stream:
            self.on_event(<Stream>owner, what)
        elif type(owner) is Site:
            if self.listening:
                self.accept_some(owner)
        elif owner in self.watches:
            (<Watch>owner).callback()
        return 0

    cdef int on_event(self, Stream stream, unsigned what) except -1:
        cdef State state = stream.state
        cdef Owner owner
        if state == CLOSED:
            return 0
        if what & CANTER_FIN:
            stream.fin = True
        if what & CANTER_RESET and state != LINGER:
            stream.gone = True
        if state == HEAD or state == IDLE or state == BODY:
            return self.receive(stream)
        if state == WRITING:
            stream.stirred = stream.stirred or what & (CANTER_READ | CANTER_FIN) != 0
            if stream.gone:
                return self.drop(stream, True)
            return self.write_out(stream) if what & CANTER_WRITE else 0
        if state == LINGER:
            return self.discard(stream)
        stream.stirred = True
        owner = stream.owner                        # a reference: it may let go of the stream, and of itself
        if owner is not None:
            owner.stirred(what)
        return 0

    cdef int receive(self, Stream stream) except -1:
        """Read what is there, until a request is complete or nothing more comes."""
        cdef Py_ssize_t n
        while stream.state == HEAD or stream.state == IDLE or stream.state == BODY:
            stream.stirred = False
            n = stream.try_recv()
            if n < 0:
                return self.watch_stream(stream)
            if n > 0 and stream.state == BODY:
                self.touch(stream)
            self.advance(stream, n)
            if stream.state == QUEUED:
                stream.stirred = n == SCRATCH or stream.fin
                return 0
            if n == 0 and stream.state != LINGER:
                return self.drop(stream, stream.gone)
            if n < SCRATCH and not stream.fin:      # a short read: the socket is empty
                return self.watch_stream(stream)
        return 0

    cdef int advance(self, Stream stream, Py_ssize_t n=0) except -1:
        """See whether what is buffered, `n` octets of it new, makes a request that can be served."""
        try:
            if stream.state == BODY:
                stream.body_moved(n)
            else:
                stream.request = stream.http.next_request()
                if stream.request is None:
                    if stream.state == IDLE and stream.http.started:
                        self.place(stream, HEAD)
                    return 0
                if stream.request.has_body:
                    stream.body_begins()
                if self.holds_back(stream):
                    stream.held = stream.request.content_length
                    self.terms.buffered += stream.held
                    self.place(stream, BODY)
        except ProtocolError as error:
            return self.refuse(stream, error)
        if stream.state == BODY and stream.http.buffered() < stream.request.content_length:
            stream.body_waits()
            return 0
        return self.queue(stream)

    cdef bint holds_back(self, Stream stream) noexcept:
        """A small declared body is received before the request is served, while the budget allows."""
        cdef long long size = stream.request.content_length
        return (
            size > stream.http.buffered()
            and size <= self.terms.body_buffer
            and not stream.request.expect_continue
            and not stream.http.eof
            and self.terms.buffered + size <= self.terms.body_budget
        )

    cdef int queue(self, Stream stream) except -1:
        self.place(stream, QUEUED)
        stream.queued_at = self.now
        self.ready.append(stream)
        if self.wakes and not self.inside:          # found by give_back, while somebody may be waiting
            self.wake()
        return 0

    cdef int refuse(self, Stream stream, object error) except -1:
        """Answer a request that can't be served, and read nothing more of it."""
        self.place(stream, BUSY)                    # nobody else touches it meanwhile
        self.host.refuse(stream, error)
        if stream.gone:
            return self.drop(stream, True)
        return self.linger(stream)

    # -- writing and closing ----------------------------------------------------------------------

    cdef int write_out(self, Stream stream) except -1:
        """Go on sending a finished answer to a client that reads slowly."""
        cdef uint64_t before = stream.sent
        cdef int done
        try:
            done = stream.flush()
        except ClientDisconnected:
            return self.drop(stream, True)
        if done == DONE:
            if stream.state == WRITING:
                canter_watch_room(self.set, stream.fd, <void *>stream, 0)
                self.place(stream, BUSY)
            return self.settle(stream)
        if stream.state == WRITING and stream.sent != before:
            self.touch(stream)
        elif stream.state != WRITING:
            self.place(stream, WRITING)
            stream.took_some()
            self.watch_stream(stream)
            done = YIELDED
        if done == YIELDED and stream.fd >= 0:      # asking again tells at once of room that is there already
            canter_watch_room(self.set, stream.fd, <void *>stream, 1)
        return 0

    cdef int linger(self, Stream stream) except -1:
        """Say that we are done, then read until the peer is done too, within bounds."""
        stream.shut()
        self.place(stream, LINGER)
        self.watch_stream(stream)
        return self.discard(stream)

    cdef int discard(self, Stream stream) except -1:
        cdef Py_ssize_t n
        while True:
            n = recv(stream.fd, waste, SCRATCH, MSG_DONTWAIT)
            if n > 0:
                stream.wasted += n
                if stream.wasted > 16 * SCRATCH:    # who sends on regardless need not be waited for
                    return self.drop(stream, False)
            elif n < 0 and errno == EINTR:
                continue
            elif n < 0 and errno == EAGAIN:
                return 0
            else:
                return self.drop(stream, False)

    cdef int drop(self, Stream stream, bint hard) except -1:
        """Close the socket; `hard`: so that the client sees a reset.

        Closing alone ends neither the watching nor the connection where somebody else has
        the socket, too: a child that the application forked. The set's pointer must not
        outlive the stream, and the client must see the end.
        """
        if stream.fd >= 0:
            if stream.watched:
                canter_unwatch(self.set, stream.fd)
            if forked:
                shutdown(stream.fd, SHUT_RDWR)
            if hard:
                canter_close_hard(stream.fd)
            else:
                close(stream.fd)
            stream.fd = -1
            stream.watched = False
        stream.gone = True
        return self.forget(stream)

    cdef int forget(self, Stream stream) except -1:
        if stream.state == CLOSED:
            return 0
        self.place(stream, CLOSED)
        self.count -= 1
        self.connections[0] = self.count
        self.graveyard.append(stream)
        Py_DECREF(stream)
        if self.count == 0 and self.stop_at and not self.inside:
            self.wake()                             # that was the last
        if self.crowded:
            self.resume()
        return 0

    # -- watching and time --------------------------------------------------------------------------

    cdef int watch_stream(self, Stream stream) except -1:
        """Add the stream to the set, once. What came before gives an event too."""
        cdef Owner owner
        if stream.watched or stream.fd < 0:
            return 0
        if canter_watch_stream(self.set, stream.fd, <void *>stream) < 0:
            self.log.error("can't watch a connection: %s", strerror(errno).decode())
            if stream.state != BUSY:
                return self.drop(stream, True)
            stream.gone = True                      # whoever serves it gives it back
            owner = stream.owner
            return 0 if owner is None else owner.stirred(CANTER_RESET)
        stream.watched = True
        return 0

    cdef void place(self, Stream stream, State state) noexcept:
        """Move the stream to the end of another state's list (BUSY, QUEUED, CLOSED: to none)."""
        cdef Node *node = &stream.node
        cdef Node *head = &self.lists[<int>state]
        if node.after != NULL:
            node.before.after = node.after
            node.after.before = node.before
            node.before = NULL
            node.after = NULL
        if stream.state == BODY:
            self.terms.buffered -= stream.held
            stream.held = 0
        stream.state = state
        stream.since = self.now
        if state != BUSY and state != QUEUED and state != CLOSED:
            node.before = head.before
            node.after = head
            head.before.after = node
            head.before = node

    cdef void touch(self, Stream stream) noexcept:
        """Progress: the time-out of this state begins again."""
        cdef Py_ssize_t held = stream.held
        self.place(stream, stream.state)
        if held:
            stream.held = held
            self.terms.buffered += held

    cdef int64_t time_of(self, State state) noexcept:
        """The time-out of a state in ns; 0: none."""
        if state == HEAD:
            return stricter(self.terms.header_ns, STOP_IDLE_NS) if self.stop_at else self.terms.header_ns
        if state == IDLE:
            return min(self.terms.keepalive_ns, STOP_IDLE_NS) if self.stop_at else self.terms.keepalive_ns
        if state == BODY:
            return self.terms.body_ns
        if state == WRITING:
            return self.terms.write_ns
        return LINGER_NS

    cdef int64_t waits_since(self, Stream stream) noexcept:
        """From when its time-out counts: a connection that was idle when the stop began gets as long as others."""
        if stream.state == IDLE or stream.state == HEAD:
            return max(stream.since, self.stopped_at)
        return stream.since

    cdef int64_t next_deadline(self) noexcept:
        cdef int64_t soonest = self.now + 60 * SECOND
        cdef int64_t span
        cdef int state
        for state in range(<int>HEAD, <int>CLOSED):
            if self.lists[state].after.owner != NULL:
                span = self.time_of(<State>state)
                if span or state == IDLE:
                    soonest = min(soonest, self.waits_since(<Stream>self.lists[state].after.owner) + span)
        if self.resume_at:
            soonest = min(soonest, self.resume_at)
        if self.stop_at:
            soonest = min(soonest, self.stop_at)
        return soonest

    cdef int expire(self) except -1:
        """End what has waited too long."""
        cdef Node *node
        cdef int64_t span
        cdef int state
        for state in range(<int>HEAD, <int>CLOSED):
            span = self.time_of(<State>state)
            if span == 0 and state != IDLE:
                continue
            node = self.lists[state].after
            while node.owner != NULL and self.now - self.waits_since(<Stream>node.owner) >= span:
                self.timed_out(<Stream>node.owner, <State>state)
                node = self.lists[state].after
        if self.resume_at and self.now >= self.resume_at:
            self.resume()
        return 0

    cdef int timed_out(self, Stream stream, State state) except -1:
        if state == IDLE:
            self.receive(stream)                    # look once more
            return self.drop(stream, False) if stream.state == IDLE else 0
        if state == HEAD and not stream.http.started:
            return self.drop(stream, False)
        if state == HEAD:
            return self.refuse(stream, RequestTimeout(
                f"the head did not arrive within {self.time_of(HEAD) / 1e9:g} s"))
        if state == BODY:
            return self.refuse(stream, RequestTimeout(
                f"the body did not move for {self.terms.body_ns / 1e9:g} s"))
        if state == WRITING:
            if stream.took_some():
                self.touch(stream)
                return 0
            self.log.warning("%s took nothing of its answer for %g s; %d octets are lost to it",
                             stream.name, self.terms.write_ns / 1e9, stream.unsent)
            return self.drop(stream, True)
        return self.drop(stream, False)

    # -- for people and tests ----------------------------------------------------------------------------

    def counts(self):
        """How many connections wait in each state."""
        cdef dict found = {}
        cdef Node *node
        cdef int state
        for state, name in ((<int>HEAD, "head"), (<int>IDLE, "idle"), (<int>BODY, "body"),
                            (<int>WRITING, "writing"), (<int>LINGER, "linger")):
            found[name] = 0
            node = self.lists[state].after
            while node.owner != NULL:
                found[name] += 1
                node = node.after
        return found


cdef int64_t stricter(int64_t one, int64_t other) noexcept:
    """The shorter of two time-outs, where 0 means none."""
    return min(one, other) if one else other
