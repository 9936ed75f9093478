# cython: language_level=3, wraparound=False, boundscheck=False, initializedcheck=False, auto_pickle=False
"""HTTP/1.0 and 1.1 requests: bytes in, `Request` objects and body octets out.

**Strategy.** A `Connection` keeps what it was fed in one block of memory that
exists only while it holds something. A head is read line by line: a line is looked
at once, when its LF is there, so a head costs linear time however it arrives, and
the first wrong line is refused without waiting for the rest. What is learnt is
kept as offsets (`Field`, `Target`); the head itself becomes one bytes object, and
strings are made from it only when someone asks (`environ`, `scope`, `field`, ...).
Bodies are decoded inside the block and leave it in as few bytes objects as the
block allows, so that many small chunks cost no object each.

**One reading.** Whatever two servers could read in two ways is refused by raising
a `ProtocolError`; the same octets are refused with the same status however they
were cut into pieces, because the checks of one line come in a fixed order: size,
line end, content. After a refusal nothing more is read.

**Pure.** Nothing here knows a socket, a clock, a log, a thread or a configuration.

**Memory.** A pointer into the block is valid until the block grows or is freed,
which only `reserve` and `release` do; no function holds one over a call of either.
While one is held no foreign code runs: what is made meanwhile (bytes, str, Request)
is of no concern to the garbage collector, and an error is raised as the last thing.
Each access is within `data[start:end]`; where that is not plain from the line
itself, a comment says why. Offsets are 32 bits wide: `Limits` keeps a head below
2**30 octets. The tables of this module are filled while it is imported and only
read afterwards.

RFC 9112 is the grammar; docs/http-policy.md says where Canter is stricter.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Copy, PyDict_GetItem, PyDict_SetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.limits cimport LLONG_MAX
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, memmove

cimport cython

from sys import intern

from canter.errors import (
    BadRequest,
    ClientDisconnected,
    ContentTooLarge,
    ExpectationFailed,
    FieldsTooLarge,
    NotImplementedByServer,
    ProtocolError,
    UriTooLong,
    VersionNotSupported,
)

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

ctypedef unsigned char octet
ctypedef const octet *octets

# --- classes of octets -----------------------------------------------------------

cdef enum:
    TOKEN = 1           # RFC 9110 5.6.2 tchar
    VISIBLE = 2         # 0x21-0x7E, what a target may be made of
    REG_NAME = 4        # RFC 3986 unreserved / sub-delims (percent escapes are read apart)
    HEXDIG = 8

cdef octet[256] CLASS   # bits of the enum above
cdef octet[256] LOWER   # ASCII letters to lower case, the rest as it is
cdef octet[256] UPPER   # ASCII letters to upper case and "-" to "_": a name as environ spells it
cdef octet[256] DIGIT   # the value of a hex digit


def _fill_classes():
    letters = "abcdefghijklmnopqrstuvwxyz"
    alphanumeric = letters + letters.upper() + "0123456789"
    members = {
        TOKEN: alphanumeric + "!#$%&'*+-.^_`|~",
        VISIBLE: "".join(map(chr, range(0x21, 0x7F))),
        REG_NAME: alphanumeric + "-._~" + "!$&'()*+,;=",
        HEXDIG: "0123456789abcdefABCDEF",
    }
    for bit, characters in members.items():
        for character in characters:
            CLASS[<octet>ord(character)] |= <octet>bit
    for code in range(256):
        character = chr(code)
        LOWER[<octet>code] = ord(character.lower()) if character in alphanumeric else code
        UPPER[<octet>code] = ord("_" if character == "-" else character.upper()) if code < 128 else code
    for character in members[HEXDIG]:
        DIGIT[<octet>ord(character)] = int(character, 16)


_fill_classes()


cdef bint is_token(const octet *p, Py_ssize_t size) noexcept:
    """Whether p[:size] is a token (RFC 9110 5.6.2)."""
    cdef Py_ssize_t i
    for i in range(size):
        if not CLASS[p[i]] & TOKEN:
            return False
    return size > 0


cdef enum:
    WORD = 8            # octets that are looked at in one step

cdef extern from *:
    """
    #define CANTER_EACH 0x0101010101010101ULL
    """
    const uint64_t EACH "CANTER_EACH"       # times a number below 256: it in each octet of a word


cdef inline uint64_t word(const octet *p) noexcept:
    """The octets p[:WORD]."""
    cdef uint64_t octets
    memcpy(&octets, p, WORD)
    return octets


cdef inline uint64_t below_space(uint64_t octets) noexcept:
    """Not 0 where any octet of the word is below 0x20: taking 0x20 from it sets a top bit it did not have."""
    return (octets - EACH * 0x20) & ~octets & (EACH * 0x80)


cdef inline uint64_t odd(uint64_t octets) noexcept:
    """Not 0 where any octet of the word is a CTL; DEL is what becomes 0, hence below 1, by the exclusive or."""
    cdef uint64_t deletes = octets ^ (EACH * 0x7F)
    return below_space(octets) | ((deletes - EACH) & ~deletes & (EACH * 0x80))


cdef bint has_control(const octet *p, Py_ssize_t size) noexcept:
    """Whether p[:size] has a CTL that no field value may hold (any but HTAB).

    By words first, the last of which may overlap the one before: most values have no
    CTL at all.
    """
    cdef Py_ssize_t i = 0
    cdef uint64_t found = 0
    if size >= WORD:
        while i <= size - WORD:
            found |= odd(word(p + i))
            i += WORD
        found |= odd(word(p + size - WORD))
        if found == 0:
            return False
    for i in range(size):
        if (p[i] < 0x20 and p[i] != c"\t") or p[i] == 0x7F:
            return True
    return False


cdef inline bint same_word(const octet *p, const octet *lower) noexcept:
    """Whether p[:WORD], in any case, is lower[:WORD], which holds lower-case letters, digits and "-" alone.

    The bit 0x20 makes a letter lower-case. It also turns octets below 0x20 into
    digits and "-", so these must not be there.
    """
    cdef uint64_t octets = word(p)
    return (octets | (EACH * 0x20)) == word(lower) and below_space(octets) == 0


cdef bint same_name(const octet *p, const octet *lower, Py_ssize_t size) noexcept:
    """Whether p[:size], in any case, is the lower-case name lower[:size]."""
    cdef Py_ssize_t i
    for i in range(size):
        if LOWER[p[i]] != lower[i]:
            return False
    return True


cdef inline bint same_known_name(const octet *p, const octet *lower, Py_ssize_t size) noexcept:
    """The same for a name of letters, digits and "-" alone, by words where it has one."""
    cdef Py_ssize_t i = 0
    if size < WORD:
        return same_name(p, lower, size)
    while i <= size - WORD:
        if not same_word(p + i, lower + i):
            return False
        i += WORD
    return same_word(p + size - WORD, lower + size - WORD)


cdef str shown(const octet *p, Py_ssize_t size):
    """The octets for a log line: quoted, escaped, short."""
    cdef bytes head = PyBytes_FromStringAndSize(<const char *>p, min(size, 60))
    return ascii(head)[1:] + ("..." if size > 60 else "")


# --- known field names -----------------------------------------------------------

cdef enum:              # kinds of fields: places in KEYS and NAMES, in this order
    UNKNOWN             # no name this module knows: its environ key is made when asked for
    HIDDEN              # a name with "_", or Proxy: nobody but field() sees it
    HOST
    CONTENT_LENGTH
    CONTENT_TYPE
    AUTHORIZATION
    TRANSFER_ENCODING
    CONNECTION
    EXPECT
    COOKIE
    FIRST_FORWARDING    # from here on: names that may tell of a client behind a proxy
    FIRST_PLAIN = FIRST_FORWARDING + 9  # from here on: names without a rule, known for their environ key

cdef enum:
    KINDS = 128         # places for kinds
    SLOTS = 512         # places of the hash table: a power of two, far more than kinds
    ONLY_ONCE = 1 << HOST | 1 << CONTENT_LENGTH | 1 << CONTENT_TYPE | 1 << AUTHORIZATION

cdef list KEYS = []                 # by kind: the environ key
cdef list NAMES = []                # by kind: the lower-case name, bytes
cdef octets[KINDS] NAME              # by kind: the octets of NAMES[kind], which lives as long as the module
cdef Py_ssize_t[KINDS] NAME_SIZE    # by kind: their number
cdef octet[SLOTS] SLOT              # by hash: the kind, 0 where free
cdef bint[KINDS] NO_TRAILER         # by kind: would change framing, routing or meaning if it came late


cdef inline unsigned int slot_of(const octet *p, Py_ssize_t size) noexcept:
    """Hash of a name that is not empty: its size and three of its octets, in any case."""
    # size >= 1, so 0, size // 2 and size - 1 are all inside p[:size]
    return (<unsigned int>size * 37 + LOWER[p[0]] * 7 + LOWER[p[size >> 1]] * 89
            + LOWER[p[size - 1]] * 29) & (SLOTS - 1)


def _fill_names():
    cdef bytes name
    cdef unsigned int slot
    ruled = (
        "host content-length content-type authorization transfer-encoding connection expect cookie"
    )
    forwarding = (
        "forwarded x-forwarded-for x-forwarded-proto x-forwarded-protocol x-forwarded-scheme x-forwarded-ssl"
        " x-url-scheme x-scheme front-end-https"
    )
    plain = (
        "accept accept-charset accept-encoding accept-language access-control-request-headers"
        " access-control-request-method baggage cache-control cdn-loop cf-connecting-ip cf-ipcountry"
        " cf-ray cf-visitor content-disposition content-encoding content-language content-location"
        " content-md5 content-range date depth destination dnt from if-match if-modified-since if-none-match"
        " if-range if-unmodified-since keep-alive last-event-id max-forwards origin overwrite pragma"
        " priority proxy-authorization proxy-connection range referer save-data sec-ch-ua"
        " sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site"
        " sec-fetch-user sec-gpc sec-purpose sec-websocket-extensions sec-websocket-key"
        " sec-websocket-protocol sec-websocket-version te traceparent tracestate trailer true-client-ip"
        " upgrade upgrade-insecure-requests user-agent via x-amzn-trace-id x-api-key x-csrf-token"
        " x-csrftoken x-forwarded-host x-forwarded-port x-forwarded-prefix x-real-ip x-request-id"
        " x-requested-with"
    )
    no_trailers = (
        f"{ruled} {forwarding} te trailer upgrade keep-alive proxy-connection proxy-authorization"
        " max-forwards content-encoding content-range x-forwarded-host x-forwarded-port"
    )
    KEYS.extend(("", ""))                   # UNKNOWN, HIDDEN
    NAMES.extend((b"", b"proxy"))
    for text in f"{ruled} {forwarding} {plain}".split():
        key = text.upper().replace("-", "_")
        KEYS.append(intern(key if text in ("content-length", "content-type") else "HTTP_" + key))
        NAMES.append(text.encode())
    if len(NAMES) > KINDS or NAMES.index(b"accept") != FIRST_PLAIN:
        raise SystemError("the enum of kinds does not fit the names")
    for kind in range(HIDDEN, len(NAMES)):
        name = NAMES[kind]
        NAME[kind] = <const octet *>PyBytes_AS_STRING(name)
        NAME_SIZE[kind] = PyBytes_GET_SIZE(name)
        slot = slot_of(NAME[kind], NAME_SIZE[kind])
        while SLOT[slot]:
            slot = (slot + 1) & (SLOTS - 1)
        SLOT[slot] = kind
    for text in no_trailers.split():
        NO_TRAILER[<int>NAMES.index(text.encode())] = True


_fill_names()

# Of the names that Request.forwarded tells of, those without "_".
FORWARDING = frozenset(NAMES[FIRST_FORWARDING:FIRST_PLAIN])


cdef int kind_of(const octet *p, Py_ssize_t size) noexcept:
    """The kind of a name that is not empty."""
    cdef unsigned int slot = slot_of(p, size)
    cdef int kind = SLOT[slot]
    while kind:                             # ends: KINDS < SLOTS, so there is a free slot
        if NAME_SIZE[kind] == size and same_known_name(p, NAME[kind], size):
            return kind
        slot = (slot + 1) & (SLOTS - 1)
        kind = SLOT[slot]
    if memchr(p, c"_", size) != NULL:
        return HIDDEN
    return UNKNOWN


# --- limits ----------------------------------------------------------------------

cdef enum:
    MOST_FIELDS = 32768                 # Gunicorn's, too
    LARGEST_HEAD = 1 << 30              # keeps every offset inside 32 bits
    LARGEST_CHUNK_LINE = 16 + 1 + 255   # hex digits; ";" and an extension that nobody reads
    CHUNK_DIGITS = 16                   # as many as a 64-bit number has
    SMALLEST_ROOM = 256


cdef class Limits:
    """What one request may take up. Sizes are octets without the CRLF of the line; 0 is no limit of
    its own for a request line, a field and a body, and the most there may be for fields.

    The defaults are Gunicorn's (4094, 100, 8190) and, for the head as a whole and
    for trailers, what Apache and nginx allow in the same order of magnitude. A head
    has at least room for one request line and one field line of the largest sizes.
    """

    def __init__(
        self,
        Py_ssize_t request_line=4094,
        Py_ssize_t fields=100,
        Py_ssize_t field_size=8190,
        Py_ssize_t head=65536,
        long long body=0,
        Py_ssize_t trailers=8192,
    ):
        if min(request_line, fields, field_size, head, trailers) < 0 or body < 0:
            raise ValueError("a limit can't be negative")
        if max(request_line, field_size, head, trailers) > LARGEST_HEAD // 4:
            raise ValueError(f"a limit of the head can't be above {LARGEST_HEAD // 4} octets")
        self.request_line = request_line
        self.fields = min(fields or MOST_FIELDS, MOST_FIELDS)
        self.field_size = field_size
        self.head = max(head, request_line + field_size + 6)     # two CRLF, and the empty line's
        self.body = body
        self.trailers = trailers


# --- the parts of a head ---------------------------------------------------------

cdef int read_request_line(Request request, const octet *p, Py_ssize_t size) except -1:
    """Read p[:size], the request line without its CRLF, at offset 0 of the head."""
    cdef Py_ssize_t space = 0, target, stop
    while space < size and CLASS[p[space]] & TOKEN:
        space += 1
    if space == 0 or space == size or p[space] != c" ":
        raise BadRequest(f"no method and target: {shown(p, size)}")
    target = space + 1
    stop = target
    while stop < size and CLASS[p[stop]] & VISIBLE:
        stop += 1
    if stop == target or stop == size or p[stop] != c" ":
        raise BadRequest(f"the target is not visible ASCII between two spaces: {shown(p, size)}")
    read_version(request, p + stop + 1, size - stop - 1)        # stop < size
    request.method = method_name(p, space)
    request.parts.at = <uint32_t>target
    request.parts.size = <uint32_t>(stop - target)
    return read_target(request, p)


cdef int read_version(Request request, const octet *p, Py_ssize_t size) except -1:
    if size != 8 or memcmp(p, b"HTTP/", 5) != 0 or p[6] != c".":
        raise BadRequest(f"no HTTP version: {shown(p, size)}")
    if p[5] == c"1" and (p[7] == c"1" or p[7] == c"0"):
        request.minor = p[7] - c"0"
        request.keep_alive = request.minor == 1
        return 0
    if c"2" <= p[5] <= c"9" and c"0" <= p[7] <= c"9":
        raise VersionNotSupported(f"not a version of HTTP/1: {shown(p, size)}")
    raise BadRequest(f"no known HTTP version: {shown(p, size)}")


cdef str method_name(const octet *p, Py_ssize_t size):
    """The method as a string; the common ones are not made anew."""
    if size == 3:
        if memcmp(p, b"GET", 3) == 0:
            return "GET"
        if memcmp(p, b"PUT", 3) == 0:
            return "PUT"
    elif size == 4:
        if memcmp(p, b"POST", 4) == 0:
            return "POST"
        if memcmp(p, b"HEAD", 4) == 0:
            return "HEAD"
    elif size == 5 and memcmp(p, b"PATCH", 5) == 0:
        return "PATCH"
    elif size == 6 and memcmp(p, b"DELETE", 6) == 0:
        return "DELETE"
    elif size == 7 and memcmp(p, b"OPTIONS", 7) == 0:
        return "OPTIONS"
    return PyUnicode_DecodeLatin1(<const char *>p, size, NULL)


cdef int read_target(Request request, const octet *head) except -1:
    """Tell the form of the target (RFC 9112 3.2) and find its parts."""
    cdef Target *parts = &request.parts
    cdef const octet *p = head + parts.at
    if request.method == "CONNECT":
        check_authority(p, parts.size, True)
        raise NotImplementedByServer("CONNECT")
    if memchr(p, c"#", parts.size) != NULL:
        raise BadRequest(f"a target with a fragment: {shown(p, parts.size)}")
    if p[0] == c"/":                        # the target is not empty
        return split_path(parts, head, parts.at)
    if p[0] == c"*" and parts.size == 1:
        if request.method != "OPTIONS":
            raise BadRequest(f"the target * with the method {request.method}")
        return split_path(parts, head, parts.at)
    return read_absolute(parts, head)


cdef int split_path(Target *parts, const octet *head, uint32_t path) except -1:
    """Note the path, which begins at that offset inside the target, and the query."""
    cdef uint32_t stop = parts.at + parts.size
    cdef const octet *mark = <const octet *>memchr(head + path, c"?", stop - path)
    parts.path = path
    if mark == NULL:
        parts.path_size = stop - path
        return 0
    parts.path_size = <uint32_t>(mark - head) - path
    parts.query = path + parts.path_size + 1
    parts.query_size = stop - parts.query
    return 0


cdef int read_absolute(Target *parts, const octet *head) except -1:
    """Read an absolute target, http or https: scheme "://" authority [path] [query]."""
    cdef const octet *p = head + parts.at
    cdef Py_ssize_t size = parts.size, authority, stop
    if size > 7 and same_name(p, <const octet *>b"http://", 7):
        authority = 7
    elif size > 8 and same_name(p, <const octet *>b"https://", 8):
        authority = 8
    else:
        raise BadRequest(f"neither a path nor an http address: {shown(p, size)}")
    stop = authority
    while stop < size and p[stop] != c"/" and p[stop] != c"?":
        stop += 1
    check_authority(p + authority, stop - authority, False)
    parts.authority = parts.at + <uint32_t>authority
    parts.authority_size = <uint32_t>(stop - authority)
    return split_path(parts, head, parts.at + <uint32_t>stop)


cdef int check_authority(const octet *p, Py_ssize_t size, bint with_port) except -1:
    """Hold p[:size] to RFC 3986: a reg-name or an IP literal, with an optional port.

    Userinfo has no place in it, and a host that is empty is no host.
    """
    cdef Py_ssize_t i = 0
    if size and p[0] == c"[":
        i = literal_size(p, size)
    else:
        i = reg_name_size(p, size)
    if i <= 0:
        raise BadRequest(f"no host: {shown(p, size)}")
    if i == size:
        if with_port:
            raise BadRequest(f"an authority without a port: {shown(p, size)}")
        return 0
    if p[i] != c":" or not is_port(p + i + 1, size - i - 1):     # i < size
        raise BadRequest(f"no host and port: {shown(p, size)}")
    return 0


cdef Py_ssize_t reg_name_size(const octet *p, Py_ssize_t size) noexcept:
    """How far p[:size] is a reg-name."""
    cdef Py_ssize_t i = 0
    while i < size:
        if CLASS[p[i]] & REG_NAME:
            i += 1
        elif p[i] == c"%" and i + 2 < size and CLASS[p[i + 1]] & CLASS[p[i + 2]] & HEXDIG:
            i += 3
        else:
            break
    return i


cdef bint is_port(const octet *p, Py_ssize_t size) noexcept:
    """Digits of a port, or none (RFC 3986 3.2.3)."""
    cdef Py_ssize_t i
    cdef long port = 0
    if size > 5:
        return False
    for i in range(size):
        if not c"0" <= p[i] <= c"9":
            return False
        port = port * 10 + (p[i] - c"0")
    return port <= 65535


cdef Py_ssize_t literal_size(const octet *p, Py_ssize_t size) noexcept:
    """The size of the IP literal that p[:size] begins with "[" ; 0: it is none."""
    cdef const octet *close = <const octet *>memchr(p, c"]", size)
    cdef Py_ssize_t inside
    if close == NULL:
        return 0
    inside = close - p - 1                  # p[0] is "[", so close > p
    if inside and LOWER[p[1]] == c"v":
        return inside + 2 if is_future_address(p + 1, inside) else 0
    return inside + 2 if is_ipv6(p + 1, inside) else 0


cdef bint is_future_address(const octet *p, Py_ssize_t size) noexcept:
    """IPvFuture: "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )."""
    cdef Py_ssize_t i = 1, rest
    while i < size and CLASS[p[i]] & HEXDIG:
        i += 1
    if i == 1 or i == size or p[i] != c".":
        return False
    i += 1
    rest = i
    while i < size and (CLASS[p[i]] & REG_NAME or p[i] == c":"):
        i += 1
    return i == size and i > rest


