cimport cython

from canter.async_exchange cimport AsyncExchange, Driver, Waiting
from canter.stream cimport Site, Stream


cdef class AsgiDriver(Driver):
    cdef readonly dict state                     # of the lifespan: each request gets a copy
    cdef dict bases                              # Site -> what its scopes have in common

    cdef dict base_of(self, Site site)
    cdef dict scope_of(self, Stream stream)


@cython.final
cdef class Receiving(Waiting):
    pass


cdef class AsgiExchange(AsyncExchange):
    cdef bint body_ended                         # the answer's; trailers follow
    cdef list trailers                           # of the answer, where it has some
    cdef bint body_over                          # the application has the whole body

    cdef object message(self)
    cdef object body_message(self)
    cdef int too_late(self, object kind) except -1
    cdef int start_answer(self, dict message) except -1
    cdef int answer_body(self, dict message) except -1
    cdef int answer_trailers(self, dict message) except -1
    cdef int answer_file(self, object path) except -1
    cdef int answer_early(self, object links) except -1
    cdef int hold_begun(self, str kind) except -1
