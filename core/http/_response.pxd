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

    cdef bint may_keep_alive                # what the request and the server allow, for reset()
    cdef bint is_head                       # the request's method is HEAD
    cdef int minor                          # of the request; 0 where there is none
    cdef bint begun, ended, has_date, has_server
    cdef char *text                         # the head so far: status line and the application's fields
    cdef Py_ssize_t size, room

    cdef int begin_wsgi(self, object status, object headers) except -1
    cdef int begin_asgi(self, int status, object headers) except -1
    cpdef int reset(self) except -1
    cpdef bytes head(self, bytes stamp, long long known)
    cpdef bytes whole(self, bytes stamp, bytes body)
    cpdef bytes frame(self, bytes data)
    cpdef long long allow(self, long long n) except -1      # how many of n octets may still leave
    cpdef bytes chunk_head(self, long long n)
    cpdef bytes chunk_tail(self)
    cpdef bytes end(self)

    cdef int hold_unbegun(self) except -1
    cdef int put_str_pair(self, object item) except -1
    cdef int put_bytes_pair(self, object item) except -1
    cdef int put(self, const char *data, Py_ssize_t size) except -1
    cdef int put_number(self, const char *name, Py_ssize_t size, long long number) except -1
    cdef int put_status(self, int code, const char *line, Py_ssize_t size) except -1
    cdef int put_field(self, const unsigned char *name, Py_ssize_t name_size,
                       const unsigned char *value, Py_ssize_t value_size) except -1
    cdef int drop(self, const unsigned char *name, Py_ssize_t size) except -1
    cdef int frame_head(self, long long known) except -1
    cdef bytes stamped(self, bytes stamp)
    cdef bytes close_head(self, bytes stamp, const char *body, Py_ssize_t size)


cpdef bytes refusal(int status, str reason, bytes stamp, tuple fields=*, Request request=*)
cpdef bytes interim(int status, object headers)
cpdef bytes trailer(object headers)