cdef bint is_ipv6(const octet *p, Py_ssize_t size) noexcept:
    """IPv6address: eight groups, or fewer around one "::"; the last two may be an IPv4 address."""
    cdef Py_ssize_t i = 0, group
    cdef int groups = 0
    cdef bint gap = False
    if size >= 2 and p[0] == c":" and p[1] == c":":
        gap = True
        i = 2
    while i < size:
        group = i
        while i < size and CLASS[p[i]] & HEXDIG:
            i += 1
        if i < size and p[i] == c".":
            if not is_ipv4(p + group, size - group):
                return False
            groups += 2
            break
        if i == group or i - group > 4:
            return False
        groups += 1
        if i == size:
            break
        if p[i] != c":" or i + 1 == size:
            return False
        i += 1
        if p[i] == c":":                    # i < size: looked at above
            if gap:
                return False
            gap = True
            i += 1
    return groups <= 7 if gap else groups == 8


cdef bint is_ipv4(const octet *p, Py_ssize_t size) noexcept:
    """Four numbers up to 255, without leading zeros."""
    cdef Py_ssize_t i = 0, begin
    cdef int number, part
    for part in range(4):
        if part:
            if i == size or p[i] != c".":
                return False
            i += 1
        begin = i
        number = 0
        while i < size and i - begin < 4 and c"0" <= p[i] <= c"9":
            number = number * 10 + (p[i] - c"0")
            i += 1
        if i == begin or number > 255 or (i - begin > 1 and p[begin] == c"0"):
            return False
    return i == size


