# cython: language_level=3, wraparound=False, boundscheck=False, initializedcheck=False, auto_pickle=False
"""HTTP/1 answers: what an application says in, octets for the wire out.

**Strategy.** `begin_wsgi` and `begin_asgi` check the application's status and fields
and write them at once into one block of text; nothing of the application's objects
is kept. `head` (or `whole`, for a body that is there already) then decides the
framing, completes the text and makes one bytes object of it. `frame` and `end` do
the body. Every decision about framing and about keeping the connection is taken
here, whichever gateway or worker asks.

**Sane whatever the application does.** An answer that can't be put on the wire
raises a `ResponseError` before anything of it is sent, and leaves the object ready
to begin another one. What is too much for the declared length is cut; what is too
little closes the connection, so that the client can tell.

**Pure.** No socket, no clock: the `Server` and `Date` lines are handed in as `stamp`.

RFC 9110 and 9112, PEP 3333; docs/http-policy.md is the table of the rules.
"""

from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_Check,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.unicode cimport PyUnicode_Check
from libc.limits cimport LLONG_MAX
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cimport cython

from canter.http._http1 cimport Request, has_control, is_token, same_name

from http import HTTPStatus

from canter.errors import ResponseError

ctypedef unsigned char octet

cdef extern from *:
    """
    /* The octets of a str whose characters are all below 256; NULL for any other. */
    static const unsigned char *canter_latin1(PyObject *text, Py_ssize_t *size) {
    #if PY_VERSION_HEX < 0x030C0000
        if (PyUnicode_READY(text) < 0) { PyErr_Clear(); return NULL; }
    #endif
        if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND) return NULL;
        *size = PyUnicode_GET_LENGTH(text);
        return PyUnicode_1BYTE_DATA(text);
    }
    """
    const octet *latin1 "canter_latin1"(object text, Py_ssize_t *size)
    const Py_ssize_t PY_SSIZE_T_MAX

cdef dict LINES = {int(status): f"{int(status)} {status.phrase}" for status in HTTPStatus}
LINES.update({413: "413 Content Too Large", 414: "414 URI Too Long", 422: "422 Unprocessable Content"})

cdef enum:
    SMALLEST_ROOM = 512
    HEX_DIGITS = 16             # of a 64-bit number
    DECIMAL_DIGITS = 19         # of a 63-bit number


cdef inline bint named(const octet *p, Py_ssize_t size, bytes lower) noexcept:
    """Whether p[:size], in any case, is that lower-case name."""
    return size == PyBytes_GET_SIZE(lower) and same_name(p, <const octet *>PyBytes_AS_STRING(lower), size)


cdef bint is_hop_by_hop(const octet *p, Py_ssize_t size) noexcept:
    """RFC 2616 13.5.1, which PEP 3333 refers to, and RFC 9110 7.6.1; p[:size] is not empty."""
    cdef octet first = p[0] | 0x20
    if first == c"t":
        return named(p, size, b"transfer-encoding") or named(p, size, b"te") or named(p, size, b"trailer") or (
            named(p, size, b"trailers"))
    if first == c"c":
        return named(p, size, b"connection")
    if first == c"k":
        return named(p, size, b"keep-alive")
    if first == c"u":
        return named(p, size, b"upgrade")
    if first == c"p":
        return named(p, size, b"proxy-authenticate") or named(p, size, b"proxy-authorization") or (
            named(p, size, b"proxy-connection"))
    return False


cdef long long read_length(const octet *p, Py_ssize_t size) except -2:
    """The number of a Content-Length; -1: it is none."""
    cdef long long length = 0
    cdef Py_ssize_t i
    if size == 0:
        return -1
    for i in range(size):
        if not c"0" <= p[i] <= c"9" or length > (LLONG_MAX - (p[i] - c"0")) // 10:
            return -1
        length = length * 10 + (p[i] - c"0")
    return length


cdef bint says_close(const octet *p, Py_ssize_t size) noexcept:
    """Whether the options of a Connection field have close among them."""
    cdef Py_ssize_t at = 0, stop
    while at < size:
        stop = at
        while stop < size and p[stop] != c"," and p[stop] != c" ":
            stop += 1
        if named(p + at, stop - at, b"close"):
            return True
        at = stop + 1
    return False


