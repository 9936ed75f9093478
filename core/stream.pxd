cimport cython
from libc.stdint cimport int64_t, uint64_t

from canter.http._http1 cimport Connection, Limits, Request
from canter.io cimport sockaddr_in6

cdef int64_t SECOND

cdef class Waiter:
    cpdef bint wait(self, int fd, bint write, double seconds) except -1


@cython.final
cdef class Terms:
    cdef readonly Limits limits
    cdef public int64_t header_ns, keepalive_ns, body_ns, write_ns   # 0: no limit (keepalive: no keep-alive)
    cdef public long long body_min_rate                              # octets a second, 0: off
    cdef public Py_ssize_t body_buffer, body_budget
    cdef public Waiter waiter
    cdef public Py_ssize_t buffered                                # octets of bodies the poller holds


@cython.final
cdef class Site:
    """What all connections of one listener share."""
    cdef readonly int fd
    cdef readonly object sock
    cdef readonly str name, port, scheme
    cdef readonly bint local                     # a unix socket
    cdef readonly object address


cdef struct Node:                                # a place in one of the poller's lists
    Node *before
    Node *after
    void *owner                                  # the Stream; NULL in the head of a list


cdef enum Flushed:
    BLOCKED                                      # the client takes no more now
    DONE                                         # all of it is out
    YIELDED                                      # more could go, but others want their turn


cdef enum State:
    BUSY                                         # with a worker; in no list
    QUEUED                                       # complete request, waits for its worker; in no list
    HEAD                                         # a head is awaited: header time-out
    IDLE                                         # kept, nothing of the next request is here: keep-alive
    BODY                                         # a small declared body is awaited: body time-out
    WRITING                                      # an answer is finished but for the client's reading
    LINGER                                       # closed for sending; what still comes is thrown away
    CLOSED
    STATES                                       # how many


cdef class Owner:
    """Who wants to hear of events while a stream is BUSY."""
    cdef int stirred(self, unsigned what) except -1


@cython.final
cdef class Stream:
    cdef readonly int fd
    cdef readonly Connection http
    cdef readonly Request request                # the request that is (to be) served
    cdef readonly Site site
    cdef readonly Terms terms
    cdef Owner owner
    cdef Node node
    cdef State state
    cdef int64_t since                           # when this state, or its last progress, began
    cdef readonly int64_t queued_at
    cdef readonly bint stirred                   # an event came that nobody has looked at
    cdef readonly bint fin                       # the peer has finished sending
    cdef readonly bint gone                      # the connection is reset, or must be
    cdef bint watched                            # in the poller's set
    cdef bint last                               # the client said that its request is the last
    cdef int after                               # what to do once the answer is out (poller.Next)
    cdef Py_ssize_t wasted                       # octets thrown away by a lingering close
    cdef readonly int trusted                    # the peer may say who the client is: 1, 0; -1: not asked yet
    cdef sockaddr_in6 peer_raw                   # room for both families
    cdef str _host
    cdef str _port
    cdef object _peer
    cdef bytes pending                           # of a finished answer: not sent yet, from pending_at on
    cdef Py_ssize_t pending_at
    cdef int file_fd                             # of a finished answer: a file's rest, or -1
    cdef int64_t file_at, file_left
    cdef Py_ssize_t held                         # what this stream counts in terms.buffered
    cdef int64_t rate_since, rate_waited         # body_min_rate: since when the client is waited for, how long it was
    cdef long long rate_got                      # octets that came meanwhile
    cdef readonly uint64_t sent                  # octets, all answers
    cdef int64_t taken                           # of them, when took_some() was last asked

    cdef str host(self)
    cdef str port(self)
    cdef Py_ssize_t try_recv(self) except -2
    cdef Py_ssize_t try_send(self, const char *data, Py_ssize_t size) except -2
    cpdef bytes read(self, Py_ssize_t want=*)
    cdef int read_some(self) except -1
    cdef bytes read_direct(self, Py_ssize_t size)
    cdef bytes try_read(self)
    cdef bytes try_take(self)
    cdef int wait_for_body(self) except -1
    cpdef int send(self, bytes data) except -1
    cdef int send_from(self, bytes data, Py_ssize_t at) except -1
    cdef int wait_for_room(self) except -1
    cdef bint took_some(self) noexcept
    cdef Py_ssize_t try_send_two(self, bytes first, bytes second) except -2
    cpdef int send_two(self, bytes first, bytes second) except -1
    cdef int finish(self, bytes first, bytes second) except -1
    cdef int finish_file(self, int fd, int64_t at, int64_t count) except -1
    cdef int flush(self) except -1
    cpdef int peer_left(self)
    cdef bint waits_for(self, bint write, int64_t limit) except -1
    cdef void body_begins(self) noexcept
    cdef void body_waits(self) noexcept
    cdef int body_moved(self, Py_ssize_t n) except -1
    cdef int shut(self) except -1