cdef int read_field(Field *line, const octet *data, Py_ssize_t at, Py_ssize_t stop) except -1:
    """Read data[at:stop], a field line without its CRLF and not empty; offsets count from data."""
    cdef const octet *found = <const octet *>memchr(data + at, c":", <size_t>(stop - at))
    cdef Py_ssize_t colon = stop if found == NULL else found - data
    cdef Py_ssize_t begin = colon + 1, end = stop
    cdef int kind = UNKNOWN if colon == at or found == NULL else kind_of(data + at, colon - at)
    if found == NULL or (kind <= HIDDEN and not is_token(data + at, colon - at)):   # a known name is a token
        raise BadRequest(f"no field name and colon: {shown(data + at, stop - at)}")
    while begin < stop and (data[begin] == c" " or data[begin] == c"\t"):
        begin += 1
    while end > begin and (data[end - 1] == c" " or data[end - 1] == c"\t"):
        end -= 1
    if has_control(data + begin, end - begin):
        raise BadRequest(f"a control octet in a field: {shown(data + at, stop - at)}")
    line.name = <uint32_t>at
    line.name_size = <uint32_t>(colon - at)
    line.value = <uint32_t>begin
    line.value_size = <uint32_t>(end - begin)
    line.kind = kind
    return 0


cdef int heed(Request request, Field *line, const octet *head) except -1:
    """Apply the rules of the field's name, if it has any."""
    cdef const octet *value = head + line.value
    cdef Py_ssize_t size = line.value_size
    cdef unsigned int bit
    if line.kind >= FIRST_PLAIN or line.kind == UNKNOWN:
        return 0
    if line.kind >= FIRST_FORWARDING or line.kind == HIDDEN:
        request.forwarded = True
        return 0
    bit = 1u << line.kind
    if request.seen & bit & ONLY_ONCE:
        raise BadRequest(f"{NAMES[line.kind].decode()} more than once")
    request.seen |= bit
    if line.kind == HOST:
        if size:
            check_authority(value, size, False)
        elif request.parts.authority_size:
            raise BadRequest("an empty Host, and a target that names one")
    elif line.kind == CONTENT_LENGTH:
        request.content_length = read_length(value, size)
    elif line.kind == CONNECTION:
        heed_connection(request, value, size)
    elif line.kind == EXPECT:
        if size == 12 and same_name(value, <const octet *>b"100-continue", 12):
            request.expect_continue = True
        else:
            request.odd_expectation = True
    return 0


