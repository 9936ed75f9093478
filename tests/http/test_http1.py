"""The parser beyond single messages: order, pieces, ends, memory, and what a request offers."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest

from canter.errors import BadRequest, ClientDisconnected, ContentTooLarge, UriTooLong
from canter.http._http1 import Connection, Limits, Request
from tests.http.feeding import NEXT, Outcome, feed, step, three_ways
from tests.policy import chunked, get, post, raw


def fed(*pieces: bytes, limits: Limits | None = None) -> Connection:
    connection = Connection(limits or Limits())
    for piece in pieces:
        connection.feed(piece)
    return connection


def request_of(head: bytes) -> Request:
    request = fed(head).next_request()
    assert request is not None
    return request


class TestOrder:
    def test_nothing_yet(self) -> None:
        connection = fed()
        assert connection.next_request() is None
        assert connection.next_body() == b""
        assert (connection.body_done, connection.started, connection.eof) == (True, False, False)

    def test_pipelined_requests_come_one_at_a_time(self) -> None:
        connection = fed(
            get(target=b"/1") + post(b"Content-Length: 2", body=b"ab") + get(target=b"/3") + b"GE"
        )
        assert (first := connection.next_request()) is not None
        assert (first.path, connection.body_done, connection.started) == ("/1", True, True)
        assert (second := connection.next_request()) is not None
        assert (second.method, connection.body_done, connection.started) == ("POST", False, False)
        assert connection.next_body() == b"ab"
        assert connection.body_done
        assert connection.next_body() == b""
        assert (third := connection.next_request()) is not None
        assert third.path == "/3"
        assert connection.next_request() is None
        assert (connection.started, connection.buffered_size) == (True, 2)

    def test_a_request_while_the_body_is_unread_is_a_mistake(self) -> None:
        connection = fed(post(b"Content-Length: 2", body=b"ab"))
        connection.next_request()
        with pytest.raises(RuntimeError):
            connection.next_request()
        assert connection.next_body() == b"ab"

    def test_nothing_is_read_after_a_refusal(self) -> None:
        connection = fed(get(b"X Y: z") + NEXT)
        for _ in range(2):
            with pytest.raises(BadRequest):
                connection.next_request()
            connection.feed(NEXT)
            assert (connection.buffered_size, connection.started) == (0, False)

    def test_nothing_is_read_after_a_refusal_in_a_body(self) -> None:
        connection = fed(chunked(b"x\r\n"))
        connection.next_request()
        with pytest.raises(BadRequest):
            connection.next_body()
        assert connection.next_body() == b""
        with pytest.raises(BadRequest):
            connection.next_request()

    def test_decoded_octets_come_before_the_error_behind_them(self) -> None:
        connection = fed(chunked(b"3\r\nabc\r\n3\r\ndef\r\nx\r\n"))
        connection.next_request()
        assert connection.next_body() == b"abcdef"
        with pytest.raises(BadRequest, match="chunk size"):
            connection.next_body()

    def test_a_chunk_above_the_limit_is_refused_before_its_data(self) -> None:
        connection = fed(chunked(b"3\r\nabc\r\n9\r\n"), limits=Limits(body=10))
        connection.next_request()
        assert connection.next_body() == b"abc"
        with pytest.raises(ContentTooLarge):
            connection.next_body()

    @pytest.mark.parametrize("before", [b"", b"\r\n"])
    def test_what_cannot_begin_a_request_is_refused_before_it_is_too_long(self, before: bytes) -> None:
        assert three_ways(before + b"\x16" * 5000 + b"\r\n").status == 400

    def test_the_first_wrong_line_is_refused_without_waiting_for_the_rest(self) -> None:
        for head in (b"GET / HTTP/1.2\r\n", b"GET / HTTP/1.1\r\nX\r\n", b"\x16\x03", b"GET / HTTP/1.1\n"):
            with pytest.raises(BadRequest):
                fed(head).next_request()


class TestEnds:
    def test_the_end_between_requests(self) -> None:
        connection = fed(get(), b"")
        assert connection.next_request() is not None
        assert connection.eof
        assert connection.next_request() is None

    def test_the_end_inside_a_head(self) -> None:
        connection = fed(get()[:-1], b"")
        assert connection.next_request() is None
        assert (connection.eof, connection.started) == (True, True)

    @pytest.mark.parametrize("request_", [
        post(b"Content-Length: 5", body=b"abc"),
        chunked(b"5\r\nabc"),
        chunked(b"3\r\nabc"),
        chunked(b"3\r\nabc\r\n"),
        chunked(b"3\r\nabc\r\n0\r\n"),
        chunked(b"3\r\nabc\r\n0\r\nX: y\r\n"),
    ])  # fmt: skip
    def test_the_end_inside_a_body_is_an_error(self, request_: bytes) -> None:
        connection = fed(request_, b"")
        connection.next_request()
        assert connection.next_body() == b"abc"
        with pytest.raises(ClientDisconnected):
            connection.next_body()

    def test_the_end_behind_a_body(self) -> None:
        connection = fed(chunked(b"0\r\n\r\n"), b"")
        connection.next_request()
        assert connection.next_body() == b""
        assert connection.next_request() is None


class TestPieces:
    def test_any_cut_comes_to_the_same(self) -> None:
        generator = random.Random(7)
        message = chunked(
            b"5;a\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nX: y\r\n\r\n", b"X-A: b", b"Cookie: c"
        )
        whole = three_ways(message)
        assert whole.body == b"hello0123456789abcdef"
        for _ in range(200):
            connection, outcome, at = Connection(Limits()), Outcome(), 0
            while at < len(message):
                size = generator.choice((1, 2, 3, 10, 50))
                connection.feed(message[at : at + size])
                step(connection, outcome)
                at += size
            assert outcome.summary == whole.summary

    def test_long_heads_cost_linear_time_octet_by_octet(self) -> None:
        head = get(*(b"X%d: " % number + b"a" * 8000 for number in range(7)))
        outcome = feed(Connection(Limits()), head, 1)
        assert outcome.request is not None

    def test_small_chunks_cost_linear_time_and_few_objects(self) -> None:
        message = chunked(b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n")
        outcome = feed(Connection(Limits()), message, len(message))
        assert (len(outcome.body), outcome.pieces) == (200_000, 1)
        connection = Connection(Limits())
        octets = 0
        for at in range(0, len(message), 7):  # cuts every chunk at another place
            connection.feed(message[at : at + 7])
            if connection.body_done:
                connection.next_request()
            else:
                octets += len(connection.next_body() or b"")
        assert octets == 200_000

    def test_a_body_that_is_fed_faster_than_read(self) -> None:
        connection = fed(post(b"Content-Length: 3000000"))
        connection.next_request()
        for _ in range(300):
            connection.feed(b"a" * 10_000)
        assert len(connection.next_body() or b"") == 3_000_000
        assert (connection.body_done, connection.buffered_size) == (True, 0)

    def test_many_pipelined_requests(self) -> None:
        connection = fed(get() * 20_000)
        for _ in range(20_000):
            assert connection.next_request() is not None
            connection.feed(get())
        for _ in range(20_000):
            assert connection.next_request() is not None
        assert connection.next_request() is None

    @pytest.mark.parametrize("wrong", ["GET", None, bytearray(b"GET")])
    def test_feed_takes_bytes_alone(self, wrong: Any) -> None:
        with pytest.raises(TypeError):
            Connection(Limits()).feed(wrong)


class TestDirect:
    """A declared body may be received past the parser's memory."""

    def test_a_declared_body(self) -> None:
        connection = fed(post(b"Content-Length: 10", body=b"abc"))
        assert connection.direct_size == 0
        connection.next_request()
        assert connection.direct_size == 0  # three octets are held: they come first
        assert connection.next_body() == b"abc"
        assert connection.direct_size == 7
        connection.note_received(3)
        assert (connection.direct_size, connection.body_done) == (4, False)
        connection.feed(b"hi")
        assert connection.direct_size == 0
        assert connection.next_body() == b"hi"
        connection.note_received(2)
        assert (connection.body_done, connection.direct_size) == (True, 0)
        connection.feed(NEXT)
        assert connection.next_request() is not None

    def test_only_as_much_as_is_declared(self) -> None:
        connection = fed(post(b"Content-Length: 10"))
        connection.next_request()
        for wrong in (-1, 11):
            with pytest.raises(ValueError, match="direct"):
                connection.note_received(wrong)
        connection.note_received(0)
        connection.note_received(10)
        assert connection.body_done

    def test_never_a_chunked_body(self) -> None:
        connection = fed(chunked(b""))
        connection.next_request()
        assert connection.direct_size == 0


