cimport cython
from libc.stdint cimport int64_t, uint64_t

from canter.stream cimport Node, Site, State, Stream, Terms

cdef enum Next:
    KEEP_ALIVE
    CLOSE
    CUT                                          # close so that the client sees that the answer is not whole
    DETACHED                                     # somebody else has the connection now


cdef class Host:
    cdef int refuse(self, Stream stream, object error) except -1
    cdef int idle(self) except -1
    cdef bint full(self) except -1
    cdef bint ahead(self, uint64_t few) noexcept
    cdef bint outgrown(self, Py_ssize_t count) noexcept
    cdef bint has_siblings(self) noexcept
    cdef int64_t patience(self) noexcept


@cython.final
cdef class Watch:
    cdef readonly int fd
    cdef readonly object callback


@cython.final
cdef class Poller:
    cdef readonly Terms terms
    cdef readonly list sites                     # the listeners, as Sites
    cdef readonly list watches
    cdef Host host
    cdef readonly Py_ssize_t limit               # connections held at most
    cdef readonly Py_ssize_t count               # connections now, detached ones not counted
    cdef readonly Py_ssize_t batch               # connections accepted in one turn
    cdef int set
    cdef int wake_read
    cdef readonly int wake_write
    cdef Node[8] lists                           # one a State
    cdef readonly list ready                     # complete requests that the next `poll` hands out
    cdef list graveyard
    cdef bint listening, emptying
    cdef public bint wakes                       # a stream that gets ready outside of poll wakes it
    cdef bint waits                              # poll is called with a time to wait
    cdef bint polling                            # somebody is in poll
    cdef bint inside                             # within poll
    cdef public bint peek                        # look without waiting first: others want the GIL
    cdef tuple asked_stop
    cdef int run                                 # connections accepted since a sibling went first
    cdef bint crowded                            # not listening because there is no place for one more
    cdef bint gated                              # not listening because a sibling should
    cdef int64_t resume_at                       # accept again then; 0: not paused
    cdef int64_t pause_ns
    cdef int64_t stopped_at                      # when stopping began; 0: not yet
    cdef int64_t stop_at                         # everything must be over then; 0: not stopping
    cdef readonly int64_t now
    cdef uint64_t *beat
    cdef uint64_t *connections
    cdef uint64_t *accepted
    cdef object row                              # keeps the cells alive
    cdef object log

    cpdef list poll(self, double timeout)
    cdef int turn(self, double timeout) except -1
    cdef list take(self)
    cpdef int give_back(self, Stream stream, int then) except -1
    cdef int dispatch(self, int timeout_ms) except -1
    cdef int accept_some(self, object site) except -1
    cdef int adopt(self, Stream stream) except -1
    cdef int receive(self, Stream stream) except -1
    cdef int advance(self, Stream stream, Py_ssize_t n=*) except -1
    cdef int queue(self, Stream stream) except -1
    cdef int refuse(self, Stream stream, object error) except -1
    cdef int settle(self, Stream stream) except -1
    cdef int park(self, Stream stream) except -1
    cdef int let_go(self, Stream stream) except -1
    cdef int ignore(self, Stream stream) except -1
    cdef int forget(self, Stream stream) except -1
    cdef int bind_row(self, object row) except -1
    cdef int listen(self) except -1
    cdef int unlisten(self) except -1
    cdef int pause(self, int64_t span) except -1
    cdef int resume(self) except -1
    cdef int ungate(self) except -1
    cdef int step_back(self, Site site) except -1
    cdef int accept_failed(self, int code) except -1
    cdef bint holds_back(self, Stream stream) noexcept
    cdef int part(self, Stream stream) except -1
    cdef int write_out(self, Stream stream) except -1
    cdef int linger(self, Stream stream) except -1
    cdef int discard(self, Stream stream) except -1
    cdef int drop(self, Stream stream, bint hard) except -1
    cdef int act(self, object owner, unsigned what) except -1
    cdef int on_event(self, Stream stream, unsigned what) except -1
    cdef int watch_stream(self, Stream stream) except -1
    cdef int expire(self) except -1
    cdef int timed_out(self, Stream stream, State state) except -1
    cdef int64_t time_of(self, State state) noexcept
    cdef int64_t waits_since(self, Stream stream) noexcept
    cdef int64_t next_deadline(self) noexcept
    cdef void *least(self) noexcept
    cdef void *least_wanted(self) noexcept
    cdef bint can_evict(self) noexcept
    cdef int64_t time_to_evict(self) noexcept
    cdef bint evict(self) except -1
    cdef bint evict_unwanted(self, Stream stream) except -1
    cdef void place(self, Stream stream, State state) noexcept
    cdef void touch(self, Stream stream) noexcept
