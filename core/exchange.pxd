cimport cython
from libc.stdint cimport int64_t, uint64_t

from canter.gateway.wsgi cimport Input
from canter.http._http1 cimport Request
from canter.http._response cimport Response
from canter.observe.access cimport AccessLog
from canter.poller cimport Host, Poller
from canter.stream cimport Owner, Site, Stream, Terms

cdef enum Claim:
    NOBODY
    APPLICATION
    WATCHDOG


cdef struct Slot:                                # one request slot of the scoreboard
    uint64_t *cells
    unsigned char *text


cdef class Job(Owner):
    """One request in flight, whichever driver runs it."""
    cdef readonly Context context
    cdef readonly Stream stream
    cdef readonly Request request
    cdef readonly Response response
    cdef Claim claimed
    cdef readonly int64_t started_at
    cdef bint delivered                          # the whole answer is on its way
    cdef readonly bint overruled                 # the watchdog has spoken
    cdef bint told                               # and the client got its 504
    cdef readonly int64_t deadline               # 0: none
    cdef readonly unsigned long thread
    cdef readonly object runner                  # the greenlet or task, where there is one
    cdef int slot
    cdef Job before, after                       # the context's ring of requests in flight
    cdef list headers                            # the application's, where the access log needs them

    cdef int open(self, Context context, Stream stream) except -1
    cdef int shut(self, object environ) except -1
    cdef bint claim(self, Claim who) noexcept
    cdef int hold_claim(self) except -1
    cdef int set_deadline(self) except -1
    cdef int begin_wsgi(self, object status, object headers, object exc_info) except -1
    cdef int keep_headers(self, object headers) except -1
    cdef int must_have_begun(self) except -1
    cdef int check_length(self) except -1
    cdef int settle(self) except -1
    cdef bint drained(self) except -1


@cython.final
cdef class Exchange(Job):
    cdef Input body
    cdef object handed                           # the socket, where the application was given it

    cdef object run(self, dict environ)
    cdef int deliver(self, object result) except -1
    cdef int deliver_whole(self, bytes data) except -1
    cdef int deliver_file(self, object wrapper) except -1
    cdef int deliver_each(self, object result) except -1
    cdef int emit(self, object data, long long known) except -1
    cdef int end(self) except -1
    cdef int check_expecting(self) except -1
    cdef int recover(self, object error) except -1
    cdef int answer(self, object error) except -1
    cdef int hand_over(self, dict environ) except -1
    cdef int take_back(self) except -1


@cython.final
cdef class Context(Host):
    cdef readonly object app, cfg, log, worker
    cdef readonly Terms terms
    cdef readonly Poller poller
    cdef public bint stopping
    cdef readonly AccessLog access
    cdef readonly Py_ssize_t running             # requests in flight
    cdef public object pre_request, post_request
    cdef Job ring
    cdef dict bases
    cdef dict shared_base
    cdef object proxies
    cdef bint always_read
    cdef object runner_of
    cdef uint64_t **siblings
    cdef uint64_t *marks                         # what each had accepted when `ahead` last looked
    cdef list sibling_rows
    cdef Py_ssize_t sibling_count, capacity
    cdef bytes _stamp
    cdef long _stamp_second
    cdef str server
    cdef Slot *slots
    cdef int *free_slots
    cdef int free_count, slot_count
    cdef object row
    cdef uint64_t *cells
    cdef int64_t request_ns
    cdef object deadline_of
    cdef int64_t queue_ns
    cdef public long long recycle_after          # requests; 0: never
    cdef set warned

    cdef int bind_row(self, object row) except -1
    cdef bint has_room(self, uint64_t *sibling) noexcept
    cdef bytes stamp(self)
    cdef dict base_of(self, Site site)
    cdef dict environ(self, Stream stream)
    cdef object said_by_proxy(self, Stream stream)
    cdef int describe(self, Slot *slot, Job job) except -1
    cdef int call_post_request(self, Job job, object environ) except -1
    cdef int warn_dropped(self, Response response) except -1
    cdef int enter(self, Job job) except -1
    cdef int queued(self, Py_ssize_t count) except -1
    cdef int leave(self, Job job) except -1
    cdef bint too_late(self, Stream stream) except -1
    cdef object failed(self, Job job, object error)

cpdef int serve_one(Stream stream, Context context) except -1
cdef bytes as_octets(object data)
cdef object join(list parts)