cdef long long read_length(const octet *p, Py_ssize_t size) except -1:
    """A Content-Length: digits alone, below 2**63."""
    cdef long long length = 0
    cdef Py_ssize_t i
    if size == 0:
        raise BadRequest("an empty Content-Length")
    for i in range(size):
        if not c"0" <= p[i] <= c"9":
            raise BadRequest(f"Content-Length is not digits alone: {shown(p, size)}")
        if length > (LLONG_MAX - (p[i] - c"0")) // 10:
            raise BadRequest(f"Content-Length is above 63 bits: {shown(p, size)}")
        length = length * 10 + (p[i] - c"0")
    return length


cdef int heed_connection(Request request, const octet *p, Py_ssize_t size) except -1:
    """Look for the two options that decide whether the connection is kept."""
    cdef Py_ssize_t at = 0, stop
    while at < size:
        stop = item_stop(p, at, size)
        if stop - at == 5 and same_name(p + at, <const octet *>b"close", 5):
            request.asks_close = True
        elif stop - at == 10 and same_name(p + at, <const octet *>b"keep-alive", 10):
            request.asks_keep_alive = True
        at = next_item(p, stop, size)
    return 0


cdef Py_ssize_t item_stop(const octet *p, Py_ssize_t at, Py_ssize_t size) noexcept:
    """Where the list item that begins at p[at] ends: before white space or a comma."""
    while at < size and p[at] != c"," and p[at] != c" " and p[at] != c"\t":
        at += 1
    return at