class TestRequest:
    def test_plain_facts(self) -> None:
        head = get(b"X-A: b", target=b"/a%20b?c=d")
        request = request_of(head + b"GET /other")
        assert request.head == head
        assert (request.method, request.target, request.path, request.query) == (
            "GET",
            "/a%20b?c=d",
            "/a%20b",
            "c=d",
        )
        assert (request.uri, request.version, request.minor) == ("/a%20b?c=d", (1, 1), 1)
        assert request.request_line == "GET /a%20b?c=d HTTP/1.1"
        assert request.headers == [("HOST", "example.com"), ("X-A", "b")]
        assert (request.content_length, request.chunked, request.has_body) == (-1, False, False)

    def test_headers_leave_out_what_environ_leaves_out(self) -> None:
        request = request_of(get(b"X_A: b", b"Proxy: c"))
        assert request.headers == [("HOST", "example.com")]

    def test_field(self) -> None:
        request = request_of(get(b"X-A: b", b"x-a:c", b"Script_Name: /d", b"Cookie: e"))
        assert request.field(b"x-a") == b"b, c"
        assert request.field(b"script_name") == b"/d"
        assert request.field(b"host") == b"example.com"
        assert request.field(b"cookie") == b"e"
        assert request.field(b"x") is None
        assert request.field(b"") is None
        assert request_of(get(target=b"http://other/")).field(b"host") == b"other"

    def test_many_fields(self) -> None:
        request = request_of(get(*(b"X-%d: %d" % (number, number) for number in range(99))))
        environ = request.environ({})
        assert [environ[f"HTTP_X_{number}"] for number in range(99)] == [str(number) for number in range(99)]
        assert len(request.headers) == 100

    def test_environ_is_a_completed_copy(self) -> None:
        base = {"SCRIPT_NAME": "", "wsgi.url_scheme": "http", "REQUEST_METHOD": "?"}
        environ = request_of(get()).environ(base)
        assert base == {"SCRIPT_NAME": "", "wsgi.url_scheme": "http", "REQUEST_METHOD": "?"}
        assert environ == {
            "SCRIPT_NAME": "",
            "wsgi.url_scheme": "http",
            "REQUEST_METHOD": "GET",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "RAW_URI": "/",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "HTTP_HOST": "example.com",
        }

    @pytest.mark.parametrize(("target", "path"), [
        (b"/app", ""), (b"/app/", "/"), (b"/app/x?y", "/x"), (b"/%61pp/x", "/x"), (b"http://h/app/x", "/x"),
    ])  # fmt: skip
    def test_script_name_is_cut_from_the_path(self, target: bytes, path: str) -> None:
        environ = request_of(get(target=target)).environ({"SCRIPT_NAME": "/app"})
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", path)

    @pytest.mark.parametrize("target", [b"/", b"/apple", b"/x/app", b"/App/x"])
    def test_a_path_that_is_not_below_script_name(self, target: bytes) -> None:
        with pytest.raises(BadRequest, match="SCRIPT_NAME"):
            request_of(get(target=target)).environ({"SCRIPT_NAME": "/app"})

    def test_the_asterisk_has_no_path(self) -> None:
        environ = request_of(get(target=b"*", method=b"OPTIONS")).environ({"SCRIPT_NAME": "/app"})
        assert (environ["PATH_INFO"], environ["RAW_URI"]) == ("", "*")

    def test_scope(self) -> None:
        base = {"type": "http", "root_path": ""}
        head = get(
            b"X-A: 1",
            b"cookie: a",
            b"X_A: no",
            b"Proxy: no",
            b"x-a: 2",
            b"Cookie: b",
            target=b"/%C3%A4%ff?q=%20",
        )
        assert request_of(head).scope(base) == {
            "type": "http",
            "root_path": "",
            "http_version": "1.1",
            "method": "GET",
            "path": "/ä�",
            "raw_path": b"/%C3%A4%ff",
            "query_string": b"q=%20",
            "headers": [
                (b"host", b"example.com"),
                (b"x-a", b"1"),
                (b"cookie", b"a"),
                (b"x-a", b"2"),
                (b"cookie", b"b"),
            ],
        }

    def test_scope_of_an_absolute_target(self) -> None:
        scope = request_of(raw(b"GET http://b:1?c HTTP/1.0", b"X: y", b"Host: a")).scope({})
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/", b"/", b"c")
        assert scope["headers"] == [(b"host", b"b:1"), (b"x", b"y")]
        assert scope["http_version"] == "1.0"

    def test_one_that_no_connection_made_is_empty(self) -> None:
        request = Request()
        assert (request.head, request.method, request.request_line, request.headers) == (b"", "", "", [])
        assert (request.path, request.target, request.query, request.field(b"host")) == ("/", "", "", None)
        assert request.environ({})["PATH_INFO"] == "/"
        assert request.scope({})["path"] == "/"

    def test_wrong_arguments(self) -> None:
        request = request_of(get())
        for call in (request.environ, request.scope, request.field):
            for wrong in (None, "x", 1):
                with pytest.raises((TypeError, SystemError)):
                    call(wrong)  # type: ignore[arg-type]

    def test_leaves_no_work_for_the_collector(self) -> None:
        request = request_of(get())
        assert not gc.is_tracked(request)
        assert not gc.is_tracked(fed())


