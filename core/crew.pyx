# cython: language_level=3, boundscheck=False, wraparound=False
"""The crew: threads that take turns at the poller and at requests.

`threads` requests run at once, on `threads` + 1 threads; the one to spare polls.
Nobody is *the* poller thread: whoever has nothing to run polls, and serves what it
finds itself (leader and followers). So a short request costs no hand-over between
threads, and a long one costs one: before a thread begins to serve, it makes sure that
another one is awake, which then waits for the GIL; it gets it when the application
blocks, or after the interpreter's switch interval.

A thread is *serving*, *awake* (polling, or on its way to something to do), or
*asleep* on its own lock. Counts change under the GIL, without Python code between the
look and the change.
"""

cimport cython
from collections import deque

from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit

from canter.exchange cimport Context, serve_one
from canter.poller cimport CUT, Poller
from canter.stream cimport Stream

cdef extern from "pythread.h" nogil:
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)
    int PyThread_acquire_lock(PyThread_type_lock lock, int wait)
    void PyThread_release_lock(PyThread_type_lock lock)


@cython.final
cdef class Seat:
    """Where one thread sleeps."""

    cdef PyThread_type_lock lock

    def __cinit__(self):
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL:
            raise MemoryError()
        PyThread_acquire_lock(self.lock, 1)

    def __dealloc__(self):
        if self.lock != NULL:
            PyThread_release_lock(self.lock)
            PyThread_free_lock(self.lock)


@cython.final
cdef class Crew:
    """`threads` requests at once. Each thread of the caller's making runs `work`; `done()` is called at the end."""

    cdef readonly Poller poller
    cdef readonly Context context
    cdef readonly int threads
    cdef readonly int serving
    cdef int awake
    cdef bint polling
    cdef readonly bint over
    cdef object queue                            # streams that wait for a thread
    cdef list sleepers
    cdef object done
    cdef double beat

    def __init__(self, Context context, int threads, object done, double beat=1.0):
        self.context = context
        self.poller = context.poller
        self.poller.peek = True
        self.poller.wakes = False                   # serve() takes what give_back finds
        self.threads = threads
        self.done = done
        self.beat = beat
        self.queue = deque()
        self.sleepers = []

    def work(self):
        """Serve until the poller is finished. Run by `threads` + 1 threads."""
        cdef Seat seat = Seat()
        self.awake += 1
        while not self.over:
            try:
                if self.queue and self.serving < self.threads:
                    self.serve(<Stream>self.queue.popleft())
                elif not self.polling:
                    self.poll()
                else:
                    self.sleep(seat)
            except BaseException:                   # the crew must not lose a hand
                self.context.log.exception("a thread failed outside of its request")
        self.awake -= 1

    cdef int serve(self, Stream stream) except -1:
        context = PyContext_CopyCurrent()           # context variables end with the request that sets them
        PyContext_Enter(context)
        self.serving += 1
        self.awake -= 1
        try:
            if self.awake == 0:
                self.rouse()
            self.poller.give_back(stream, self.run(stream))
            if self.poller.ready:
                self.queue.extend(self.poller.take())
        finally:
            PyContext_Exit(context)
            self.serving -= 1
            self.awake += 1
        return 0

    cdef int run(self, Stream stream) except -1:
        """Serve the request; whatever happens the stream is given back."""
        try:
            return serve_one(stream, self.context)
        except BaseException:
            self.context.log.exception("a request failed outside of its application")
            return CUT

    cdef int poll(self) except -1:
        self.polling = True
        try:
            self.queue.extend(self.poller.poll(self.beat))
        finally:
            self.polling = False
        self.context.queued(len(self.queue))
        if self.poller.finished:
            self.end()
        return 0

    cdef int rouse(self) except -1:
        """Wake the thread that slept last: its memory is warm."""
        cdef Seat seat
        if self.sleepers:
            seat = self.sleepers.pop()
            self.awake += 1
            PyThread_release_lock(seat.lock)
        return 0

    cdef int sleep(self, Seat seat) except -1:
        self.awake -= 1
        self.sleepers.append(seat)
        with nogil:
            PyThread_acquire_lock(seat.lock, 1)
        return 0

    cdef int end(self) except -1:
        self.over = True
        while self.sleepers:
            self.rouse()
        self.done()
        return 0