cdef Py_ssize_t next_item(const octet *p, Py_ssize_t at, Py_ssize_t size) noexcept:
    """Where the next list item begins, past white space and commas."""
    while at < size and (p[at] == c"," or p[at] == c" " or p[at] == c"\t"):
        at += 1
    return at


cdef int heed_codings(Request request, const octet *head) except -1:
    """Hold the Transfer-Encoding fields, taken as one list, to `chunked`, once and alone."""
    cdef bint chunked = False, others = False
    cdef Py_ssize_t i, at, stop, size
    cdef const octet *p
    if request.minor == 0:
        raise BadRequest("Transfer-Encoding on HTTP/1.0")
    if request.content_length >= 0:
        raise BadRequest("Transfer-Encoding and Content-Length")
    for i in range(request.count):
        if request.lines[i].kind != TRANSFER_ENCODING:
            continue
        p = head + request.lines[i].value
        size = request.lines[i].value_size
        at = 0
        while True:
            stop = item_stop(p, at, size)
            if not is_token(p + at, stop - at):
                raise BadRequest(f"no list of transfer codings: {shown(p, size)}")
            if chunked:
                raise BadRequest(f"a transfer coding after chunked: {shown(p, size)}")
            if stop - at == 7 and same_name(p + at, <const octet *>b"chunked", 7):
                chunked = True
            elif stop - at == 8 and same_name(p + at, <const octet *>b"identity", 8):
                raise BadRequest("the transfer coding identity")
            else:
                others = True
            if stop == size:
                break
            at = comma(p, stop, size)
    if not chunked:
        raise BadRequest("chunked is not the last transfer coding")
    if others:
        raise NotImplementedByServer("a transfer coding other than chunked")
    request.chunked = True
    return 0


cdef Py_ssize_t comma(const octet *p, Py_ssize_t at, Py_ssize_t size) except -1:
    """Where the list item behind the one comma begins, white space skipped; p[at:size] is not empty."""
    while at < size and (p[at] == c" " or p[at] == c"\t"):
        at += 1
    if at == size or p[at] != c",":
        raise BadRequest(f"no list: {shown(p, size)}")
    at += 1
    while at < size and (p[at] == c" " or p[at] == c"\t"):
        at += 1
    return at


# --- what came of it -------------------------------------------------------------

