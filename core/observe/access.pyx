# cython: language_level=3, auto_pickle=False
"""The access log: one line a request, in Gunicorn's format.

**Strategy.** The format is compiled once into a list of ops. `add` runs them over
memory of its own and appends the whole line to one buffer; values come straight from
the octets of the request's head, so the usual line makes no Python object. `flush`
writes the buffer; workers call it when they are about to wait.

**Promises.** Nothing here raises into a request. Nothing waits: a pipe, a socket or
a terminal is asked first, and given no more than it takes at once. What can't be
written stays in the buffer up to `LARGEST_BUFFER`, then whole lines are lost; that
is said once, and again with their number when the log can be written. Lines can't be
forged: a quote and a backslash get a backslash, any other octet that is not visible
ASCII becomes \\xNN, as Apache does.

**Threads.** A line is appended, and the buffer written, without running Python code
in between: under the GIL that is one step.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.limits cimport LLONG_MAX
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcpy, memmove
from libc.time cimport time, time_t
from posix.unistd cimport getpid, write

from canter.http._http1 cimport Request

import base64
import os
import re
import stat

from canter.errors import ConfigError

ctypedef unsigned char octet

cdef extern from "<poll.h>" nogil:
    const short POLLOUT
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int timeout)

cdef extern from "<time.h>" nogil:
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
        long tm_gmtoff
    tm *localtime_r(const time_t *moment, tm *result)

cdef enum:
    STDOUT = 1
    ENOUGH = 1 << 16            # add() itself flushes a buffer that holds so much
    LARGEST_BUFFER = 1 << 20    # what is kept for a reader that sleeps
    PIECE = 4096                # what a pipe that polls as writable takes at once (PIPE_BUF)
    DIGITS = 20                 # of a 64-bit number
    SMALLEST_ROOM = 512

cdef enum:                      # kinds of ops
    LITERAL                     # operand: its octets
    HOST
    NOTHING                     # "-": %(l)s, and names that mean nothing
    USER
    STAMP
    REQUEST_LINE
    STATUS
    METHOD
    PATH
    QUERY
    PROTOCOL
    OCTETS
    SECONDS
    MILLISECONDS
    MICROSECONDS
    DECIMAL_SECONDS
    PID
    FIELD                       # operand: the lower-case name, bytes
    RESPONSE_FIELD              # operand: the lower-case name, str
    VARIABLE                    # operand: the environ keys to try
    CONVERTED                   # operand: (kind, place of its operand, "%...d"): with flags or a width

cdef dict ATOMS = {
    "h": HOST, "l": NOTHING, "u": USER, "t": STAMP, "r": REQUEST_LINE, "s": STATUS, "m": METHOD, "U": PATH,
    "q": QUERY, "H": PROTOCOL, "b": OCTETS, "B": OCTETS, "T": SECONDS, "M": MILLISECONDS, "D": MICROSECONDS,
    "L": DECIMAL_SECONDS, "p": PID,
}
cdef tuple MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
cdef const char *HEX = b"0123456789abcdef"
PLACE = re.compile(r"%(?:(%)|\(([^)]*)\)([-+ #0]*[0-9]*(?:\.[0-9]+)?)([diouxXeEfFgGcrsa]))")


# --- octets that grow ------------------------------------------------------------

cdef int put(Text *text, const char *data, Py_ssize_t size) except -1:
    """Append data[:size]."""
    reserve(text, size)
    memcpy(text.at + text.size, data, <size_t>size)
    text.size += size
    return 0


cdef int reserve(Text *text, Py_ssize_t size) except -1:
    """Make room for `size` more octets, so that text.at is not NULL afterwards."""
    cdef Py_ssize_t room
    cdef char *at
    if size <= text.room - text.size and text.at != NULL:
        return 0
    if size > LLONG_MAX // 4 - text.size:
        raise MemoryError()
    room = max(2 * text.room, text.size + size, SMALLEST_ROOM)
    at = <char *>realloc(text.at, <size_t>room)
    if at == NULL:
        raise MemoryError()
    text.at = at
    text.room = room
    return 0


cdef inline bint is_plain(octet c) noexcept:
    """Visible ASCII and the space, without the two that are escaped."""
    return c >= 0x20 and c < 0x7F and c != c"\"" and c != c"\\"


cdef int put_value(Text *text, const octet *p, Py_ssize_t size) except -1:
    """Append what a peer or an application wrote: escaped, so that it stays inside its place."""
    cdef Py_ssize_t i
    cdef int odd = 0
    cdef char *out
    for i in range(size):                   # no early way out: so the compiler makes it a vector loop
        odd |= (p[i] < 0x20) | (p[i] >= 0x7F) | (p[i] == c"\"") | (p[i] == c"\\")
    if not odd or text.raw:
        return put(text, <const char *>p, size)
    if size > LLONG_MAX // 16:
        raise MemoryError()
    reserve(text, 4 * size)                 # an octet becomes four at most
    out = text.at + text.size
    for i in range(size):
        if is_plain(p[i]):
            out[0] = p[i]
            out += 1
        elif p[i] == c"\"" or p[i] == c"\\":
            out[0] = c"\\"
            out[1] = p[i]
            out += 2
        else:
            out[0] = c"\\"
            out[1] = c"x"
            out[2] = HEX[p[i] >> 4]
            out[3] = HEX[p[i] & 15]
            out += 4
    text.size = out - text.at
    return 0


cdef int put_or_dash(Text *text, const octet *p, Py_ssize_t size) except -1:
    """Append a value, "-" where there is none or an empty one."""
    if p == NULL or size == 0:
        return put(text, b"-", 1)
    return put_value(text, p, size)


cdef int put_str(Text *text, object value) except -1:
    """Append the str() of a value, "-" where it is None or empty."""
    cdef bytes octets
    if value is None:
        return put(text, b"-", 1)
    octets = str(value).encode("latin-1", "backslashreplace")
    return put_or_dash(text, <const octet *>PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets))


cdef int put_number(Text *text, long long number, int least) except -1:
    """Append a number in at least so many digits (up to 6); it is not negative, or becomes "-"."""
    cdef char[DIGITS] digits
    cdef Py_ssize_t first = DIGITS
    if number < 0:
        return put(text, b"-", 1)
    while number or DIGITS - first < least:         # 63 bits have 19 digits
        first -= 1
        digits[first] = <char>(c"0" + number % 10)
        number //= 10
    return put(text, digits + first, DIGITS - first)


# --- the log ---------------------------------------------------------------------

cdef class AccessLog:
    """The access log of one process.

    `path`: a file, or "-" for standard output. `format`: Gunicorn's
    access_log_format. `complain`: called with one line of text when lines are lost,
    and when writing works again. Raises ConfigError where the file can't be opened or
    the format can't be understood.
    """

    def __cinit__(self):
        self.fd = -1
        self.second = -1

    def __init__(self, str path not None, str format not None, object complain):
        self.path = path
        self.complain = complain
        self.operands = []
        self.compile(format)
        try:
            self.fd = STDOUT if path == "-" else open_file(path)
        except OSError as error:
            raise ConfigError(f"accesslog: cannot write {path!r}: {error.strerror}") from None
        self.may_block = may_block(self.fd)

    def __dealloc__(self):
        free(self.ops)
        free(self.buffer.at)

    # the format

    cdef int compile(self, str format) except -1:
        cdef int end = 0
        for place in PLACE.finditer(format):
            self.append_literal(format, end, place.start())
            end = place.end()
            if place[1]:
                self.append(LITERAL, b"%")
            else:
                self.append_atom(place[2], place[3], place[4])
        self.append_literal(format, end, len(format))
        return self.append(LITERAL, b"\n")

    cdef int append_literal(self, str format, Py_ssize_t start, Py_ssize_t stop) except -1:
        text = format[start:stop]
        if "%" in text:
            raise ConfigError(f"access_log_format: what begins with {text[text.index('%'):][:20]!r} is no %(name)s")
        return self.append(LITERAL, text.encode("utf-8")) if text else 0

    cdef int append_atom(self, str name, str flags, str conversion) except -1:
        kind, operand = atom(name)
        self.needs_environ = self.needs_environ or kind == VARIABLE
        self.needs_headers = self.needs_headers or kind == RESPONSE_FIELD
        if flags or conversion not in "sdiu":
            self.operands.append(operand)
            kind, operand = CONVERTED, (kind, len(self.operands) - 1, f"%{flags}{conversion}")
        return self.append(kind, operand)

    cdef int append(self, int kind, object operand) except -1:
        cdef Op *ops = <Op *>realloc(self.ops, <size_t>(self.op_count + 1) * sizeof(Op))
        if ops == NULL:
            raise MemoryError()
        self.ops = ops
        self.ops[self.op_count].kind = kind
        self.ops[self.op_count].which = <int>len(self.operands)
        self.op_count += 1
        self.operands.append(operand)
        return 0

    # a line

    cdef int add(self, Request request, object peer, int status, long long body_octets,
                 long long duration_ns, object environ, object response_headers) except -1:
        """Append one line. `request` and what else is unknown may be None, numbers below 0.

        `environ` and `response_headers` (pairs of str or of bytes) are looked at only
        where `needs_environ` and `needs_headers` say so.
        """
        cdef Text line
        cdef Record record
        line.at = NULL
        line.size = line.room = 0
        line.raw = False
        record.request = <PyObject *>request
        record.peer = <PyObject *>peer
        record.environ = <PyObject *>environ
        record.headers = <PyObject *>response_headers
        record.status = status
        record.body_octets = body_octets
        record.duration_ns = duration_ns
        try:
            self.compose(&line, &record)
            put(&self.buffer, line.at, line.size)       # the "\n" at least: line.at is not NULL
        except Exception as error:                      # no memory, or a value whose str() raises
            self.lost += 1
            self.say_once(f"{error!r}")
        free(line.at)
        if self.buffer.size >= ENOUGH:
            self.flush()
        return 0

    cdef int compose(self, Text *line, Record *record) except -1:
        cdef Py_ssize_t i
        for i in range(self.op_count):
            self.put_op(line, self.ops[i], record)
        return 0

    cdef int put_op(self, Text *line, Op op, Record *record) except -1:
        cdef int kind = op.kind
        cdef object operand
        if kind == LITERAL:
            operand = self.operands[op.which]
            return put(line, PyBytes_AS_STRING(operand), PyBytes_GET_SIZE(operand))
        if kind == STAMP:
            return self.put_stamp(line)
        if kind == STATUS:
            return put_number(line, record.status, 1)
        if kind == OCTETS:
            return put_number(line, record.body_octets, 1)
        if kind == SECONDS:
            return put_number(line, record.duration_ns // 1_000_000_000, 1)
        if kind == MILLISECONDS:
            return put_number(line, record.duration_ns // 1_000_000, 1)
        if kind == MICROSECONDS:
            return put_number(line, record.duration_ns // 1000, 1)
        if kind == DECIMAL_SECONDS:
            put_number(line, record.duration_ns // 1_000_000_000, 1)
            put(line, b".", 1)
            return put_number(line, record.duration_ns // 1000 % 1_000_000, 6)
        if kind == PID:
            put(line, b"<", 1)
            put_number(line, getpid(), 1)
            return put(line, b">", 1)
        if kind == HOST:
            return put_str(line, <object>record.peer)
        if kind == VARIABLE:
            return put_str(line, variable(<object>record.environ, self.operands[op.which]))
        if kind == RESPONSE_FIELD:
            return put_str(line, response_field(<object>record.headers, self.operands[op.which]))
        if kind == CONVERTED:
            return self.put_converted(line, self.operands[op.which], record)
        if kind == NOTHING or <object>record.request is None:
            return put(line, b"-", 1)
        return put_of_request(line, kind, self.operands[op.which], <Request>record.request)

    cdef int put_converted(self, Text *line, tuple operand, Record *record) except -1:
        """Let Python do a conversion with flags or a width, on the value as it is."""
        cdef Text value
        cdef Op op
        value.at = NULL
        value.size = value.room = 0
        value.raw = True
        op.kind, op.which = operand[0], operand[1]
        try:
            self.put_op(&value, op, record)
            text = bytes(value.at[:value.size]).decode("latin-1")
        finally:
            free(value.at)
        try:
            converted = operand[2] % (text if operand[2][-1] in "rsa" else int(text) if text.isdigit() else float(text))
        except (ValueError, TypeError, OverflowError):  # "-" is no number
            converted = text
        return put_str(line, converted)

    cdef int put_stamp(self, Text *line) except -1:
        """Append the local time, made once a second; the months are English whatever the locale."""
        cdef time_t now = time(NULL)
        cdef tm parts
        cdef long east
        if now != self.second:
            localtime_r(&now, &parts)
            east = parts.tm_gmtoff // 60
            sign = "-" if east < 0 else "+"
            stamp = (
                f"[{parts.tm_mday:02d}/{MONTHS[parts.tm_mon]}/{parts.tm_year + 1900}:{parts.tm_hour:02d}:"
                f"{parts.tm_min:02d}:{parts.tm_sec:02d} {sign}{abs(east) // 60:02d}{abs(east) % 60:02d}]"
            ).encode("ascii")
            self.stamp_size = min(<Py_ssize_t>len(stamp), <Py_ssize_t>sizeof(self.stamp))
            memcpy(self.stamp, PyBytes_AS_STRING(stamp), <size_t>self.stamp_size)
            self.second = now
        return put(line, self.stamp, self.stamp_size)

    # the file

    cpdef int flush(self) except -1:
        """Write what there is. Never raises, never waits."""
        cdef Py_ssize_t written = 0, done = 0
        cdef long long lost
        while done < self.buffer.size and written >= 0:
            written = self.write_some(done)
            if written > 0:
                done += written
                self.torn = self.buffer.at[done - 1] != c"\n"
        self.buffer.size -= done
        memmove(self.buffer.at, self.buffer.at + done, <size_t>self.buffer.size)
        if self.buffer.size:
            return self.lose(<int>-written)
        self.trim()
        if done and self.failing:
            lost = self.lost
            self.failing = False
            self.lost = 0
            self.say(f"access log: works again, lines lost: {lost}")
        return 0

    cdef Py_ssize_t write_some(self, Py_ssize_t done) noexcept:
        """Write, once, what is behind `done` or as much of it as can't wait; -errno where nothing was.

        done < buffer.size
        """
        cdef Py_ssize_t size = self.buffer.size - done, written
        cdef const char *begin = self.buffer.at + done
        cdef pollfd asked
        if self.may_block:
            asked.fd = self.fd
            asked.events = POLLOUT
            asked.revents = 0
            if poll(&asked, 1, 0) == 0:
                return -EAGAIN
            size = piece_size(begin, size)
        while True:
            written = write(self.fd, begin, <size_t>size)
            if written > 0:
                return written
            if written == 0:
                return -EAGAIN
            if errno != EINTR:
                return -errno

    cdef int lose(self, int error) except -1:
        """What can't be written stays, for a reader that only sleeps and up to a bound; else it is lost."""
        if error == EAGAIN and self.buffer.size < LARGEST_BUFFER:
            return 0
        self.lost += count_lines(self.buffer.at, self.buffer.size)
        self.buffer.size = 0
        if self.torn:
            put(&self.buffer, b"\n", 1)                 # there is room: it held more
        self.trim()
        return self.say_once(os.strerror(error))

    cdef int trim(self) except -1:
        """Give back the memory of a buffer that was large."""
        if self.buffer.size == 0 and self.buffer.room > 2 * ENOUGH:
            free(self.buffer.at)
            self.buffer.at = NULL
            self.buffer.room = 0
        return 0

    cdef int say_once(self, str reason) except -1:
        if not self.failing:
            self.failing = True
            self.say(f"access log: lines are lost: {reason}")
        return 0

    cdef int say(self, str text) except -1:
        try:
            self.complain(text)
        except Exception:                               # a log must not take a request down
            pass
        return 0

    def reopen(self):
        """Go on in a new file where the old one was moved away; in the old one where that fails."""
        self.flush()
        if self.path == "-":
            return
        try:
            fresh = open_file(self.path)
            os.dup2(fresh, self.fd, inheritable=False)
            os.close(fresh)
        except OSError as error:
            self.say(f"cannot reopen the access log {self.path}: {error.strerror}")
            return
        self.may_block = may_block(self.fd)

    def chown(self, int uid, int gid):
        """Give the file to the workers' user, who must be able to reopen it."""
        if self.path == "-":
            return
        try:
            os.fchown(self.fd, uid, gid)
        except OSError as error:
            self.say(f"cannot give the access log {self.path} to user {uid}: {error.strerror}")

    def close(self):
        """Write what there is and close the file."""
        self.flush()
        if self.path != "-" and self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    # faces of the compiled doors: for a server that is not ours, and for tests

    def record(self, Request request, peer, int status, long long body_octets, long long duration_ns,
               environ=None, response_headers=None):
        self.add(request, peer, status, body_octets, duration_ns, environ, response_headers)

    @property
    def buffered_size(self):
        return self.buffer.size