class TestWords:
    """Names and values are looked at by words of eight octets: each place in a word, each length."""

    @pytest.mark.parametrize("size", range(1, 26))
    def test_control_octets_at_each_place(self, size: int) -> None:
        for place in range(size):
            for octet in (0x00, 0x08, 0x0A, 0x1F, 0x7F):
                value = bytearray(b"v" * size)
                value[place] = octet
                with pytest.raises(BadRequest):
                    request_of(get(b"X: " + value))
            for octet in (0x09, 0x20, 0x21, 0x7E, 0x80, 0x8A, 0xFF):
                value = bytearray(b"v" * (size + 2))
                value[place + 1] = octet
                assert request_of(get(b"X: " + value)).field(b"x") == value

    @pytest.mark.parametrize("name", [
        b"Host", b"Cookie", b"Referer", b"X-Scheme", b"User-Agent", b"Content-Md5", b"Content-Length",
        b"Accept-Encoding", b"Transfer-Encoding", b"Upgrade-Insecure-Requests",
    ])  # fmt: skip
    def test_a_known_name_is_that_name_alone(self, name: bytes) -> None:
        for place in range(len(name)):
            for octet in range(256):
                other = bytearray(name)
                other[place] = octet
                if other.lower() == name.lower():
                    continue
                line = bytes(other) + b": 1"
                connection = fed(get(line, b"Host: a"))
                try:
                    request = connection.next_request()
                except BadRequest:
                    continue
                assert request is not None
                assert name.lower() not in dict(request.raw_headers(hidden=True)) or name == b"Host"
                assert request.content_length == -1
                assert not request.chunked


