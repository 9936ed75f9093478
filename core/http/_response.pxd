cimport cython

from canter.http._http1 cimport Request


@cython.final
cdef class Response:
    cdef readonly int status
    cdef readonly bint keep_alive           # may become False on the way
    cdef readonly bint bodyless             # HEAD, 1xx, 204, 304: nothing of the body goes on the wire
    cdef readonly bint chunked              # after head(): the body leaves in chunks
    cdef readonly bint started              # after head()
    cdef readonly long long length          # declared Content-Length, -1: none
    cdef readonly long long sent            # body octets accepted by frame()
    cdef readonly str status_line           # "200 OK", for logs
    cdef readonly list dropped              # hop-by-hop names the application set, or None
    cdef readonly bint overrun              # more was yielded than Content-Length says
    cdef readonly bint underrun             # less was

    cdef bint allowed_keep_alive            # what __init__ was told, for reset()
    cdef bint is_head                       # the request's method is HEAD
    cdef int minor                          # of the request
    cdef bint begun, has_date, has_server
    cdef char *text                         # the head so far: status line and the application's fields
    cdef Py_ssize_t size, room

    cdef int begin_wsgi(self, object status, object headers) except -1
    cdef int begin_asgi(self, int status, object headers) except -1
    cpdef int reset(self) except -1
    cpdef bytes head(self, bytes stamp, long long known)
    cpdef bytes whole(self, bytes stamp, bytes body)
    cpdef bytes frame(self, bytes data)
    cpdef bytes chunk_head(self, Py_ssize_t n)
    cpdef bytes chunk_tail(self)
    cpdef bytes end(self)


cpdef bytes refusal(int status, str reason, bytes stamp)
cpdef bytes interim(int status, object headers)
