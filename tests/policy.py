"""The request half of docs/http-policy.md as data: what is sent, what comes of it.

The same cases are fed to the parser alone (tests/http) and sent to running servers,
whichever worker class runs (tests/wire). Each case is the octets of one request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """One request, and what the policy says of it."""

    name: str
    request: bytes
    status: int | None = None  # of the refusal; None: the request is served
    closes: bool = False  # the server closes the connection after its answer
    body: bytes = b""  # what the application reads, where the request is served
    environ: Mapping[str, str] = field(default_factory=dict)  # what it sees, among other things
    absent: tuple[str, ...] = ()  # keys it must not see in environ
    late: bool = False  # refused inside the body: the application may be running already
    expects: bool = False  # the client waits for a 100 before it sends its body
    settings: Mapping[str, int] = field(default_factory=dict)  # by Gunicorn's names


def served(name: str, request: bytes, **more: object) -> Case:
    return Case(name, request, **more)  # type: ignore[arg-type]


def refused(status: int, name: str, request: bytes, **more: object) -> Case:
    return Case(name, request, status, True, **more)  # type: ignore[arg-type]


def get(*lines: bytes, target: bytes = b"/", method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    """A head of that request line, the field lines, and Host unless one of them is."""
    named = any(line.lower().startswith(b"host") for line in lines)
    fields = list(lines) if named else [b"Host: example.com", *lines]
    return b"\r\n".join([b" ".join([method, target, version]), *fields, b"", b""])


def raw(*lines: bytes) -> bytes:
    """A head of exactly these lines."""
    return b"\r\n".join([*lines, b"", b""])


def post(*lines: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return get(*lines, method=b"POST", version=version) + body


def chunked(body: bytes, *lines: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", *lines, body=body)


def line_ends() -> Iterator[Case]:
    yield served("an ordinary head", get())
    yield served("one CRLF before the request line", b"\r\n" + get())
    yield refused(400, "two CRLF before the request line", b"\r\n\r\n" + get())
    yield refused(400, "a bare LF before the request line", b"\n" + get())
    yield refused(400, "a bare CR before the request line", b"\r" + get())
    yield refused(400, "a space before the request line", b" " + get())
    yield refused(400, "the request line ends in a bare LF", get().replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n"))
    yield refused(400, "a field line ends in a bare LF", raw(b"GET / HTTP/1.1", b"Host: a\nX: y"))
    yield refused(400, "every line ends in a bare LF", get().replace(b"\r\n", b"\n"))
    yield refused(400, "the head ends in a bare LF", b"GET / HTTP/1.1\r\nHost: a\r\n\n")
    yield refused(400, "the head ends in CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n")
    yield refused(400, "a bare CR in the target", get(target=b"/a\rb"))
    yield refused(400, "a bare CR instead of a space", b"GET\r/ HTTP/1.1\r\nHost: a\r\n\r\n")
    yield refused(400, "a bare CR in a field name", get(b"X\rY: z"))
    yield refused(400, "a bare CR in a field value", get(b"X: y\rz"))
    yield refused(400, "a bare CR that hides a field", get(b"X: y\rContent-Length: 5"))
    yield refused(400, "a field line ends in CR CR LF", get(b"X: y\r"))


def request_lines() -> Iterator[Case]:
    for method in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND"):
        name = method.decode()
        yield served(f"the method {name}", get(method=method), environ={"REQUEST_METHOD": name})
    yield served("a method of odd token characters", get(method=b"M-!#$%&'*+.^_`|~9"))
    yield served(
        "a method in lower case is another method", get(method=b"get"), environ={"REQUEST_METHOD": "get"}
    )
    yield refused(400, "no method", get(method=b""))
    yield refused(400, "a method with a parenthesis", get(method=b"GE(T"))
    yield refused(400, "a method with a NUL", get(method=b"GE\x00T"))
    yield refused(400, "a method with a colon", get(method=b"GE:T"))
    yield refused(400, "a method with an octet above 127", get(method=b"G\xc4T"))
    yield refused(400, "a quoted method", get(method=b'"GET"'))
    yield refused(400, "no target", raw(b"GET HTTP/1.1", b"Host: a"))
    yield refused(400, "an empty target", raw(b"GET  HTTP/1.1", b"Host: a"))
    yield refused(400, "no version (HTTP/0.9)", raw(b"GET /"))
    yield refused(400, "two spaces before the target", raw(b"GET  / HTTP/1.1", b"Host: a"))
    yield refused(400, "two spaces before the version", raw(b"GET /  HTTP/1.1", b"Host: a"))
    yield refused(400, "a tab before the target", raw(b"GET\t/ HTTP/1.1", b"Host: a"))
    yield refused(400, "a tab before the version", raw(b"GET /\tHTTP/1.1", b"Host: a"))
    yield refused(400, "a space behind the version", raw(b"GET / HTTP/1.1 ", b"Host: a"))
    yield refused(400, "a word too many", raw(b"GET / x HTTP/1.1", b"Host: a"))
    yield refused(400, "only a method", raw(b"GET"))
    yield refused(400, "only spaces", b"   \r\n\r\n")
    yield refused(400, "the hello of TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03")


def versions() -> Iterator[Case]:
    yield served("HTTP/1.0", get(version=b"HTTP/1.0"), closes=True, environ={"SERVER_PROTOCOL": "HTTP/1.0"})
    yield served("HTTP/1.1", get(), environ={"SERVER_PROTOCOL": "HTTP/1.1"})
    for version in (
        b"HTTP/1.2", b"HTTP/1.9", b"HTTP/1.10", b"HTTP/1.01", b"HTTP/01.1", b"HTTP/1.", b"HTTP/1", b"HTTP/",
        b"HTTP", b"http/1.1", b"Http/1.1", b"HTTP/0.9", b"HTTP/1,1", b"HTTP/1.x", b"HTTP/x.1", b"HTTP/-1.1",
        b"HTTP/+1.1", b"HTTP/1.1.1", b"HTTP\\1.1", b"HTTPS/1.1", b"ICAP/1.0", b"HTTP/2", b"HTTP/11.1",
        b"HTTP/\xb2.0", b"HTTP/1.1\x00", b"HTTP/1.1\x0b",
    ):  # fmt: skip
        yield refused(400, f"the version {version!r}", get(version=version))
    for version in (b"HTTP/2.0", b"HTTP/2.1", b"HTTP/3.0", b"HTTP/9.9"):
        yield refused(505, f"the version {version!r}", get(version=version))
    yield refused(505, "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def targets() -> Iterator[Case]:
    yield served(
        "a path and a query",
        get(target=b"/a/b?c=d&e=f"),
        environ={"PATH_INFO": "/a/b", "QUERY_STRING": "c=d&e=f", "RAW_URI": "/a/b?c=d&e=f"},
    )
    yield served("no query", get(), environ={"PATH_INFO": "/", "QUERY_STRING": ""})
    yield served("an empty query", get(target=b"/?"), environ={"PATH_INFO": "/", "QUERY_STRING": ""})
    yield served(
        "a question mark in the query",
        get(target=b"/a?b?c"),
        environ={"PATH_INFO": "/a", "QUERY_STRING": "b?c"},
    )
    yield served(
        "percent escapes become latin-1",
        get(target=b"/%C3%A4%2f%20?%C3%A4"),
        environ={"PATH_INFO": "/\xc3\xa4/ ", "QUERY_STRING": "%C3%A4", "RAW_URI": "/%C3%A4%2f%20?%C3%A4"},
    )
    yield served("broken percent escapes stay", get(target=b"/%zz%4%"), environ={"PATH_INFO": "/%zz%4%"})
    yield served("a path that looks like an authority", get(target=b"//b/c"), environ={"PATH_INFO": "//b/c"})
    yield served("a colon in the path", get(target=b"/http://b/"), environ={"PATH_INFO": "/http://b/"})
    yield served("odd visible characters", get(target=b'/"<>\\^`{|}'), environ={"PATH_INFO": '/"<>\\^`{|}'})
    absolute = {
        "HTTP_HOST": "b.example:81",
        "PATH_INFO": "/c",
        "QUERY_STRING": "d",
        "RAW_URI": "http://b.example:81/c?d",
    }
    yield served(
        "an absolute target wins over Host",
        get(b"Host: a", target=b"http://b.example:81/c?d"),
        environ=absolute,
    )
    yield served(
        "https is absolute too", get(target=b"HTTPS://b/"), environ={"HTTP_HOST": "b", "PATH_INFO": "/"}
    )
    yield served("an absolute target without a path", get(target=b"http://b"), environ={"PATH_INFO": "/"})
    yield served(
        "an absolute target with a query alone",
        get(target=b"http://b?c"),
        environ={"HTTP_HOST": "b", "PATH_INFO": "/", "QUERY_STRING": "c"},
    )
    yield served(
        "an absolute target on 1.0 without Host",
        raw(b"GET http://b/ HTTP/1.0"),
        closes=True,
        environ={"HTTP_HOST": "b"},
    )
    yield refused(400, "an absolute target on 1.1 still wants Host", raw(b"GET http://b/ HTTP/1.1"))
    yield refused(400, "an absolute target and an empty Host", get(b"Host:", target=b"http://b/"))
    for target in (
        b"http://", b"http:///a", b"http://?a", b"http:/a", b"http:a", b"http://u@b/", b"https://u:p@b/",
        b"http://b:x/", b"http://b:/:", b"http://b:99999/", b"http://[::1/", b"http://b\\c/", b"http://b c/",
        b"ftp://b/", b"a://b/", b"://b/", b"//", b"javascript:1",
    ):  # fmt: skip
        if target not in (b"//", b"http://b:/:"):
            yield refused(400, f"the target {target!r}", get(target=target))
    yield served("the asterisk with OPTIONS", get(target=b"*", method=b"OPTIONS"), environ={"RAW_URI": "*"})
    yield refused(400, "the asterisk with GET", get(target=b"*"))
    yield refused(400, "an asterisk and more", get(target=b"*a", method=b"OPTIONS"))
    yield refused(400, "an authority with GET", get(target=b"b:80"))
    yield refused(400, "a relative path", get(target=b"a/b"))
    yield refused(400, "a query alone", get(target=b"?a"))
    yield refused(400, "a fragment", get(target=b"/a#b"))
    yield refused(400, "a fragment in the query", get(target=b"/a?b#c"))
    yield refused(400, "a fragment in an absolute target", get(target=b"http://b/#c"))
    for octet in (b"\x00", b"\x01", b"\x08", b"\x0b", b"\x1f", b"\x7f", b"\x80", b"\xc3\xa4", b"\xff"):
        yield refused(400, f"the octet {octet!r} in the target", get(target=b"/a" + octet))
    yield refused(501, "CONNECT", get(target=b"b.example:443", method=b"CONNECT"))
    yield refused(501, "CONNECT to an IP literal", get(target=b"[::1]:443", method=b"CONNECT"))
    for target in (b"/", b"*", b"b.example", b"http://b/", b"u@b:443", b":443", b"b:99999"):
        yield refused(400, f"CONNECT {target.decode()}", get(target=target, method=b"CONNECT"))


def hosts() -> Iterator[Case]:
    for host in (
        b"a", b"example.com", b"EXAMPLE.com.", b"a:80", b"a:", b"127.0.0.1:8000", b"999.1.2.3", b"a_b",
        b"a-b.c~",
        b"%41%c3%a4", b"!$&'()*+,;=", b"[::]", b"[::1]:8000", b"[1:2:3:4:5:6:7:8]", b"[1::8]", b"[1::]",
        b"[::ffff:1.2.3.4]", b"[1:2:3:4:5:6:1.2.3.4]", b"[v1.a:b]", b"[vF.~]:1", b"a:65535", b"",
    ):  # fmt: skip
        yield served(f"Host: {host.decode()}", get(b"Host: " + host), environ={"HTTP_HOST": host.decode()})
    for host in (
        b"a b", b"a/b", b"a?b", b"a#b", b"u@a", b"u:p@a", b"http://a", b"a:b", b"a:8x", b"a:80:80", b"a:-1",
        b"a:65536", b"a:123456", b":80", b"a\\b", b"a,b c", b"<a>", b'"a"', b"a^b", b"a{b", b"a|b", b"a`b",
        b"%", b"%4", b"%zz", b"[", b"[]", b"[::1", b"::1", b"[::1]x", b"[::1]80", b"[:::]", b"[1:2]",
        b"[1:2:3:4:5:6:7:8:9]", b"[1::2::3]", b"[12345::]", b"[1:2:3:4:5:6:7:]", b"[:1:2:3:4:5:6:7:8]",
        b"[g::]",
        b"[::1.2.3]", b"[::1.2.3.256]", b"[::01.2.3.4]", b"[::1.2.3.4:1]", b"[1.2.3.4]", b"[fe80::1%25lo]",
        b"[v.a]", b"[v1.]", b"[v1a]", b"[vg.a]", b"[v1.a@]", b"a\x80", b"\xc3\xa4", b"a\x00", b"a\tb",
    ):  # fmt: skip
        yield refused(400, f"Host: {host!r}", get(b"Host: " + host))
    yield refused(400, "no Host on 1.1", raw(b"GET / HTTP/1.1"))
    yield refused(400, "no Host among other fields", raw(b"GET / HTTP/1.1", b"X-Host: a", b"Hos: t"))
    yield served("no Host on 1.0", raw(b"GET / HTTP/1.0"), closes=True, absent=("HTTP_HOST",))
    yield served(
        "one Host on 1.0", get(version=b"HTTP/1.0"), closes=True, environ={"HTTP_HOST": "example.com"}
    )
    yield refused(400, "two Hosts", get(b"Host: a", b"Host: b"))
    yield refused(400, "the same Host twice", get(b"Host: a", b"host: a"))
    yield refused(400, "two Hosts on 1.0", get(b"Host: a", b"Host: a", version=b"HTTP/1.0"))
    yield refused(400, "an empty and another Host", get(b"Host:", b"Host: a"))


def fields() -> Iterator[Case]:
    yield served("names in any case", get(b"x-A: 1", b"X-b: 2"), environ={"HTTP_X_A": "1", "HTTP_X_B": "2"})
    yield served(
        "a name of odd token characters", get(b"X!#$%&'*+.^`|~9: y"), environ={"HTTP_X!#$%&'*+.^`|~9": "y"}
    )
    yield served("an empty value", get(b"X:", b"Y: \t "), environ={"HTTP_X": "", "HTTP_Y": ""})
    yield served("no space behind the colon", get(b"X:y"), environ={"HTTP_X": "y"})
    yield served("white space around a value", get(b"X: \t y z\t \t"), environ={"HTTP_X": "y z"})
    yield served("a tab inside a value", get(b"X: y\tz"), environ={"HTTP_X": "y\tz"})
    yield served("a colon in a value", get(b"X: a:b: c"), environ={"HTTP_X": "a:b: c"})
    yield served("octets above 127 in a value", get(b"X: \xc3\xa4\xff"), environ={"HTTP_X": "\xc3\xa4\xff"})
    yield served(
        "Content-Type and Content-Length stand without HTTP_",
        post(b"Content-Type: text/plain", b"Content-Length: 3", body=b"abc"),
        environ={"CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "3"},
        absent=("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"),
        body=b"abc",
    )
    yield served("neither of both", get(), absent=("CONTENT_TYPE", "CONTENT_LENGTH"))
    for name in (
        b"", b" X", b"X ", b"X\t", b"X Y", b"X(", b"X)", b"X<", b"X>", b"X@", b"X,", b"X;", b"X\\", b'X"',
        b"X/",
        b"X[", b"X]", b"X?", b"X=", b"X{", b"X}", b"X\x00", b"X\x01", b"X\x1f", b"X\x7f", b"X\x80",
        b"\xc3\xa4",
        b"\xff",
    ):  # fmt: skip
        yield refused(400, f"the field name {name!r}", get(name + b": y"))
    yield refused(400, "a field without a colon", get(b"X"))
    yield refused(400, "a space before the colon of Content-Length", post(b"Content-Length : 3", body=b"abc"))
    yield refused(400, "a space before the colon of Host", raw(b"GET / HTTP/1.1", b"Host : a"))
    for octet in (*range(0x09), *range(0x0B, 0x0D), *range(0x0E, 0x20), 0x7F):
        yield refused(400, f"the octet {octet:#04x} in a value", get(b"X: y" + bytes([octet]) + b"z"))
    yield refused(400, "a NUL at the end of a value", get(b"X: y\x00"))
    yield refused(400, "a value folded with a space", get(b"X: y", b" z"))
    yield refused(400, "a value folded with a tab", get(b"X: y", b"\tz"))
    yield refused(400, "an empty fold", get(b"X: y", b" "))
    yield refused(400, "a fold before the first field", raw(b"GET / HTTP/1.1", b" Host: a"))
    yield refused(400, "a fold that hides a field", get(b"X: y", b" Content-Length: 5"))


def dropped() -> Iterator[Case]:
    yield served("a name with _", get(b"X_A: 1"), absent=("HTTP_X_A",))
    yield served(
        "a name with _ beside its dashed form",
        get(b"X_A: 1", b"X-A: 2", b"X_A: 3"),
        environ={"HTTP_X_A": "2"},
    )
    yield served(
        "Content_Length is no length",
        post(b"Content_Length: 3"),
        absent=("CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"),
    )
    yield served(
        "Transfer_Encoding is no coding",
        post(b"Transfer_Encoding: chunked"),
        absent=("HTTP_TRANSFER_ENCODING",),
    )
    yield served(
        "X_Forwarded_For names nobody", get(b"X_Forwarded_For: 1.2.3.4"), absent=("HTTP_X_FORWARDED_FOR",)
    )
    yield served("Proxy", get(b"Proxy: http://evil"), absent=("HTTP_PROXY",))
    yield served("PROXY", get(b"PROXY: http://evil"), absent=("HTTP_PROXY",))
    yield served(
        "Proxy-Connection is another field",
        get(b"Proxy-Connection: x"),
        environ={"HTTP_PROXY_CONNECTION": "x"},
    )


def limits() -> Iterator[Case]:
    yield served("the longest request line", get(target=b"/" + b"a" * (4094 - 14)))
    yield refused(414, "a request line too long by one", get(target=b"/" + b"a" * (4094 - 13)))
    yield refused(414, "a request line without an end", b"GET /" + b"a" * 5000)
    yield served("the most fields", get(*(b"X%d: y" % n for n in range(99))))
    yield refused(431, "a field too many", get(*(b"X%d: y" % n for n in range(100))))
    yield refused(431, "the same field too often", get(*[b"X: y"] * 100))
    yield served("the longest field", get(b"X: " + b"a" * (8190 - 3)), environ={"HTTP_X": "a" * (8190 - 3)})
    yield refused(431, "a field too long by one", get(b"X: " + b"a" * (8190 - 2)))
    yield refused(431, "a field without an end", get()[:-2] + b"X: " + b"a" * 9000)
    yield refused(431, "a name without an end", get()[:-2] + b"X" * 9000)
    yield refused(431, "a head too long", get(*(b"X%d: " % n + b"a" * 8000 for n in range(9))))
    small = {"limit_request_line": 40, "limit_request_fields": 3, "limit_request_field_size": 30}
    yield served("the longest request line, set", get(target=b"/" + b"a" * 26), settings=small)
    yield refused(414, "a request line too long, set", get(target=b"/" + b"a" * 27), settings=small)
    yield served("the most fields, set", get(b"X: y", b"Y: z"), settings=small)
    yield refused(431, "a field too many, set", get(b"X: y", b"Y: z", b"Z: z"), settings=small)
    yield served("the longest field, set", get(b"X: " + b"a" * 27), settings=small)
    yield refused(431, "a field too long, set", get(b"X: " + b"a" * 28), settings=small)
    yield served(
        "no limit of the request line", get(target=b"/" + b"a" * 9000), settings={"limit_request_line": 0}
    )
    yield served("no limit of a field", get(b"X: " + b"a" * 20000), settings={"limit_request_field_size": 0})


def repeats() -> Iterator[Case]:
    yield served("a repeated field", get(b"X-A: 1", b"x-a: 2", b"X-A: 3"), environ={"HTTP_X_A": "1, 2, 3"})
    yield served("a repeated known field", get(b"Accept: a", b"Accept: b"), environ={"HTTP_ACCEPT": "a, b"})
    yield served("repeated cookies", get(b"Cookie: a=1", b"Cookie: b=2"), environ={"HTTP_COOKIE": "a=1; b=2"})
    yield served("an empty value repeated", get(b"X:", b"X: a"), environ={"HTTP_X": ", a"})
    for name in (b"Content-Type", b"Authorization"):
        yield refused(400, f"{name.decode()} twice", get(name + b": a", name.upper() + b": b"))
        yield refused(400, f"the same {name.decode()} twice", get(name + b": a", name.lower() + b": a"))
    for name in (b"Referer", b"User-Agent", b"Date", b"If-Match", b"Origin", b"Proxy-Authorization", b"Via"):
        key = "HTTP_" + name.decode().upper().replace("-", "_")
        yield served(f"{name.decode()} twice", get(name + b": a", name + b": b"), environ={key: "a, b"})


def keeping() -> Iterator[Case]:
    yield served("1.1 is kept", get())
    yield served("1.1 with close", get(b"Connection: close"), closes=True)
    yield served("1.1 with close in any case", get(b"Connection: CLOSE"), closes=True)
    yield served("close in a list", get(b"Connection: te, Close"), closes=True)
    yield served("close in a list without spaces", get(b"Connection: te,close,x"), closes=True)
    yield served("close in a second field", get(b"Connection: x", b"Connection: close"), closes=True)
    yield served("close wins over keep-alive", get(b"Connection: keep-alive, close"), closes=True)
    yield served("closed is another word", get(b"Connection: closed"))
    yield served("close with a parameter is another word", get(b"Connection: close=1"))
    yield served("1.0 is closed", get(version=b"HTTP/1.0"), closes=True)
    yield served("1.0 with keep-alive", get(b"Connection: Keep-Alive", version=b"HTTP/1.0"))
    yield served("1.0 with both", get(b"Connection: keep-alive, close", version=b"HTTP/1.0"), closes=True)
    yield served(
        "Upgrade is ignored",
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
    )


def lengths() -> Iterator[Case]:
    def sized(length: bytes, body: bytes = b"") -> bytes:
        return post(b"Content-Length: " + length, body=body)

    yield served("a body", sized(b"5", b"hello"), body=b"hello")
    yield served("a body of any octets", sized(b"6", b"\x00\r\n\r\n\xff"), body=b"\x00\r\n\r\n\xff")
    yield served("a body of 0 octets", sized(b"0"), environ={"CONTENT_LENGTH": "0"})
    yield served(
        "a body on 1.0", post(b"Content-Length: 2", body=b"ab", version=b"HTTP/1.0"), body=b"ab", closes=True
    )
    yield served("a body of a GET", get(b"Content-Length: 2") + b"ab", body=b"ab")
    yield served("leading zeros of a length", sized(b"0003", b"abc"), body=b"abc")
    yield served("white space around the number", sized(b" 3\t", b"abc"), body=b"abc")
    for length in (
        b"", b"+3", b"-3", b"-0", b"3,3", b"3, 3", b"3,", b"3 3", b"3_0", b"0x3", b"3.0", b"3e0", b"a",
        b"3a", b"\xb3",
        b"\xd9\xa3", b"3;x", b"\"3\"", b"9223372036854775808", b"18446744073709551619",
        b"99999999999999999999",
        b"0" * 30 + b"9223372036854775808",
    ):  # fmt: skip
        yield refused(400, f"Content-Length: {length!r}", sized(length, b"abc"))
    yield refused(400, "two lengths", post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"))
    yield refused(400, "the same length twice", post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"))
    limit = {"limit_request_body": 10}
    yield served("the largest body", sized(b"10", b"a" * 10), body=b"a" * 10, settings=limit)
    yield refused(413, "a body too large by one", sized(b"11", b"a" * 11), settings=limit)
    yield refused(413, "the largest number as a length", sized(b"9223372036854775807"), settings=limit)
    yield served(
        "the largest chunked body",
        chunked(b"5\r\naaaaa\r\n5\r\nbbbbb\r\n0\r\n\r\n"),
        body=b"aaaaabbbbb",
        settings=limit,
    )
    yield refused(
        413,
        "a chunked body too large",
        chunked(b"5\r\naaaaa\r\n6\r\nbbbbbb\r\n0\r\n\r\n"),
        late=True,
        settings=limit,
    )
    yield refused(413, "one chunk too large", chunked(b"7fffffffffffffff\r\n"), late=True, settings=limit)


def codings() -> Iterator[Case]:
    end = b"3\r\nabc\r\n0\r\n\r\n"
    for value in (b"chunked", b"CHUNKED", b"Chunked", b" \tchunked\t "):
        yield served(
            f"Transfer-Encoding: {value!r}", post(b"Transfer-Encoding:" + value, body=end), body=b"abc"
        )
    for value in (
        b"gzip, chunked",
        b"deflate,chunked",
        b"x-gzip , chunked",
        b"compress, gzip, chunked",
        b"foo, chunked",
    ):
        yield refused(
            501, f"Transfer-Encoding: {value.decode()}", post(b"Transfer-Encoding: " + value, body=end)
        )
    yield refused(
        501,
        "codings in two fields",
        post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", body=end),
    )
    for value in (
        b"", b"identity", b"chunked, identity", b"identity, chunked", b"chunked, chunked",
        b"chunked, gzip", b"gzip",
        b"foo", b"xchunked", b"chunkedx", b"chunked;a=b", b"chunked,", b",chunked", b"chunked,,",
        b"gzip,,chunked",
        b"gzip chunked", b"chunked chunked", b"\"chunked\"", b"'chunked'", b"chunk", b"ch\xdcnked",
        b"(x)chunked",
        b"gzip;q=1, chunked",
    ):  # fmt: skip
        yield refused(400, f"Transfer-Encoding: {value!r}", post(b"Transfer-Encoding: " + value, body=end))
    yield refused(400, "a control octet before chunked", post(b"Transfer-Encoding: \x0bchunked", body=end))
    yield refused(
        400,
        "chunked in two fields",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=end),
    )
    yield refused(
        400,
        "chunked in the first of two fields",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", body=end),
    )
    yield refused(400, "a coding and a length", chunked(end, b"Content-Length: 3"))
    yield refused(400, "a coding and a length of 0", chunked(end, b"Content-Length: 0"))
    yield refused(
        400, "a length and a coding", post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=end)
    )
    yield refused(
        400,
        "an unknown coding and a length",
        post(b"Transfer-Encoding: foo", b"Content-Length: 3", body=b"abc"),
    )
    yield refused(400, "a coding on 1.0", post(b"Transfer-Encoding: chunked", body=end, version=b"HTTP/1.0"))


def chunks() -> Iterator[Case]:
    last = b"0\r\n\r\n"
    yield served("no chunk", chunked(last))
    yield served("chunks", chunked(b"5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n" + last), body=b"hello world")
    yield served(
        "hex digits in any case",
        chunked(b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + last),
        body=b"0123456789" * 2,
    )
    yield served(
        "leading zeros", chunked(b"0000000000000003\r\nabc\r\n0000000000000000\r\n\r\n"), body=b"abc"
    )
    yield served("line ends as data", chunked(b"4\r\n\r\n\r\n\r\n" + last), body=b"\r\n\r\n")
    yield served("a chunk that looks like the last", chunked(b"5\r\n0\r\n\r\n\r\n" + last), body=b"0\r\n\r\n")
    yield served("an extension", chunked(b"3;a=b\r\nabc\r\n0;c\r\n\r\n"), body=b"abc")
    yield served("an empty extension", chunked(b"3;\r\nabc\r\n" + last), body=b"abc")
    yield served("a quoted extension", chunked(b'3;a="b c"\r\nabc\r\n' + last), body=b"abc")
    yield served("the longest extension", chunked(b"3;" + b"a" * 254 + b"\r\nabc\r\n" + last), body=b"abc")
    yield refused(
        400, "an extension too long", chunked(b"3;" + b"a" * 500 + b"\r\nabc\r\n" + last), late=True
    )
    yield refused(400, "an extension without an end", chunked(b"3;" + b"a" * 500), late=True)
    for size in (
        b"", b"+3", b"-3", b"0x3", b"x", b"3x", b"3g", b" 3", b"3 ", b"3\t", b"3 ;a", b"3 3", b"3_0",
        b"3.", b"3,3", b"\xb3",
        b"3\x00", b"3\x0b", b"3\r", b"3;a\x00", b"3;a\tb", b"3;a\rb", b"3;\x7f", b"0x", b";a",
        b"00000000000000003",
        b"8000000000000000", b"ffffffffffffffff", b"10000000000000003", b"fffffffffffffffffffff",
    ):  # fmt: skip
        yield refused(400, f"the chunk size {size!r}", chunked(size + b"\r\nabc\r\n" + last), late=True)
    yield refused(
        400, "a second chunk size that overflows", chunked(b"3\r\nabc\r\n7fffffffffffffff\r\n"), late=True
    )
    yield refused(400, "a chunk size ends in a bare LF", chunked(b"3\nabc\r\n" + last), late=True)
    yield refused(400, "an extension ends in a bare LF", chunked(b"3;a\nabc\r\n" + last), late=True)
    yield refused(400, "data ends in a bare LF", chunked(b"3\r\nabc\n" + last), late=True)
    yield refused(400, "data ends in CR alone", chunked(b"3\r\nabc\r" + last), late=True)
    yield refused(400, "data ends in two other octets", chunked(b"3\r\nabcde" + last), late=True)
    yield refused(400, "a chunk larger than its size", chunked(b"3\r\nabcd\r\n" + last), late=True)
    yield refused(400, "a chunk smaller than its size", chunked(b"3\r\nab\r\n" + last), late=True)
    yield refused(400, "the last chunk ends in a bare LF", chunked(b"3\r\nabc\r\n0\n\r\n"), late=True)
    yield refused(400, "the body ends in a bare LF", chunked(b"3\r\nabc\r\n0\r\n\n"), late=True)
    many = b"".join(b"1\r\n%c\r\n" % (n % 256) for n in range(5000))
    yield served("many chunks of one octet", chunked(many + last), body=bytes(n % 256 for n in range(5000)))


def trailers() -> Iterator[Case]:
    start = b"3\r\nabc\r\n0\r\n"
    yield served(
        "trailers", chunked(start + b"X-A: b\r\nY:\r\n\r\n"), body=b"abc", absent=("HTTP_X_A", "HTTP_Y")
    )
    yield served(
        "a trailer does not replace a field",
        chunked(start + b"X-A: b\r\n\r\n", b"X-A: c"),
        body=b"abc",
        environ={"HTTP_X_A": "c"},
    )
    yield served("the longest trailer", chunked(start + b"X: " + b"a" * 8000 + b"\r\n\r\n"), body=b"abc")
    for line in (
        b"X", b" X: y", b"X : y", b": y", b"X: y\x00", b"X: y\rz", b"X: y\n z", b"X: y\r\n z",
        b"X: y\nY: z", b"X(: y",
    ):  # fmt: skip
        yield refused(400, f"the trailer {line!r}", chunked(start + line + b"\r\n\r\n"), late=True)
    for name in (
        b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection", b"Trailer", b"TE", b"Upgrade",
        b"Expect",
        b"Keep-Alive", b"Content-Type", b"Authorization", b"Cookie", b"X-Forwarded-For", b"Forwarded",
        b"Max-Forwards",
        b"hOST",
    ):  # fmt: skip
        yield refused(400, f"{name.decode()} as a trailer", chunked(start + name + b": 1\r\n\r\n"), late=True)
    yield refused(400, "too many trailers", chunked(start + b"X: y\r\n" * 101 + b"\r\n"), late=True)
    yield refused(400, "a trailer too long", chunked(start + b"X: " + b"a" * 9000 + b"\r\n\r\n"), late=True)
    yield refused(400, "a trailer without an end", chunked(start + b"X: " + b"a" * 9000), late=True)
    yield refused(
        400,
        "trailers too long as a whole",
        chunked(start + (b"X: " + b"a" * 1000 + b"\r\n") * 9 + b"\r\n"),
        late=True,
    )


def expectations() -> Iterator[Case]:
    expect = b"Expect: 100-continue"
    yield served("100-continue", post(expect, b"Content-Length: 3", body=b"abc"), body=b"abc", expects=True)
    yield served(
        "100-Continue in any case",
        post(b"Expect: 100-CONTINUE", b"Content-Length: 3", body=b"abc"),
        body=b"abc",
        expects=True,
    )
    yield served(
        "100-continue with chunks", chunked(b"3\r\nabc\r\n0\r\n\r\n", expect), body=b"abc", expects=True
    )
    yield served("100-continue without a body", get(expect))
    yield served(
        "100-continue on 1.0 is ignored",
        post(expect, b"Content-Length: 3", body=b"abc", version=b"HTTP/1.0"),
        body=b"abc",
        closes=True,
    )
    yield served("another expectation on 1.0 is ignored", get(b"Expect: a", version=b"HTTP/1.0"), closes=True)
    for value in (b"a", b"", b"100", b"100-continue, a", b"100-continue;q=1", b"200-ok", b"100-continu"):
        yield refused(
            417, f"Expect: {value.decode()}", post(b"Expect: " + value, b"Content-Length: 3", body=b"abc")
        )
    yield refused(417, "two expectations", get(expect, b"Expect: a"))


CASES: tuple[Case, ...] = tuple(
    case
    for group in (
        line_ends,
        request_lines,
        versions,
        targets,
        hosts,
        fields,
        dropped,
        limits,
        repeats,
        keeping,
        lengths,
        codings,
        chunks,
        trailers,
        expectations,
    )
    for case in group()
)