cdef tuple pair(object item):
    """A name and its value out of the application's headers."""
    cdef tuple both
    if isinstance(item, (tuple, list)):
        both = tuple(item)
        if len(both) == 2:
            return both
    raise ResponseError(f"headers: {item!r} is no pair of name and value; write (\"Name\", \"value\")")


cdef int hold_name(object name, const octet *p, Py_ssize_t size) except -1:
    if p == NULL or not is_token(p, size):
        raise ResponseError(
            f"the header name {name!r} is no token; use letters, digits and \"-\", without colon or space")
    return 0


cdef int hold_value(object name, object value, const octet *p, Py_ssize_t size) except -1:
    if p == NULL:
        raise ResponseError(
            f"header {name!r}: the value {value!r} has characters above latin-1; encode them"
            " (percent-escapes in URLs, RFC 8187 in parameters)")
    if has_control(p, size):
        raise ResponseError(
            f"header {name!r}: the value {value!r} has a control character (CR, LF, NUL, ...); remove it")
    return 0


@cython.freelist(64)
@cython.no_gc
cdef class Response:
    """One answer. `begin_*`, then `whole`, or `head`, `frame` as often as needed, `end`.

    `request` is None for an answer to no request: it is framed so that any client
    understands it. `keep_alive` says whether the server wants to keep the connection;
    the request must allow it too.
    """

    def __cinit__(self):
        self.length = -1

    def __init__(self, Request request, bint keep_alive):
        if request is not None:
            self.minor = request.minor
            self.is_head = request.method == "HEAD"
            self.may_keep_alive = keep_alive and request.keep_alive
        self.keep_alive = self.may_keep_alive

    def __dealloc__(self):
        free(self.text)

    # the application's part of the head

    cdef int begin_wsgi(self, object status, object headers) except -1:
        """Take "DDD reason" and pairs of str, as start_response() gets them.

        A ResponseError leaves the answer as it was before.
        """
        cdef const octet *line
        cdef Py_ssize_t size = 0
        cdef int code
        self.hold_unbegun()
        if not PyUnicode_Check(status):
            raise ResponseError(f"the status is {type(status).__name__} {status!r}; write a str such as \"200 OK\"")
        line = latin1(status, &size)
        if line == NULL or has_control(line, size):
            raise ResponseError(f"the status {status!r} has characters that can't be sent; write such as \"200 OK\"")
        code = status_code(line, size)
        if code < 0:
            raise ResponseError(f"the status {status!r} is not \"DDD reason\"; write such as \"200 OK\"")
        try:
            self.put_status(code, <const char *>line, size)
            for item in headers:
                self.put_str_pair(item)
        except BaseException:
            self.reset()
            raise
        self.status_line = str(status)
        self.begun = True
        return 0

    cdef int put_str_pair(self, object item) except -1:
        cdef tuple both = pair(item)
        cdef object name = both[0], value = both[1]
        cdef const octet *name_at
        cdef const octet *value_at
        cdef Py_ssize_t name_size = 0, value_size = 0
        if not PyUnicode_Check(name):
            raise ResponseError(f"the header name {name!r} is {type(name).__name__}; write a str")
        if not PyUnicode_Check(value):
            raise ResponseError(f"header {name!r}: the value {value!r} is {type(value).__name__}; write a str")
        name_at = latin1(name, &name_size)
        hold_name(name, name_at, name_size)
        value_at = latin1(value, &value_size)
        hold_value(name, value, value_at, value_size)
        return self.put_field(name_at, name_size, value_at, value_size)

    cdef int begin_asgi(self, int status, object headers) except -1:
        """Take a number and pairs of bytes, as http.response.start has them.

        A ResponseError leaves the answer as it was before.
        """
        cdef str text
        cdef const octet *line
        cdef Py_ssize_t size = 0
        self.hold_unbegun()
        if not 100 <= status <= 999:
            raise ResponseError(f"the status {status} is not a number of three digits; write such as 200")
        text = LINES.get(status) or f"{status} Unknown"
        line = latin1(text, &size)
        try:
            self.put_status(status, <const char *>line, size)
            for item in headers:
                self.put_bytes_pair(item)
        except BaseException:
            self.reset()
            raise
        self.status_line = text
        self.begun = True
        return 0

    cdef int put_bytes_pair(self, object item) except -1:
        cdef tuple both = pair(item)
        cdef object name = both[0], value = both[1]
        cdef const octet *name_at
        cdef const octet *value_at
        if not PyBytes_Check(name):
            raise ResponseError(f"the header name {name!r} is {type(name).__name__}; write bytes")
        if not PyBytes_Check(value):
            raise ResponseError(f"header {name!r}: the value {value!r} is {type(value).__name__}; write bytes")
        name_at = <const octet *>PyBytes_AS_STRING(name)
        hold_name(name, name_at, PyBytes_GET_SIZE(name))
        value_at = <const octet *>PyBytes_AS_STRING(value)
        hold_value(name, value, value_at, PyBytes_GET_SIZE(value))
        return self.put_field(name_at, PyBytes_GET_SIZE(name), value_at, PyBytes_GET_SIZE(value))

    def begin(self, status, headers):
        """`begin_wsgi` where the status is a str, `begin_asgi` where it is a number."""
        if isinstance(status, int):
            self.begin_asgi(status, headers)
        else:
            self.begin_wsgi(status, headers)

    cdef int hold_unbegun(self) except -1:
        if self.started:
            raise ResponseError("the head of the answer was sent already")
        if self.begun:
            raise ResponseError("the answer was begun already; pass exc_info to begin another")
        return 0

    cpdef int reset(self) except -1:
        """Forget what was begun, so that another answer can be. Illegal after head()."""
        if self.started:
            raise ResponseError("the head of the answer was sent already")
        self.begun = self.has_date = self.has_server = self.bodyless = False
        self.status = 0
        self.status_line = None
        self.dropped = None
        self.length = -1
        self.size = 0
        self.keep_alive = self.may_keep_alive
        return 0

    cdef int put_status(self, int code, const char *line, Py_ssize_t size) except -1:
        self.status = code
        self.bodyless = self.is_head or code < 200 or code == 204 or code == 304
        self.put(b"HTTP/1.1 ", 9)
        self.put(line, size)
        return self.put(b"\r\n", 2)

    cdef int put_field(self, const octet *name, Py_ssize_t name_size,
                       const octet *value, Py_ssize_t value_size) except -1:
        """Write one checked field of the application, or do what it asks for."""
        cdef octet first = name[0] | 0x20           # hold_name: not empty
        if first == c"c" and named(name, name_size, b"content-length"):
            if self.length >= 0:
                raise ResponseError("Content-Length is there more than once")
            self.length = read_length(value, value_size)
            if self.length < 0:
                raise ResponseError(
                    f"Content-Length is {bytes(value[:value_size])!r}; write the number of octets in digits")
            if self.status < 200 or self.status == 204:     # RFC 9110 8.6: never with these
                return 0
        elif is_hop_by_hop(name, name_size):
            if first == c"c" and says_close(value, value_size):
                self.keep_alive = False
                return 0
            return self.drop(name, name_size)
        elif first == c"d" and named(name, name_size, b"date"):
            self.has_date = True
        elif first == c"s" and named(name, name_size, b"server"):
            self.has_server = True
        self.put(<const char *>name, name_size)
        self.put(b": ", 2)
        self.put(<const char *>value, value_size)
        return self.put(b"\r\n", 2)

    cdef int drop(self, const octet *name, Py_ssize_t size) except -1:
        if self.dropped is None:
            self.dropped = []
        self.dropped.append(bytes(name[:size]).decode("ascii"))
        return 0

    cdef int put(self, const char *data, Py_ssize_t size) except -1:
        """Append to the text."""
        cdef char *text
        cdef Py_ssize_t room
        if size > self.room - self.size:
            if size > (PY_SSIZE_T_MAX >> 1) - self.size:
                raise MemoryError()
            room = max(2 * self.room, self.size + size, SMALLEST_ROOM)
            text = <char *>realloc(self.text, <size_t>room)
            if text == NULL:
                raise MemoryError()
            self.text = text
            self.room = room
        memcpy(self.text + self.size, data, <size_t>size)
        self.size += size
        return 0

    cdef int put_number(self, const char *name, Py_ssize_t size, long long number) except -1:
        """Append a field with a number that is not negative."""
        cdef char[DECIMAL_DIGITS] digits
        cdef Py_ssize_t first = DECIMAL_DIGITS
        while True:                                 # a 63-bit number has at most so many digits
            first -= 1
            digits[first] = <char>(c"0" + number % 10)
            number //= 10
            if number == 0:
                break
        self.put(name, size)
        self.put(digits + first, DECIMAL_DIGITS - first)
        return self.put(b"\r\n", 2)

    # the server's part of the head

    cdef int frame_head(self, long long known) except -1:
        """Decide the framing and whether the connection is kept; write the fields that say so."""
        if not self.begun or self.started:
            raise RuntimeError("head() comes once, after begin")
        if self.bodyless:
            if self.status < 200:
                self.keep_alive = False             # the client waits for a final answer yet
            elif self.is_head and self.length < 0 and known > 0 and self.status != 204 and self.status != 304:
                self.put_number(b"Content-Length: ", 16, known)
        elif self.length >= 0:
            if 0 <= known != self.length:
                self.keep_alive = False
        elif known >= 0:
            self.length = known
            self.put_number(b"Content-Length: ", 16, known)
        elif self.minor == 1:
            self.chunked = True
            self.put(b"Transfer-Encoding: chunked\r\n", 28)
        else:
            self.keep_alive = False
        if not self.keep_alive:
            self.put(b"Connection: close\r\n", 19)
        elif self.minor == 0:
            self.put(b"Connection: keep-alive\r\n", 24)
        return 0

    cdef bytes stamped(self, bytes stamp):
        """The stamp without the lines that the application wrote itself."""
        cdef list kept = []
        for line in stamp.splitlines(keepends=True):
            name = line.partition(b":")[0].lower()
            if not (name == b"date" and self.has_date or name == b"server" and self.has_server):
                kept.append(line)
        return b"".join(kept)

    cdef bytes close_head(self, bytes stamp, const char *body, Py_ssize_t size):
        """The text, the stamp, the empty line and body[:size] in one bytes object."""
        cdef bytes result
        cdef char *out
        cdef Py_ssize_t stamp_size
        if self.has_date or self.has_server:
            stamp = self.stamped(stamp)
        stamp_size = len(stamp)
        self.put(PyBytes_AS_STRING(stamp), stamp_size)
        self.put(b"\r\n", 2)
        if size > PY_SSIZE_T_MAX - self.size:
            raise MemoryError()
        result = PyBytes_FromStringAndSize(NULL, self.size + size)
        out = PyBytes_AS_STRING(result)
        memcpy(out, self.text, <size_t>self.size)
        if size:
            memcpy(out + self.size, body, <size_t>size)
        free(self.text)
        self.text = NULL
        self.size = self.room = 0
        self.started = True
        return result

    cpdef bytes head(self, bytes stamp, long long known):
        """The head. `known`: all octets of the body, where the caller knows, else -1."""
        self.frame_head(known)
        return self.close_head(stamp, NULL, 0)

    cpdef bytes whole(self, bytes stamp, bytes body):
        """Head and complete body in one bytes object, cut where it has to be."""
        cdef Py_ssize_t size = len(body)
        self.ended = True
        self.frame_head(size)
        size = <Py_ssize_t>self.allow(size)
        self.sent = size
        if not self.bodyless and size < self.length:
            self.underrun = True
        return self.close_head(stamp, PyBytes_AS_STRING(body), size)

    # the body

    cpdef long long allow(self, long long n) except -1:
        """How many of n more octets may leave: fewer mark the answer as overrun."""
        if self.bodyless:
            return 0
        if 0 <= self.length and n > self.length - self.sent:
            self.overrun = True
            self.keep_alive = False
            return self.length - self.sent
        return n

    cpdef bytes frame(self, bytes data):
        """The octets as they go on the wire; b"" where nothing does."""
        cdef Py_ssize_t size = len(data), allowed, first
        cdef char[HEX_DIGITS] digits
        cdef bytes result
        cdef char *out
        if not self.started:
            raise RuntimeError("frame() comes after head()")
        if self.ended:
            raise ResponseError("a piece of the body came after the end of the answer")
        allowed = <Py_ssize_t>self.allow(size)
        if allowed == 0:
            return b""
        self.sent += allowed
        if not self.chunked:
            return data if allowed == size else data[:allowed]
        first = hex_digits(digits, size)
        if size > PY_SSIZE_T_MAX - HEX_DIGITS - 4:
            raise MemoryError()
        result = PyBytes_FromStringAndSize(NULL, HEX_DIGITS - first + 2 + size + 2)
        out = PyBytes_AS_STRING(result)
        memcpy(out, digits + first, <size_t>(HEX_DIGITS - first))
        out += HEX_DIGITS - first
        memcpy(out, b"\r\n", 2)
        memcpy(out + 2, PyBytes_AS_STRING(data), <size_t>size)
        memcpy(out + 2 + size, b"\r\n", 2)
        return result

    cpdef bytes chunk_head(self, long long n):
        """What goes before n octets that the caller sends itself, n > 0 and as `allow` said."""
        cdef char[HEX_DIGITS] digits
        cdef Py_ssize_t first
        if not self.started or n <= 0 or self.allow(n) != n:
            raise RuntimeError("chunk_head() comes after head(), for as many octets as allow() lets through")
        self.sent += n
        if not self.chunked:
            return b""
        first = hex_digits(digits, n)
        return digits[first:HEX_DIGITS] + b"\r\n"

    cpdef bytes chunk_tail(self):
        """What goes behind them."""
        return b"\r\n" if self.chunked else b""

    cpdef bytes end(self):
        """What ends the body. Fewer octets than declared close the connection."""
        self.ended = True
        if self.chunked:
            return b"0\r\n\r\n"
        if not self.bodyless and self.sent < self.length:
            self.underrun = True
            self.keep_alive = False
        return b""


