from libc.stdint cimport uint32_t, uint64_t

cimport cython


@cython.final
cdef class Limits:
    cdef readonly Py_ssize_t request_line   # octets of the request line; 0: only the head's bound
    cdef readonly Py_ssize_t fields         # field lines of one head (and of one trailer section)
    cdef readonly Py_ssize_t field_size     # octets of one field line; 0: only the head's bound
    cdef readonly Py_ssize_t head           # octets of the whole head, never unlimited
    cdef readonly long long body            # octets of a decoded body; 0: unlimited
    cdef readonly Py_ssize_t trailers       # octets of a whole trailer section, never unlimited


cdef struct Field:                          # one field line; offsets into Request.head
    uint32_t name
    uint32_t name_size
    uint32_t value
    uint32_t value_size
    int kind                                # a place in the table of known names, or one of its marks


cdef struct Target:                         # the parts of a request target; offsets into Request.head
    uint32_t at
    uint32_t size
    uint32_t path                           # size 0: an absolute target without a path, read as "/"
    uint32_t path_size
    uint32_t query                          # behind the "?"; size 0: none
    uint32_t query_size
    uint32_t authority                      # of an absolute target; size 0: none
    uint32_t authority_size


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
    cdef readonly bint forwarded            # has a field of FORWARDING, or one with "_"

    cdef Target parts
    cdef unsigned int seen                  # 1 << kind, for the kinds whose rules need it
    cdef bint asks_close, asks_keep_alive   # what the Connection fields say
    cdef bint odd_expectation               # an Expect that is no 100-continue
    cdef Py_ssize_t count, room             # field lines held; places for them
    cdef Field *lines                       # inline_lines, or memory of its own
    cdef Field[INLINE_FIELDS] inline_lines

    cpdef dict environ(self, dict base)
    cpdef dict scope(self, dict base)
    cpdef bytes field(self, bytes name)
    # The octets of the last field of that lower-case name, which live as long as the request; NULL: none.
    cdef const unsigned char *find(self, const unsigned char *lower, Py_ssize_t size, Py_ssize_t *found) noexcept
    cdef bytes decoded_path(self)

    cdef int add(self, Field *line) except -1
    cdef str text(self, uint32_t at, uint32_t size)
    cdef bytes octets(self, uint32_t at, uint32_t size)
    cdef int add_path(self, dict environ) except -1


@cython.final
cdef class Connection:
    cdef readonly Limits limits
    cdef readonly bint body_done            # no body is left to read (also before the first request)
    cdef readonly bint eof                  # end of input was fed
    cdef readonly bint started              # octets of an unfinished head are held

    cdef char *data                         # NULL while nothing is held
    cdef Py_ssize_t start, end, room        # data[start:end] is held; room octets are allocated
    cdef Py_ssize_t line                    # where the line being read begins, counted from start
    cdef Py_ssize_t scanned                 # where to look for its LF next, counted from start
    cdef int state
    cdef bint blank_skipped                 # the one CRLF allowed before a request line was there
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
    cdef bytes take_rest(self)

    cdef int reserve(self, Py_ssize_t size) except -1
    cdef void release(self) noexcept
    cdef void settle(self) noexcept
    cdef void refuse(self) noexcept
    cdef Py_ssize_t find_line(self, Py_ssize_t limit, Py_ssize_t total) noexcept
    cdef Request read_head(self)
    cdef Request finish_head(self)
    cdef int begin_body(self, Request request) except -1
    cdef bytes read_declared(self)
    cdef bytes read_chunks(self)
    cdef int step(self, char **out, Py_ssize_t *produced) except -1
    cdef bint read_chunk_size(self) except -1
    cdef bint read_trailer(self) except -1
    cdef void finish_body(self) noexcept


cdef bint is_token(const unsigned char *p, Py_ssize_t size) noexcept
cdef bint has_control(const unsigned char *p, Py_ssize_t size) noexcept
cdef bint same_name(const unsigned char *p, const unsigned char *lower, Py_ssize_t size) noexcept