@cython.freelist(64)
@cython.no_gc
cdef class Request:
    """One request head. Made by `Connection.next_request`; every offset is into `head`.

    The strings are latin-1, as PEP 3333 wants them.
    """

    def __cinit__(self):
        self.head = b""
        self.method = ""
        self.content_length = -1
        self.lines = self.inline_lines
        self.room = INLINE_FIELDS

    def __dealloc__(self):
        if self.lines != self.inline_lines:
            free(self.lines)

    cdef int add(self, Field *line) except -1:
        cdef Field *larger
        if self.count == self.room:         # room is at most 2 * MOST_FIELDS
            larger = <Field *>malloc(<size_t>self.room * 2 * sizeof(Field))
            if larger == NULL:
                raise MemoryError()
            memcpy(larger, self.lines, <size_t>self.count * sizeof(Field))
            if self.lines != self.inline_lines:
                free(self.lines)
            self.lines = larger
            self.room *= 2
        self.lines[self.count] = line[0]
        self.count += 1
        return 0

    cdef inline str text(self, uint32_t at, uint32_t size):
        return PyUnicode_DecodeLatin1(PyBytes_AS_STRING(self.head) + at, size, NULL)

    cdef inline bytes octets(self, uint32_t at, uint32_t size):
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.head) + at, size)

    cpdef dict environ(self, dict base):
        """A WSGI environ: a copy of `base`, completed by what this request says.

        Sets REQUEST_METHOD, RAW_URI, PATH_INFO, QUERY_STRING, SERVER_PROTOCOL, and
        HTTP_*, CONTENT_TYPE, CONTENT_LENGTH for the fields (repeated ones joined).
        `base["SCRIPT_NAME"]` is cut from the path. Raises BadRequest where the path
        does not lie below it.
        """
        cdef dict environ = <dict>PyDict_Copy(base)
        cdef uint64_t once[2]               # kinds already set
        cdef Field *line
        cdef Py_ssize_t i
        cdef str key
        once[0] = once[1] = 0
        PyDict_SetItem(environ, "REQUEST_METHOD", self.method)
        PyDict_SetItem(environ, "SERVER_PROTOCOL", "HTTP/1.1" if self.minor else "HTTP/1.0")
        self.add_path(environ)
        for i in range(self.count):
            line = &self.lines[i]
            if line.kind == HIDDEN or (line.kind == HOST and self.parts.authority_size):
                continue
            if line.kind == UNKNOWN:
                key = environ_key(PyBytes_AS_STRING(self.head) + line.name, line.name_size)
                if PyDict_GetItem(environ, key) != NULL:
                    join(environ, key, self.text(line.value, line.value_size), ", ")
                    continue
            else:
                key = <str>KEYS[line.kind]
                if once[line.kind >> 6] & (<uint64_t>1 << (line.kind & 63)):
                    join(environ, key, self.text(line.value, line.value_size), "; " if line.kind == COOKIE else ", ")
                    continue
                once[line.kind >> 6] |= <uint64_t>1 << (line.kind & 63)
            PyDict_SetItem(environ, key, self.text(line.value, line.value_size))
        if self.parts.authority_size:
            PyDict_SetItem(environ, "HTTP_HOST", self.text(self.parts.authority, self.parts.authority_size))
        return environ

    cdef int add_path(self, dict environ) except -1:
        cdef str target = self.text(self.parts.at, self.parts.size)
        cdef const char *head = PyBytes_AS_STRING(self.head)
        cdef str path
        cdef PyObject *script_at = PyDict_GetItem(environ, "SCRIPT_NAME")
        cdef str script = <str?><object>script_at if script_at != NULL else ""
        PyDict_SetItem(environ, "RAW_URI", target)
        PyDict_SetItem(environ, "QUERY_STRING", self.text(self.parts.query, self.parts.query_size))
        if self.parts.path_size == 0 or memchr(head + self.parts.path, c"%", self.parts.path_size) != NULL:
            path = self.decoded_path().decode("latin-1")
        elif self.parts.path_size == self.parts.size:
            path = target
        else:
            path = self.text(self.parts.path, self.parts.path_size)
        if path == "*":
            path = ""
        elif script:
            if not path.startswith(script) or path[len(script):len(script) + 1] not in ("", "/"):
                raise BadRequest(f"the path {path!r} is not below SCRIPT_NAME {script!r}")
            path = path[len(script):]
        PyDict_SetItem(environ, "PATH_INFO", path)
        return 0

    cdef bytes decoded_path(self):
        """The path without percent escapes; what is no escape stays as it is."""
        cdef Py_ssize_t size = self.parts.path_size, at = 0, made = 0
        cdef const octet *p = <const octet *>PyBytes_AS_STRING(self.head) + self.parts.path
        cdef octet *out
        cdef bytes result
        if size == 0:
            return b"/"
        if memchr(p, c"%", size) == NULL:
            return PyBytes_FromStringAndSize(<const char *>p, size)
        result = PyBytes_FromStringAndSize(NULL, size)
        out = <octet *>PyBytes_AS_STRING(result)
        while at < size:                    # made <= at < size
            if p[at] == c"%" and at + 2 < size and CLASS[p[at + 1]] & CLASS[p[at + 2]] & HEXDIG:
                out[made] = DIGIT[p[at + 1]] << 4 | DIGIT[p[at + 2]]
                at += 3
            else:
                out[made] = p[at]
                at += 1
            made += 1
        return result[:made]

    cpdef dict scope(self, dict base):
        """An ASGI HTTP scope: a copy of `base`, completed by what this request says.

        Sets http_version, method, path, raw_path, query_string and headers: every
        field line in order, as (lower-case name, value), both bytes.
        """
        cdef dict scope = <dict>PyDict_Copy(base)
        cdef bytes raw_path = self.octets(self.parts.path, self.parts.path_size) or b"/"
        PyDict_SetItem(scope, "http_version", "1.1" if self.minor else "1.0")
        PyDict_SetItem(scope, "method", self.method)
        PyDict_SetItem(scope, "path", self.decoded_path().decode("utf-8", "replace"))
        PyDict_SetItem(scope, "raw_path", raw_path)
        PyDict_SetItem(scope, "query_string", self.octets(self.parts.query, self.parts.query_size))
        PyDict_SetItem(scope, "headers", self.raw_headers())
        return scope

    def raw_headers(self, bint hidden=False):
        """Every field line in order, as (lower-case name, value), both bytes.

        `hidden`: those that nobody else sees, too.
        """
        cdef list headers = []
        cdef bytes name
        cdef Field *line
        cdef Py_ssize_t i
        if self.parts.authority_size:
            headers.append((b"host", self.octets(self.parts.authority, self.parts.authority_size)))
        for i in range(self.count):
            line = &self.lines[i]
            if (line.kind == HIDDEN and not hidden) or (line.kind == HOST and self.parts.authority_size):
                continue
            if line.kind == UNKNOWN or line.kind == HIDDEN:
                name = self.octets(line.name, line.name_size).lower()
            else:
                name = <bytes>NAMES[line.kind]
            headers.append((name, self.octets(line.value, line.value_size)))
        return headers

    cpdef bytes field(self, bytes name):
        """The value of the fields of that lower-case name, joined with ", "; None: there is none.

        Sees the names with "_" too, which `environ`, `scope` and `headers` leave out.
        """
        cdef Py_ssize_t size = len(name), i
        cdef const octet *wanted = <const octet *>PyBytes_AS_STRING(name)
        cdef const octet *head = <const octet *>PyBytes_AS_STRING(self.head)
        cdef bytes found = None
        cdef bytes value
        if self.parts.authority_size and name == b"host":
            return self.octets(self.parts.authority, self.parts.authority_size)
        for i in range(self.count):
            if self.lines[i].name_size == <size_t>size and same_name(head + self.lines[i].name, wanted, size):
                value = self.octets(self.lines[i].value, self.lines[i].value_size)
                found = value if found is None else found + b", " + value
        return found

    cdef const octet *find(self, const octet *lower, Py_ssize_t size, Py_ssize_t *found) noexcept:
        cdef const octet *head = <const octet *>PyBytes_AS_STRING(self.head)
        cdef Py_ssize_t i
        for i in range(self.count - 1, -1, -1):
            if self.lines[i].name_size == <size_t>size and same_name(head + self.lines[i].name, lower, size):
                found[0] = self.lines[i].value_size
                return head + self.lines[i].value
        return NULL

    @property
    def target(self):
        """The target as it stands on the request line."""
        return self.text(self.parts.at, self.parts.size)

    @property
    def uri(self):
        """The target, by Gunicorn's name."""
        return self.text(self.parts.at, self.parts.size)

    @property
    def path(self):
        """The path of the target, percent escapes and all."""
        return self.text(self.parts.path, self.parts.path_size) or "/"

    @property
    def query(self):
        """The query of the target without its "?"."""
        return self.text(self.parts.query, self.parts.query_size)

    @property
    def version(self):
        """(1, 0) or (1, 1)."""
        return (1, self.minor)

    @property
    def request_line(self):
        """The request line without its CRLF."""
        cdef Py_ssize_t stop = self.head.find(b"\r")
        return self.text(0, <uint32_t>max(stop, 0))

    @property
    def headers(self):
        """The field lines as Gunicorn's hooks know them: (upper-case name, value), both str."""
        return [(name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in self.raw_headers()]


cdef str environ_key(const char *name, Py_ssize_t size):
    """HTTP_ and the name as environ spells it; the name is a token, hence ASCII."""
    cdef bytes key = PyBytes_FromStringAndSize(NULL, size + 5)
    cdef octet *out = <octet *>PyBytes_AS_STRING(key)
    cdef Py_ssize_t i
    memcpy(out, b"HTTP_", 5)
    for i in range(size):
        out[5 + i] = UPPER[<octet>name[i]]
    return PyUnicode_DecodeLatin1(<const char *>out, size + 5, NULL)


cdef int join(dict environ, str key, str value, str comma) except -1:
    """Append the value of a repeated field."""
    environ[key] = f"{environ[key]}{comma}{value}"
    return 0


# --- a connection ----------------------------------------------------------------

cdef enum:              # states
    HEAD                # the next octets are a head's
    LENGTH              # ... a declared body's
    CHUNK_SIZE          # ... a chunk's size line
    CHUNK_DATA          # ... a chunk's data
    CHUNK_END           # ... the CRLF behind it
    TRAILERS            # ... trailers, and the empty line that ends the body
    REFUSED             # nothing more is read

cdef enum:              # answers of find_line
    INCOMPLETE = -1     # no LF yet, and there may be more octets before it
    TOO_LONG = -2
    BARE_LF = -3


@cython.freelist(64)
@cython.no_gc
cdef class Connection:
    """What one peer sends, as requests. No socket: the caller feeds octets.

    The order is: `next_request` until it gives one; then `next_body` until it gives
    b"" (or `body_done`); then `next_request` again. Either says None where more
    octets must be fed first. After a ProtocolError the connection takes in nothing
    more. After the end of input (`eof`) None means that nothing will come.
    """

    def __cinit__(self, Limits limits not None):
        self.limits = limits
        self.body_done = True

    def __dealloc__(self):
        free(self.data)

    # the block of memory

    cdef int feed_raw(self, const char *data, Py_ssize_t size) except -1:
        """Take in a copy of data[:size]; size 0 is the end of input."""
        if size == 0:
            self.eof = True
            return 0
        if self.state == REFUSED:
            return 0
        self.reserve(size)
        memcpy(self.data + self.end, data, <size_t>size)         # reserve made the room
        self.end += size
        self.started = self.body_done
        return 0

    def feed(self, bytes data not None):
        """Take in a copy of `data`; b"" is the end of input."""
        self.feed_raw(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int reserve(self, Py_ssize_t size) except -1:
        """Make room for `size` octets behind what is held.

        Moves what is held only where as much was consumed or room doubles: so the
        cost of all moves stays linear in what is fed.
        """
        cdef Py_ssize_t held = self.end - self.start, room
        cdef char *data
        if size <= self.room - self.end:
            return 0
        if self.start >= held and size <= self.room - held:
            memcpy(self.data, self.data + self.start, <size_t>held)      # start >= held: no overlap
            self.start = 0
            self.end = held
            return 0
        if size > (PY_SSIZE_T_MAX >> 1) - held:
            raise MemoryError()
        room = max(held + size, SMALLEST_ROOM if self.data == NULL else 2 * held)
        data = <char *>malloc(<size_t>room)
        if data == NULL:
            raise MemoryError()
        if held:
            memcpy(data, self.data + self.start, <size_t>held)
        free(self.data)
        self.data = data
        self.start = 0
        self.end = held
        self.room = room
        return 0

    cdef void release(self) noexcept:
        """Forget all that is held, and its memory."""
        free(self.data)
        self.data = NULL
        self.start = self.end = self.room = 0

    cdef void settle(self) noexcept:
        """After octets were consumed: free an empty block, say whether a head has begun."""
        if self.start == self.end:
            self.release()
        self.started = self.body_done and self.end > self.start

    cdef void refuse(self) noexcept:
        self.state = REFUSED
        self.pending = None
        self.body_done = True
        self.release()
        self.started = False

    cdef Py_ssize_t find_line(self, Py_ssize_t limit, Py_ssize_t total) noexcept:
        """Where the line that begins at `line` ends (its CR), counted from start, or a negative answer.

        `limit` (0: none) bounds the line without its end, `total` all from start to
        the LF. Octets of an unfinished line are looked at once over all calls.
        """
        cdef Py_ssize_t held = self.end - self.start, size
        cdef const char *base = self.data + self.start
        cdef const char *found = NULL
        if self.scanned < held:             # so data is not NULL
            found = <const char *>memchr(base + self.scanned, c"\n", <size_t>(held - self.scanned))
        size = (held if found == NULL else found - base) - self.line     # line, its CR too
        if (limit and size - 1 > limit) or self.line + size + (found != NULL) > total:
            return TOO_LONG
        if found == NULL:
            self.scanned = held
            return INCOMPLETE
        if size == 0 or (found - 1)[0] != c"\r":                 # size > 0: found - 1 is in the line
            return BARE_LF
        return self.line + size - 1

    # heads

    cpdef Request next_request(self):
        """The next request, or None: more octets are needed.

        Raises a ProtocolError for what is refused. Only legal once the body of the
        request before is finished.
        """
        cdef Request request
        if not self.body_done:
            raise RuntimeError("the body of the request before is not finished")
        if self.state == REFUSED:
            raise BadRequest("nothing is read after a refusal")
        if self.start == self.end:
            return None
        try:
            request = self.read_head()
        except BaseException:
            self.refuse()
            raise
        self.settle()
        return request

    cdef Request read_head(self):
        """Read on line by line. The lines that were read are in `pending`."""
        cdef Py_ssize_t stop
        cdef const octet *base = <const octet *>self.data + self.start
        cdef Limits limits = self.limits
        cdef Field line
        while True:
            if self.pending is None:
                if not CLASS[base[0]] & TOKEN and base[0] != c"\r":        # start < end
                    raise BadRequest(f"no request begins with {shown(base, 1)}")
                stop = self.find_line(limits.request_line, limits.head)
            else:
                stop = self.find_line(limits.field_size, limits.head)
            if stop == INCOMPLETE:
                return None
            if stop == BARE_LF:
                raise BadRequest("a line of the head ends in a bare LF")
            if stop == TOO_LONG:
                if self.pending is None:
                    raise UriTooLong("the request line is too long")
                raise FieldsTooLarge("a field or the whole head is too long")
            if stop == self.line:
                if self.pending is not None:
                    return self.finish_head()
                if self.blank_skipped:
                    raise BadRequest("more than one empty line before a request line")
                self.blank_skipped = True
                self.start += 2             # the CRLF that find_line found
                self.scanned = 0
                if self.start == self.end:
                    return None
                base += 2
                continue
            if self.pending is None:
                self.pending = Request.__new__(Request)
                read_request_line(self.pending, base, stop)
            else:
                if self.pending.count >= limits.fields:
                    raise FieldsTooLarge(f"more than {limits.fields} fields")
                read_field(&line, base, self.line, stop)
                heed(self.pending, &line, base)
                self.pending.add(&line)
            self.line = self.scanned = stop + 2

    cdef Request finish_head(self):
        """The empty line is there: apply the rules that need the whole head."""
        cdef Request request = self.pending
        cdef Py_ssize_t size = self.line + 2        # find_line found the CRLF: inside the block
        if request.minor == 1 and not request.seen & 1 << HOST:
            raise BadRequest("no Host")
        if request.seen & 1 << TRANSFER_ENCODING:
            heed_codings(request, <const octet *>self.data + self.start)
        request.has_body = request.chunked or request.content_length > 0
        request.keep_alive = not request.asks_close and (request.minor == 1 or request.asks_keep_alive)
        request.expect_continue = request.expect_continue and request.minor == 1 and request.has_body
        if request.odd_expectation and request.minor == 1:
            raise ExpectationFailed("an expectation other than 100-continue")
        if 0 < self.limits.body < request.content_length:
            raise ContentTooLarge(f"a body of {request.content_length} octets is declared")
        request.head = PyBytes_FromStringAndSize(self.data + self.start, size)
        self.start += size
        self.pending = None
        self.line = self.scanned = 0
        self.blank_skipped = False
        self.begin_body(request)
        return request

    # bodies

    cdef int begin_body(self, Request request) except -1:
        if not request.has_body:
            return 0
        self.body_done = False
        self.decoded = 0
        if request.chunked:
            self.state = CHUNK_SIZE
            self.remaining = 0
        else:
            self.state = LENGTH
            self.remaining = request.content_length
        return 0

    cdef void finish_body(self) noexcept:
        self.state = HEAD
        self.body_done = True
        self.line = self.scanned = 0

    cpdef bytes next_body(self):
        """Decoded octets of the body; None: more must be fed; b"": the body is at its end.

        Raises a ProtocolError for framing that is refused, and ClientDisconnected
        where the input ended inside the body.
        """
        cdef bytes data
        if self.body_done:
            return b""
        data = self.read_declared() if self.state == LENGTH else self.read_chunks()
        self.settle()
        if data is not None:
            return data
        if self.body_done:
            return b""
        if self.eof:
            raise ClientDisconnected("the client left inside a request body")
        return None

    cdef bytes read_declared(self):
        cdef Py_ssize_t held = self.end - self.start
        cdef bytes data
        if held == 0:
            return None
        if held > self.remaining:
            held = <Py_ssize_t>self.remaining
        data = PyBytes_FromStringAndSize(self.data + self.start, held)
        self.start += held
        self.remaining -= held
        if self.remaining == 0:
            self.finish_body()
        return data

    cdef bytes read_chunks(self):
        """Decode all that is held: the data of the chunks is moved together inside the block.

        An error behind decoded data waits for the next call, which meets it again.
        """
        cdef char *out = NULL
        cdef Py_ssize_t produced = 0
        try:
            while self.step(&out, &produced):
                pass
        except ProtocolError:
            if produced == 0:
                self.refuse()
                raise
        if produced == 0:
            return None
        try:
            return PyBytes_FromStringAndSize(out, produced)
        except MemoryError:                 # the octets are consumed: going on would lose them
            self.refuse()
            raise

    cdef int step(self, char **out, Py_ssize_t *produced) except -1:
        """One step through a chunked body; false where it is at its end or needs more octets.

        out[0][:produced[0]] is what was decoded; it lies before `start`. Nothing is
        changed before an error is raised.
        """
        cdef Py_ssize_t held = self.end - self.start
        cdef char *data = self.data + self.start
        if held == 0 or self.body_done:
            return False
        if self.state == CHUNK_SIZE:
            return self.read_chunk_size()
        if self.state == CHUNK_DATA:
            if held > self.remaining:
                held = <Py_ssize_t>self.remaining
            if out[0] == NULL:
                out[0] = data
            else:
                memmove(out[0] + produced[0], data, <size_t>held)       # goes down: out + produced <= data
            produced[0] += held
            self.start += held
            self.remaining -= held
            if self.remaining == 0:
                self.state = CHUNK_END
            return True
        if self.state == CHUNK_END:
            if data[0] != c"\r" or (held > 1 and data[1] != c"\n"):
                raise BadRequest("no CRLF behind the data of a chunk")
            if held == 1:
                return False
            self.start += 2
            self.state = CHUNK_SIZE
            return True
        return self.read_trailer()

    cdef bint read_chunk_size(self) except -1:
        cdef Py_ssize_t stop = self.find_line(LARGEST_CHUNK_LINE, LARGEST_CHUNK_LINE + 2), i = 0
        cdef const octet *p = <const octet *>self.data + self.start
        cdef uint64_t size = 0
        if stop == INCOMPLETE:
            return False
        if stop < 0:
            raise BadRequest("a chunk's size line is too long or ends in a bare LF")
        while i < stop and i < CHUNK_DIGITS and CLASS[p[i]] & HEXDIG:
            size = size << 4 | DIGIT[p[i]]          # 16 digits fill 64 bits
            i += 1
        if i == 0 or (i < stop and p[i] != c";") or has_control(p + i, stop - i) or memchr(p + i, c"\t", stop - i):
            raise BadRequest(f"no chunk size: {shown(p, stop)}")
        if size > <uint64_t>(LLONG_MAX - self.decoded):
            raise BadRequest(f"a chunk size above 63 bits: {shown(p, stop)}")
        if 0 < self.limits.body < self.decoded + <long long>size:
            raise ContentTooLarge("the chunks are more than the limit of a body")
        self.start += stop + 2
        self.scanned = 0
        self.remaining = <long long>size
        self.decoded += <long long>size
        self.trailer_fields = 0
        self.state = CHUNK_DATA if size else TRAILERS
        return True

    cdef bint read_trailer(self) except -1:
        """Check one line of the trailer section, which is consumed as a whole."""
        cdef Py_ssize_t stop = self.find_line(self.limits.field_size, self.limits.trailers + 2)
        cdef const octet *p = <const octet *>self.data + self.start
        cdef Field line
        if stop == INCOMPLETE:
            return False
        if stop < 0:
            raise BadRequest("the trailers are too long, or a line of them ends in a bare LF")
        if stop == self.line:
            self.start += stop + 2
            self.finish_body()
            return False
        if self.trailer_fields >= self.limits.fields:
            raise BadRequest("too many trailers")
        read_field(&line, p, self.line, stop)
        if NO_TRAILER[line.kind]:
            raise BadRequest(f"a trailer named {NAMES[line.kind].decode()}")
        self.trailer_fields += 1
        self.line = self.scanned = stop + 2
        return True

    cdef Py_ssize_t direct(self) noexcept:
        """Octets of a declared body that may be received past the block (0: none may)."""
        if self.state != LENGTH or self.end > self.start:
            return 0
        return <Py_ssize_t>min(self.remaining, <long long>PY_SSIZE_T_MAX)

    cdef int received(self, Py_ssize_t n) except -1:
        """So many of the `direct()` octets were received past the block."""
        if not 0 <= n <= self.direct():
            raise ValueError("more than direct() allows")
        self.remaining -= n
        if n and self.remaining == 0:
            self.finish_body()
        return 0

    cdef bytes take_rest(self):
        """What is held behind the request, for another protocol that takes the connection over."""
        cdef bytes rest = PyBytes_FromStringAndSize(self.data + self.start, self.end - self.start) if self.data else b""
        self.release()
        self.started = False
        return rest

    cdef Py_ssize_t buffered(self) noexcept:
        """Octets held."""
        return self.end - self.start

    # faces of the compiled doors, for tests

    @property
    def buffered_size(self):
        return self.buffered()

    @property
    def direct_size(self):
        return self.direct()

    def note_received(self, Py_ssize_t n):
        self.received(n)