cdef int status_code(const octet *p, Py_ssize_t size) noexcept:
    """The number of "DDD reason", from 100 up; -1: it is something else."""
    cdef int i
    if size < 4 or p[3] != c" " or p[0] == c"0":
        return -1
    for i in range(3):
        if not c"0" <= p[i] <= c"9":
            return -1
    return (p[0] - c"0") * 100 + (p[1] - c"0") * 10 + (p[2] - c"0")


cdef Py_ssize_t hex_digits(char *digits, unsigned long long number) noexcept:
    """Write the number at the end of digits[:HEX_DIGITS]; where it begins."""
    cdef Py_ssize_t first = HEX_DIGITS
    while True:                                     # 64 bits are 16 digits
        first -= 1
        digits[first] = (<const char *>b"0123456789abcdef")[number & 15]
        number >>= 4
        if number == 0:
            return first


cpdef bytes refusal(int status, str reason, bytes stamp, tuple fields=(), Request request=None):
    """A whole short answer to what was refused, with more `fields`; it closes the connection.

    `request` where there is one: a HEAD gets no body.
    """
    text = f"{status} {reason}"
    response = Response(request, False)
    response.begin_wsgi(text, [("Content-Type", "text/plain; charset=utf-8"), *fields])
    return response.whole(stamp, f"{text}\n".encode())


cpdef bytes interim(int status, object headers):
    """The head of an interim answer (100, 103), whose headers are pairs of str or of bytes."""
    cdef Response response
    if not 100 <= status <= 199:
        raise ResponseError(f"{status} is not the status of an interim answer")
    if status == 100 and not headers:
        return b"HTTP/1.1 100 Continue\r\n\r\n"
    response = Response(None, False)
    response.begin_asgi(status, ())
    for item in headers:
        if isinstance(pair(item)[0], str):
            response.put_str_pair(item)
        else:
            response.put_bytes_pair(item)
    return response.close_head(b"", NULL, 0)


cpdef bytes trailer(object headers):
    """The end of a chunked body whose trailer section has those fields, pairs of bytes.

    What frames or routes a message has no place there and is dropped (RFC 9110 6.5.1).
    """
    cdef Response response = Response(None, False)
    response.put(b"0\r\n", 3)
    for item in headers:
        response.put_bytes_pair(item)
    response.put(b"\r\n", 2)
    return PyBytes_FromStringAndSize(response.text, response.size)
