cimport cython

from canter.async_exchange cimport AsyncExchange, Driver, Piece


@cython.final
cdef class WsgiDriver(Driver):
    cdef dict leaving                            # exchange -> when its client finished sending, pieces by then


@cython.final
cdef class AsyncWsgiExchange(AsyncExchange):
    cdef Py_ssize_t pieces                       # of an async iterable
    cdef bint streaming                          # the result is one
    cdef bint abandoned                          # and was cancelled, since its client has left

    cdef Piece piece(self)
    cdef int deliver_piece(self, object data) except -1
    cdef int finish(self) except -1
    cdef bint deliver_at_once(self, object result) except -1
    cdef int begin_stream(self) except -1
    cdef int end_stream(self) except -1
    cdef int leaves(self) except -1
    cdef int look_whether_silent(self) except -1
    cdef int abandon(self) except -1
