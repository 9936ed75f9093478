from libc.stdint cimport uint32_t

cimport cython


@cython.final
cdef class Limits:
    cdef readonly Py_ssize_t request_line   # octets of the request line; 0: only the head's bound
    cdef readonly Py_ssize_t fields         # field lines of one head (and of one trailer section)
    cdef readonly Py_ssize_t field_size     # octets of one field line; 0: only the head's bound
    cdef readonly Py_ssize_t head           # octets of the whole head, never unlimited
    cdef readonly long long body            # octets of a decoded body; 0: unlimited
    cdef readonly Py_ssize_t trailers       # octets of a whole trailer section


cdef struct Field:                          # one field line; offsets into Request.head
    uint32_t name
    uint32_t name_size
    uint32_t value
    uint32_t value_size
    int kind                                # a place in the table of known names, or one of its marks


cdef enum:
    INLINE_FIELDS = 24                      # so many fields need no memory of their own


@cython.final
cdef class Request:
    cdef readonly bytes head                # octets of the head as received, request line .. empty line
    cdef readonly str method
    cdef readonly int minor                 # HTTP/1.<minor>
    cdef readonly long long content_length  # -1: not declared
    cdef readonly bint chunked
    cdef readonly bint keep_alive           # what the request allows
    cdef readonly bint expect_continue      # only on 1.1, only with a body
    cdef readonly bint has_body             # chunked or content_length > 0

    cdef uint32_t method_size
    cdef uint32_t target_at, target_size
    cdef uint32_t path_at, path_size        # size 0: an absolute target without a path, read as "/"
    cdef uint32_t query_at, query_size
    cdef uint32_t authority_at, authority_size  # of an absolute target; size 0: none
    cdef unsigned int seen                  # one bit for each known name that may stand only once
    cdef Py_ssize_t count, room
    cdef Field *field_lines                 # inline_fields, or memory of its own
    cdef Field[INLINE_FIELDS] inline_fields

    cpdef dict environ(self, dict base)
    cpdef dict scope(self, dict base)
    cpdef bytes field(self, bytes name)

    cdef int add_field(self, Field field) except -1
    cdef str text(self, uint32_t at, uint32_t size)
    cdef str path_info(self)


@cython.final
cdef class Connection:
    cdef readonly Limits limits
    cdef readonly bint body_done            # no body is left to read (also before the first request)
    cdef readonly bint eof                  # end of input was fed
    cdef readonly bint started              # octets of an unfinished head are held

    cdef char *data                         # NULL while nothing is held
    cdef Py_ssize_t start, end, room        # data[start:end] is held; room octets are allocated
    cdef Py_ssize_t line                    # offset from start: the first octet of the line being read
    cdef Py_ssize_t scanned                 # offset from start: no LF before this in that line
    cdef int state
    cdef bint skipped_blank                 # the one CRLF allowed before a request line was seen
    cdef Request pending                    # the request whose head is being read
    cdef long long remaining                # octets left of a declared body, or of the chunk being read
    cdef long long decoded                  # octets of a chunked body so far
    cdef Py_ssize_t trailer_fields

    cdef int feed_raw(self, const char *data, Py_ssize_t size) except -1
    cpdef Request next_request(self)
    cpdef bytes next_body(self)
    cdef Py_ssize_t direct(self) noexcept
    cdef int received(self, Py_ssize_t n) except -1
    cdef Py_ssize_t buffered(self) noexcept
