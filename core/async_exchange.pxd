cimport cython
from cpython.object cimport PyObject

from canter.exchange cimport Context, Job
from canter.poller cimport Poller
from canter.stream cimport Stream


cdef class Driver:
    """One a worker: makes a task of each request, and keeps the deadlines of those that wait."""
    cdef readonly Context context
    cdef readonly Poller poller
    cdef readonly object loop, app
    cdef readonly Py_ssize_t tasks               # applications that have not returned
    cdef readonly bint cancelling                # the time to stop is over
    cdef object ended                            # called once, when a stopping worker has nothing left to do
    cdef object make_task, make_future
    cdef bint turning                            # a turn is asked for
    cdef set begun                               # exchanges whose application has not returned
    cdef dict reading                            # exchange -> since when it waits for octets of a body
    cdef dict writing                            # exchange -> since when the client has taken nothing

    cdef AsyncExchange exchange_for(self, Stream stream)
    cdef int start(self, Stream stream) except -1
    cdef int look_again(self) except -1
    cdef int expire(self) except -1


cdef class Awaitable:
    """What `await` takes, and what create_task and wait_for take for a coroutine."""

    cdef object advance(self)
    cdef int abandon(self) except -1


cdef class Waiting(Awaitable):
    cdef AsyncExchange exchange
    cdef object future

    cdef object look(self)
    cdef list bells(self)


@cython.final
cdef class Done(Awaitable):
    pass


@cython.final
cdef class Room(Waiting):
    pass


@cython.final
cdef class Piece(Waiting):
    pass


cdef class AsyncExchange(Job):
    cdef Driver driver
    cdef object coroutine                        # the application's, from its first step to its end
    cdef object called                           # what calling it gave, for its frames
    cdef dict environ                            # of a WSGI application, until its answer is over
    cdef list readers, writers                   # futures: ring when octets (or the end) came, when there is room
    cdef bint begun
    cdef bint expecting                          # the client waits for a 100 before it sends its body
    cdef bint room_watched
    cdef readonly bint left                      # the answer is over and the connection given back
    cdef bint lost                               # before its end: the client left, or was refused

    cdef object begin(self)
    cdef object advance(self)
    cdef PyObject *step(self) noexcept
    cdef list reading_bells(self)
    cdef object resumed(self, object step, object argument)
    cdef int over(self, object error) except -1
    cdef int conclude(self, object error) except -1
    cdef int incomplete(self) except -1
    cdef int respond(self, object error) except -1
    cdef int leave(self, int then) except -1
    cdef int put(self, bytes first, bytes second) except -1
    cdef int block(self) except -1
    cdef int unblock(self) except -1
    cdef int emit(self, bytes data, bint more) except -1
    cdef int complete(self) except -1
    cdef int emit_file(self, int fd, long long at, long long count) except -1
    cdef bytes read_piece(self)
    cdef int refuse(self, object error) except -1
    cdef int read_late(self) except -1
    cdef int write_late(self) except -1
    cdef object room(self)

cdef object NOT_YET
cdef Awaitable DONE
cdef int ring(list bells) except -1