cdef Py_ssize_t piece_size(const char *p, Py_ssize_t size) noexcept:
    """How much of p[:size] a pipe takes at once: whole lines, where the first is not too long."""
    cdef Py_ssize_t i
    if size <= PIECE:
        return size
    for i in range(PIECE - 1, -1, -1):
        if p[i] == c"\n":
            return i + 1
    return PIECE


cdef long long count_lines(const char *p, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    cdef long long lines = 0
    for i in range(size):
        lines += p[i] == c"\n"
    return lines


# --- atoms -----------------------------------------------------------------------

cdef tuple atom(str name):
    """The kind and the operand of an atom; one that nobody knows is "-", as in Gunicorn."""
    inside = name[1:-2].lower()
    if name in ("f", "a"):
        return FIELD, b"referer" if name == "f" else b"user-agent"
    if name[:1] != "{" or name[-2:-1] != "}":
        return ATOMS.get(name, NOTHING), None
    if name[-1] == "i":
        return FIELD, inside.encode("latin-1", "replace")
    if name[-1] == "o":
        return RESPONSE_FIELD, inside
    if name[-1] == "e":
        return VARIABLE, (name[1:-2], inside.upper(), inside)
    return NOTHING, None


cdef int put_of_request(Text *line, int kind, object operand, Request request) except -1:
    """Append what the head says."""
    cdef const octet *head = <const octet *>PyBytes_AS_STRING(request.head)
    cdef const octet *found
    cdef Py_ssize_t size = 0
    cdef bytes path
    if kind == REQUEST_LINE:
        found = <const octet *>memchr(head, c"\r", <size_t>PyBytes_GET_SIZE(request.head))
        return put_value(line, head, 0 if found == NULL else found - head)
    if kind == METHOD:
        return put_value(line, head, request.parts.at - 1 if request.parts.at else 0)    # a space is before the target
    if kind == QUERY:
        return put_value(line, head + request.parts.query, request.parts.query_size)
    if kind == PROTOCOL:
        return put(line, b"HTTP/1.1" if request.minor else b"HTTP/1.0", 8)
    if kind == PATH:
        path = request.decoded_path()
        return put_value(line, <const octet *>PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path))
    if kind == USER:
        found = request.find(<const octet *>b"authorization", 13, &size)
        return put(line, b"-", 1) if found == NULL else put_str(line, user(bytes(found[:size])))
    # FIELD: the operand is bytes
    found = request.find(<const octet *>PyBytes_AS_STRING(operand), PyBytes_GET_SIZE(operand), &size)
    return put(line, b"-", 1) if found == NULL else put_value(line, found, size)


cdef object user(bytes credentials):
    """The name in credentials of Basic authentication; None: there is none."""
    scheme, _, token = credentials.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(token.strip(), validate=True).partition(b":")[0].decode("utf-8")
    except ValueError:                                  # no base64, no UTF-8
        return None


cdef object variable(object environ, tuple keys):
    """The environ variable of that name, spelt as the format has it or in one case."""
    if environ is None:
        return None
    for key in keys:
        if key in environ:
            return environ[key]
    return None


cdef object response_field(object headers, str wanted):
    """The value of the last response field of that lower-case name."""
    found = None
    for name, value in headers or ():
        if isinstance(name, bytes):
            name, value = name.decode("latin-1"), value.decode("latin-1")
        if name.lower() == wanted:
            found = value
    return found


# --- files -----------------------------------------------------------------------

cdef int open_file(str path) except -1:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


cdef bint may_block(int fd) except -1:
    """Whether a write can wait for a reader: pipes, sockets and terminals, not files."""
    try:
        return not stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False
