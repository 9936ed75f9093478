"""Answers: what an application says, and what goes on the wire for it."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from canter.errors import ResponseError
from canter.http._http1 import Connection, Limits, Request
from canter.http._response import Response, interim, refusal
from tests.policy import get

STAMP = b"Server: canter\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
KEPT_10 = get(b"Connection: keep-alive", version=b"HTTP/1.0")


def request_of(head: bytes) -> Request:
    connection = Connection(Limits())
    connection.feed(head)
    request = connection.next_request()
    assert request is not None
    return request


def answer(
    head: bytes = get(), status: Any = "200 OK", headers: Any = (), keep_alive: bool = True
) -> Response:
    response = Response(request_of(head), keep_alive)
    response.begin(status, headers)
    return response


def lines(head: bytes) -> list[bytes]:
    assert head.endswith(b"\r\n\r\n")
    assert STAMP in head
    return head.replace(STAMP, b"").split(b"\r\n")[:-2]


class TestFraming:
    def test_length_that_the_application_declares(self) -> None:
        response = answer(headers=[("Content-Length", "5")])
        assert lines(response.head(STAMP, -1)) == [b"HTTP/1.1 200 OK", b"Content-Length: 5"]
        assert (response.length, response.chunked, response.keep_alive) == (5, False, True)
        assert response.frame(b"he") + response.frame(b"llo") + response.end() == b"hello"
        assert (response.sent, response.overrun, response.underrun, response.keep_alive) == (
            5,
            False,
            False,
            True,
        )

    @pytest.mark.parametrize("head", [get(), KEPT_10])
    def test_length_that_is_known(self, head: bytes) -> None:
        response = answer(head)
        assert b"Content-Length: 5" in lines(response.head(STAMP, 5))
        assert response.keep_alive
        assert response.frame(b"hello") == b"hello"

    def test_chunks(self) -> None:
        response = answer()
        assert lines(response.head(STAMP, -1)) == [b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked"]
        assert response.frame(b"hello") == b"5\r\nhello\r\n"
        assert response.frame(b"") == b""  # an empty chunk would end the body
        assert response.frame(b"a" * 300) == b"12c\r\n" + b"a" * 300 + b"\r\n"
        assert response.end() == b"0\r\n\r\n"
        assert (response.sent, response.keep_alive) == (305, True)

    def test_chunks_by_hand(self) -> None:
        response = answer()
        response.head(STAMP, -1)
        assert response.allow(70_000) == 70_000
        assert (response.chunk_head(70_000), response.chunk_tail()) == (b"11170\r\n", b"\r\n")
        assert response.chunk_head((1 << 63) - 1 - 70_000) == b"7ffffffffffeee8f\r\n"

    def test_octets_by_hand(self) -> None:
        response = answer(headers=[("Content-Length", "10")])
        response.head(STAMP, -1)
        assert (response.chunk_head(7), response.chunk_tail()) == (b"", b"")
        assert response.allow(3) == 3
        assert not response.overrun
        assert response.allow(4) == 3
        assert response.overrun
        with pytest.raises(RuntimeError):
            response.chunk_head(4)

    def test_1_0_without_a_length_ends_with_the_connection(self) -> None:
        response = answer(KEPT_10)
        assert lines(response.head(STAMP, -1)) == [b"HTTP/1.1 200 OK", b"Connection: close"]
        assert (response.keep_alive, response.chunked) == (False, False)
        assert response.frame(b"hello") + response.end() == b"hello"

    def test_too_much_is_cut(self) -> None:
        response = answer(headers=[("Content-Length", "5")])
        response.head(STAMP, -1)
        assert response.frame(b"hel") == b"hel"
        assert response.frame(b"lo, world") == b"lo"
        assert (response.overrun, response.keep_alive) == (True, False)
        assert response.frame(b"!") == b""
        assert response.end() == b""
        assert not response.underrun

    def test_too_little_closes(self) -> None:
        response = answer(headers=[("Content-Length", "5")])
        response.head(STAMP, -1)
        response.frame(b"hel")
        assert response.end() == b""
        assert (response.underrun, response.keep_alive) == (True, False)

    @pytest.mark.parametrize("known", [4, 6])
    def test_a_known_mismatch_is_said_in_the_head(self, known: int) -> None:
        response = answer(headers=[("Content-Length", "5")])
        assert b"Connection: close" in lines(response.head(STAMP, known))

    @pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", 204, 304])
    def test_statuses_without_a_body(self, status: Any) -> None:
        response = answer(status=status)
        assert len(lines(response.head(STAMP, 5))) == 1
        assert (response.bodyless, response.keep_alive) == (True, True)
        assert response.frame(b"hello") + response.end() == b""
        assert (response.sent, response.overrun, response.underrun) == (0, False, False)

    def test_204_has_no_length_and_304_may(self) -> None:
        headers = [("Content-Length", "5")]
        assert len(lines(answer(status="204 No Content", headers=headers).head(STAMP, -1))) == 1
        response = answer(status="304 Not Modified", headers=headers)
        assert b"Content-Length: 5" in lines(response.head(STAMP, -1))
        response.end()
        assert (response.underrun, response.keep_alive) == (False, True)

    def test_a_1xx_as_the_final_answer_closes(self) -> None:
        response = answer(status="101 Switching Protocols", headers=[("Content-Length", "5")])
        assert lines(response.head(STAMP, 5)) == [b"HTTP/1.1 101 Switching Protocols", b"Connection: close"]
        assert response.frame(b"hello") == b""

    def test_head_says_what_get_would(self) -> None:
        head = get(method=b"HEAD")
        response = answer(head, headers=[("Content-Length", "5")])
        assert b"Content-Length: 5" in lines(response.head(STAMP, -1))
        assert response.frame(b"hello") + response.end() == b""
        assert (response.keep_alive, response.underrun) == (True, False)
        assert b"Content-Length: 5" in lines(answer(head).head(STAMP, 5))
        assert len(lines(answer(head).head(STAMP, 0))) == 1  # nothing was yielded: nothing is known of GET
        assert len(lines(answer(head).head(STAMP, -1))) == 1
        assert len(lines(answer(head, status="304 Not Modified").head(STAMP, 5))) == 1

    def test_head_on_1_0_can_keep_the_connection(self) -> None:
        response = answer(get(b"Connection: keep-alive", method=b"HEAD", version=b"HTTP/1.0"))
        assert b"Connection: keep-alive" in lines(response.head(STAMP, -1))


class TestWhole:
    def test_is_head_and_body(self) -> None:
        response = answer(headers=[("X-A", "b")])
        head, empty, body = response.whole(STAMP, b"hello").partition(b"\r\n\r\n")
        assert lines(head + empty) == [b"HTTP/1.1 200 OK", b"X-A: b", b"Content-Length: 5"]
        assert body == b"hello"
        assert (response.sent, response.length, response.started) == (5, 5, True)

    def test_empty(self) -> None:
        assert answer().whole(STAMP, b"").endswith(STAMP + b"\r\n")

    def test_no_body_for_head(self) -> None:
        response = answer(get(method=b"HEAD"))
        assert b"Content-Length: 5" in lines(response.whole(STAMP, b"hello"))
        assert response.sent == 0

    @pytest.mark.parametrize(("body", "on_the_wire"), [(b"hel", b"hel"), (b"hello, world", b"hello")])
    def test_a_wrong_length(self, body: bytes, on_the_wire: bytes) -> None:
        response = answer(headers=[("Content-Length", "5")])
        head, _, sent = response.whole(STAMP, body).partition(b"\r\n\r\n")
        assert b"\r\nConnection: close" in head
        assert sent == on_the_wire
        assert (response.overrun, response.underrun) == (len(body) > 5, len(body) < 5)
        assert not response.keep_alive

    def test_large(self) -> None:
        headers = [(f"X-{number}", "v" * 100) for number in range(200)]
        whole = answer(headers=headers).whole(STAMP, b"b" * 100_000)
        assert whole.endswith(b"\r\n\r\n" + b"b" * 100_000)
        assert all(f"X-{number}: {'v' * 100}\r\n".encode() in whole for number in range(200))


class TestConnection:
    @pytest.mark.parametrize(("head", "keep_alive", "said"), [
        (get(), True, None),
        (get(), False, b"close"),
        (get(b"Connection: close"), True, b"close"),
        (KEPT_10, True, b"keep-alive"),
        (KEPT_10, False, b"close"),
        (get(version=b"HTTP/1.0"), True, b"close"),
    ])  # fmt: skip
    def test_says_only_what_says_something(self, head: bytes, keep_alive: bool, said: bytes | None) -> None:
        response = answer(head, keep_alive=keep_alive)
        found = [line for line in lines(response.head(STAMP, 0)) if line.startswith(b"Connection")]
        assert found == ([b"Connection: " + said] if said else [])
        assert response.keep_alive == (said != b"close")

    @pytest.mark.parametrize("value", ["close", "Close", "x, close", "close,x"])
    def test_close_by_the_application(self, value: str) -> None:
        response = answer(headers=[("Connection", value)])
        assert lines(response.head(STAMP, 0)).count(b"Connection: close") == 1
        assert (response.keep_alive, response.dropped) == (False, None)

    @pytest.mark.parametrize("name", [
        "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE",
        "Trailer", "Trailers", "Transfer-Encoding", "Upgrade", "transfer-encoding", "UPGRADE",
    ])  # fmt: skip
    def test_hop_by_hop_fields_are_dropped(self, name: str) -> None:
        response = answer(headers=[(name, "chunked"), ("X", "y"), (name, "closed")])
        assert response.dropped == [name, name]
        assert lines(response.head(STAMP, 0)) == [b"HTTP/1.1 200 OK", b"X: y", b"Content-Length: 0"]
        assert response.keep_alive
        as_bytes = answer(status=200, headers=[(name.encode(), b"chunked")])
        assert as_bytes.dropped == [name]

    @pytest.mark.parametrize(
        "name", ["Tea", "Connections", "Content-Type", "Update", "Pragma", "K", "P", "U", "T", "C", "D", "S"]
    )
    def test_others_are_not(self, name: str) -> None:
        assert answer(headers=[(name, "x")]).dropped is None


class TestStamp:
    def test_own_date_and_server(self) -> None:
        head = answer(headers=[("date", "today"), ("X", "y")]).head(STAMP, 0)
        assert head.lower().count(b"\r\ndate:") == 1
        assert b"\r\nServer: canter\r\n" in head
        head = answer(headers=[("SERVER", "mine")]).head(STAMP, 0)
        assert head.lower().count(b"\r\nserver:") == 1
        assert b"\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n" in head
        head = answer(headers=[("Server", "mine"), ("Date", "today")]).head(STAMP, 0)
        assert b"canter" not in head
        assert b"GMT" not in head

    def test_none(self) -> None:
        assert answer().head(b"", 0) == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class TestStatus:
    @pytest.mark.parametrize(
        "status", ["200 OK", "404 Not Found", "299 ", "999 x", "200 \xe4\xff", "200  two  spaces"]
    )
    def test_good(self, status: str) -> None:
        response = answer(status=status)
        assert (response.status, response.status_line) == (int(status[:3]), status)
        assert lines(response.head(STAMP, 0))[0] == b"HTTP/1.1 " + status.encode("latin-1")

    @pytest.mark.parametrize("status", [
        "", "200", "2000 OK", "20 OK", "OK", "OK 200", "200OK", "200\tOK", " 200 OK", "099 x", "000 x",
        "-20 x", "2x0 OK", "200 OK\r\nX: y", "200 O\nK", "200 O\rK", "200 OK\x00", "200 \x7f", "200 \u20ac",
        "\u0662\u0660\u0660 OK", b"200 OK", None, 2.0,
    ])  # fmt: skip
    def test_wrong(self, status: Any) -> None:
        with pytest.raises(ResponseError, match="200 OK"):
            answer(status=status)

    @pytest.mark.parametrize(("status", "line"), [
        (200, "200 OK"), (404, "404 Not Found"), (413, "413 Content Too Large"), (299, "299 Unknown"),
        (999, "999 Unknown"),
    ])  # fmt: skip
    def test_numbers_get_their_phrase(self, status: int, line: str) -> None:
        response = answer(status=status)
        assert response.status_line == line
        assert lines(response.head(STAMP, 0))[0] == b"HTTP/1.1 " + line.encode()

    @pytest.mark.parametrize("status", [0, 99, 1000, -200])
    def test_wrong_numbers(self, status: int) -> None:
        with pytest.raises(ResponseError, match="three digits"):
            answer(status=status)


class TestHeaders:
    @pytest.mark.parametrize(
        "headers", [[("X-A", "b")], (("X-A", "b"),), iter([("X-A", "b")]), [["X-A", "b"]]]
    )
    def test_any_iterable_of_pairs(self, headers: Any) -> None:
        assert b"X-A: b" in lines(answer(headers=headers).head(STAMP, 0))

    def test_latin_1(self) -> None:
        assert b"X: \xe4\t\xff" in lines(answer(headers=[("X", "\xe4\t\xff")]).head(STAMP, 0))
        assert b"X: \xe4\t\xff" in lines(answer(status=200, headers=[(b"X", b"\xe4\t\xff")]).head(STAMP, 0))

    def test_repeated_fields_stay(self) -> None:
        headers = [("Set-Cookie", "a"), ("Set-Cookie", "b")]
        assert lines(answer(headers=headers).head(STAMP, 0))[1:3] == [b"Set-Cookie: a", b"Set-Cookie: b"]

    @pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "a\x00", "(a)", "\xe4", "\u20ac", "a\x7f"])
    def test_wrong_names(self, name: str) -> None:
        with pytest.raises(ResponseError, match="token"):
            answer(headers=[(name, "x")])
        with pytest.raises(ResponseError, match="token"):
            answer(status=200, headers=[(name.encode(), b"x")])

    @pytest.mark.parametrize("octet", [*range(9), *range(10, 32), 127])
    def test_control_characters(self, octet: int) -> None:
        with pytest.raises(ResponseError, match="control character"):
            answer(headers=[("X", f"a{chr(octet)}b")])
        with pytest.raises(ResponseError, match="control character"):
            answer(status=200, headers=[(b"X", b"a%cb" % octet)])

    @pytest.mark.parametrize(("item", "says"), [
        (("X", "\u20ac"), "latin-1"),
        (("X", 5), "write a str"),
        (("X", b"y"), "write a str"),
        ((b"X", "y"), "write a str"),
        (("X", None), "write a str"),
        (("X",), "pair"),
        (("X", "y", "z"), "pair"),
        ("Xy", "pair"),
        (5, "pair"),
    ])  # fmt: skip
    def test_wrong_pairs(self, item: Any, says: str) -> None:
        with pytest.raises(ResponseError, match=says):
            answer(headers=[item])

    @pytest.mark.parametrize(("item", "says"), [
        ((b"X", 5), "write bytes"), ((b"X", "y"), "write bytes"), (("X", b"y"), "write bytes"),
        ((b"X",), "pair"),
    ])  # fmt: skip
    def test_wrong_pairs_of_bytes(self, item: Any, says: str) -> None:
        with pytest.raises(ResponseError, match=says):
            answer(status=200, headers=[item])

    @pytest.mark.parametrize(
        "value",
        ["", "-1", "+1", "1.0", "a", "1 ", "0x1", "9223372036854775808", "99999999999999999999", "\xb2"],
    )
    def test_wrong_lengths(self, value: str) -> None:
        with pytest.raises(ResponseError, match="digits"):
            answer(headers=[("Content-Length", value)])

    def test_the_largest_length(self) -> None:
        assert answer(headers=[("Content-Length", "9223372036854775807")]).length == 2**63 - 1

    def test_two_lengths(self) -> None:
        with pytest.raises(ResponseError, match="more than once"):
            answer(headers=[("Content-Length", "1"), ("content-length", "1")])


class TestOrder:
    def test_after_an_error_another_answer_can_begin(self) -> None:
        response = Response(request_of(get()), True)
        with pytest.raises(ResponseError):
            response.begin(
                "200 OK", [("Connection", "close"), ("Content-Length", "7"), ("Date", "x"), ("X", "\n")]
            )
        response.begin("500 Internal Server Error", [])
        assert lines(response.head(STAMP, 0)) == [b"HTTP/1.1 500 Internal Server Error", b"Content-Length: 0"]
        assert response.keep_alive

    def test_an_error_of_the_iterable_passes_through(self) -> None:
        response = Response(request_of(get()), True)
        with pytest.raises(ZeroDivisionError):
            response.begin("200 OK", (("X", str(1 // zero)) for zero in (1, 0)))
        response.begin("200 OK", [])

    def test_twice_is_a_mistake(self) -> None:
        response = answer()
        with pytest.raises(ResponseError, match="exc_info"):
            response.begin("200 OK", [])

    def test_reset(self) -> None:
        response = answer(status="204 No Content", headers=[("Upgrade", "x"), ("Connection", "close")])
        response.reset()
        response.begin("200 OK", [])
        assert (response.dropped, response.bodyless, response.keep_alive) == (None, False, True)
        response.head(STAMP, 0)
        with pytest.raises(ResponseError, match="sent already"):
            response.reset()
        with pytest.raises(ResponseError, match="sent already"):
            response.begin("200 OK", [])

    def test_wrong_order(self) -> None:
        response = Response(request_of(get()), True)
        for call in (
            lambda: response.head(STAMP, 0),
            lambda: response.whole(STAMP, b""),
            lambda: response.frame(b"a"),
        ):
            with pytest.raises(RuntimeError):
                call()
        response.begin("200 OK", [])
        response.head(STAMP, 0)
        for call in (
            lambda: response.head(STAMP, 0),
            lambda: response.whole(STAMP, b""),
            lambda: response.chunk_head(0),
        ):
            with pytest.raises(RuntimeError):
                call()

    @pytest.mark.parametrize("wrong", ["text", None, 5, bytearray(b"x")])
    def test_only_bytes(self, wrong: Any) -> None:
        with pytest.raises(TypeError):
            answer().whole(STAMP, wrong)
        with pytest.raises(TypeError):
            answer().whole(wrong, b"")
        response = answer()
        response.head(STAMP, -1)
        with pytest.raises(TypeError):
            response.frame(wrong)

    def test_leaves_no_work_for_the_collector(self) -> None:
        assert not gc.is_tracked(answer())


class TestRefusal:
    def test_is_whole_and_closes(self) -> None:
        head, _, body = refusal(400, "Bad Request", STAMP).partition(b"\r\n\r\n")
        assert lines(head + b"\r\n\r\n") == [
            b"HTTP/1.1 400 Bad Request",
            b"Content-Type: text/plain; charset=utf-8",
            b"Content-Length: 16",
            b"Connection: close",
        ]
        assert body == b"400 Bad Request\n"

    def test_no_request(self) -> None:
        response = Response(None, True)
        response.begin("200 OK", [])
        assert b"Connection: close" in lines(response.head(STAMP, -1))
        assert not response.chunked


class TestInterim:
    def test_continue(self) -> None:
        assert interim(100, []) == b"HTTP/1.1 100 Continue\r\n\r\n"

    @pytest.mark.parametrize(
        "headers", [[("Link", "</x>"), ("Link", "</y>")], [(b"Link", b"</x>"), (b"Link", b"</y>")]]
    )
    def test_early_hints(self, headers: Any) -> None:
        assert interim(103, headers) == b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nLink: </y>\r\n\r\n"

    def test_framing_has_no_place_in_it(self) -> None:
        headers = [("Content-Length", "1"), ("Connection", "close"), ("Transfer-Encoding", "chunked")]
        assert interim(103, headers) == b"HTTP/1.1 103 Early Hints\r\n\r\n"

    @pytest.mark.parametrize(
        "headers", [[("Link", "a\nb")], [("Li nk", "a")], [("Link", "\u20ac")], ["Link"], [("Link", b"x")]]
    )
    def test_wrong_headers(self, headers: Any) -> None:
        with pytest.raises(ResponseError):
            interim(103, headers)

    @pytest.mark.parametrize("status", [0, 99, 200, 404])
    def test_final_statuses(self, status: int) -> None:
        with pytest.raises(ResponseError):
            interim(status, [])
