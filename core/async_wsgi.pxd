cimport cython

from canter.async_exchange cimport AsyncExchange, Driver, Piece


@cython.final
cdef class WsgiDriver(Driver):
    pass


@cython.final
cdef class AsyncWsgiExchange(AsyncExchange):
    cdef Piece piece(self)
    cdef int deliver_piece(self, object data) except -1
    cdef int finish(self) except -1
    cdef bint deliver_at_once(self, object result) except -1