class TestLimits:
    def test_defaults(self) -> None:
        limits = Limits()
        assert (limits.request_line, limits.fields, limits.field_size) == (4094, 100, 8190)
        assert (limits.head, limits.body, limits.trailers) == (65536, 0, 8192)

    def test_fields_have_a_bound_in_any_case(self) -> None:
        assert [Limits(fields=fields).fields for fields in (0, 1, 40_000)] == [32768, 1, 32768]

    def test_a_head_has_room_for_its_longest_lines(self) -> None:
        limits = Limits(request_line=60_000, field_size=90_000)
        assert limits.head >= 150_000

    @pytest.mark.parametrize("name", ["request_line", "fields", "field_size", "head", "body", "trailers"])
    def test_negative(self, name: str) -> None:
        with pytest.raises(ValueError, match="negative"):
            Limits(**{name: -1})

    @pytest.mark.parametrize("name", ["request_line", "field_size", "head", "trailers"])
    def test_offsets_stay_inside_32_bits(self, name: str) -> None:
        with pytest.raises(ValueError, match="above"):
            Limits(**{name: 1 << 30})

    def test_none_is_no_limits(self) -> None:
        with pytest.raises(TypeError):
            Connection(None)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            Connection.__new__(Connection)

    def test_a_peer_that_never_ends_a_head_uses_bounded_memory(self) -> None:
        connection = Connection(Limits(request_line=0, field_size=0, head=1000))
        for _ in range(1000):
            connection.feed(b"a")
            assert connection.next_request() is None
        connection.feed(b"a")
        with pytest.raises(UriTooLong):
            connection.next_request()
        assert connection.buffered_size == 0
