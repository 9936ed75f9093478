"""Bodies of requests as an application reads them: wsgi.input, chunks, 100-continue, what is left unread."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest

from canter.testing import Server
from tests.policy import get
from tests.wire.apps import pattern
from tests.wire.dialogue import Client, Tail, ask, target

LINES = b"first\nsecond\r\n\n" + b"x" * 20 + b"\nno end"
EXPECT = b"Expect: 100-continue"
CHUNKED = b"Transfer-Encoding: chunked"


def sized(body: bytes, name: str, given: Any = None, *fields: bytes, how: str = "bare") -> bytes:
    length = b"Content-Length: %d" % len(body)
    return ask(name, given, length, *fields, method=b"POST", how=how) + body


def in_chunks(body: bytes, size: int) -> bytes:
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def chunked(body: bytes, name: str, given: Any = None, *fields: bytes, size: int = 7) -> bytes:
    return ask(name, given, CHUNKED, *fields, method=b"POST") + in_chunks(body, size)


# Calls of wsgi.input, and what each gives.
INPUT_DIALOGUES = (
    ([["read"]], [LINES]),
    ([["read", -1]], [LINES]),
    ([["read", None]], [LINES]),
    ([["read", 0], ["read", 5], ["read", 1], ["read"]], [b"", b"first", b"\n", LINES[6:]]),
    ([["read", 1000], ["read", 1000], ["read"]], [LINES, b"", b""]),
    ([["readline"], ["readline"], ["readline"]], [b"first\n", b"second\r\n", b"\n"]),
    ([["readline", 3], ["readline", 100], ["readline", 0]], [b"fir", b"st\n", b""]),
    ([["readline", 6], ["readline", -1], ["readline", None]], [b"first\n", b"second\r\n", b"\n"]),
    ([["readlines"], ["readline"]], [LINES.splitlines(keepends=True), b""]),
    ([["readlines", 0], ["read"]], [LINES.splitlines(keepends=True), b""]),
    ([["readlines", 7], ["read"]], [[b"first\n", b"second\r\n"], LINES[14:]]),
    ([["iterate"], ["readlines"]], [LINES.splitlines(keepends=True), []]),
    ([["next"], ["next"], ["read", 1]], [b"first\n", b"second\r\n", b"\n"]),
    ([["read", 3], ["readline"], ["iterate"]], [b"fir", b"st\n", LINES[6:].splitlines(keepends=True)]),
    ([["close"], ["read", 5]], [None, b"first"]),
)


@pytest.mark.wsgi
class TestInput:
    """wsgi.input in all its methods; the same whether the body is declared, in chunks, small or large."""

    @pytest.mark.parametrize(("calls", "results"), INPUT_DIALOGUES)
    def test_methods(self, server: Server, calls: list[Any], results: list[Any]) -> None:
        def text(value: Any) -> Any:
            if isinstance(value, bytes):
                return value.decode("latin-1")
            return value and [text(item) for item in value]

        with Client(server) as client:
            for request in (
                sized(LINES, "input", calls),
                chunked(LINES, "input", calls),
                chunked(LINES, "input", calls, size=1),
                sized(LINES, "input", calls, EXPECT),
            ):
                assert json.loads(client.ask(request).body) == [text(result) for result in results]

    def test_no_body(self, server: Server) -> None:
        calls = [["read"], ["read", 5], ["readline"], ["readlines"], ["iterate"]]
        with Client(server) as client:
            for request in (ask("input", calls), sized(b"", "input", calls), chunked(b"", "input", calls)):
                assert json.loads(client.ask(request).body) == ["", "", "", [], []]

    @pytest.mark.parametrize("calls", [[["read", 5], ["readline"], ["readlines"]], [["iterate"]]])
    def test_checked(self, server: Server, calls: list[Any]) -> None:
        with Client(server) as client:
            checked = client.ask(sized(LINES, "input", calls, how="checked"))
            assert checked.body == client.ask(sized(LINES, "input", calls)).body

    def test_it_never_reads_into_the_next_request(self, server: Server) -> None:
        with Client(server) as client:
            client.send(sized(b"abc", "input", [["read", 100], ["read", 100]]) + get(target=b"/next"))
            assert client.answer().text == '["abc", ""]'
            assert json.loads(client.answer().body)["environ"]["PATH_INFO"] == "/next"

    def test_lines_across_pieces(self, server: Server) -> None:
        line = b"x" * 200_000 + b"\n"
        calls = [["readline", 100_000], ["readline"], ["readline"], ["read"]]
        with Client(server) as client:
            for request in (
                sized(line * 2 + b"end", "input", calls),
                chunked(line * 2 + b"end", "input", calls),
            ):
                first, second, third, last = json.loads(client.ask(request).body)
                assert (len(first), len(second), len(third), last) == (100_000, 100_001, 200_001, "end")

    @pytest.mark.early
    def test_after_the_request_it_is_closed(self, server: Server) -> None:
        with Client(server) as client:
            assert client.ask(sized(b"abc", "leaks_input")).text == "kept"
            assert client.ask(ask("leaks_input", {"later": True})).text == "ValueError"


class TestSizes:
    """Small bodies wait in the poller, large ones are read by the application: the same octets arrive."""

    SIZES = (1, 65535, 65536, 65537, 1 << 20, 5_000_003)

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("piece", [1000, 65536, 10_000_000])
    def test_declared(self, server: Server, size: int, piece: int) -> None:
        body = pattern(size)
        with Client(server) as client:
            answer = client.ask(sized(body, "digest", {"size": piece}))
            assert json.loads(answer.body) == [size, hashlib.sha256(body).hexdigest()]
            assert client.ask(get()).status == 200

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("chunk", [1000, 65536, 1 << 20])
    def test_chunks(self, server: Server, size: int, chunk: int) -> None:
        body = pattern(size)
        with Client(server) as client:
            answer = client.ask(chunked(body, "digest", size=chunk))
            assert json.loads(answer.body) == [size, hashlib.sha256(body).hexdigest()]
            assert client.ask(get()).status == 200

    def test_many_chunks_of_one_octet(self, server: Server) -> None:
        body = pattern(200_000)
        with Client(server) as client:
            answer = client.ask(chunked(body, "digest", size=1))
            assert json.loads(answer.body) == [len(body), hashlib.sha256(body).hexdigest()]

    def test_pieces_of_any_size(self, server: Server) -> None:
        chance = random.Random(7)
        body = pattern(300_000)
        for request in (sized(body, "digest"), chunked(body, "digest", size=4000)):
            cuts = sorted(chance.randrange(len(request)) for _ in range(40))
            with Client(server) as client:
                client.send(*(request[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)))
                assert json.loads(client.answer().body) == [len(body), hashlib.sha256(body).hexdigest()]

    def test_trailers_are_read_and_dropped(self, server: Server) -> None:
        with Client(server) as client:
            request = (
                ask("input", [["read"]], CHUNKED, method=b"POST") + b"3\r\nabc\r\n0\r\nX-A: b\r\nY: z\r\n\r\n"
            )
            client.send(request + get(target=b"/next"))
            assert client.answer().text == '["abc"]'
            assert "HTTP_X_A" not in json.loads(client.answer().body)["environ"]


class TestContinue:
    """Expect: 100-continue is dispatched at the head; 100 is sent when the application first reads."""

    @pytest.mark.parametrize("field", [b"Content-Length: 3", CHUNKED])
    def test_sent_at_the_first_read(self, server: Server, field: bytes) -> None:
        body = b"abc" if field != CHUNKED else in_chunks(b"abc", 2)
        with Client(server) as client:
            client.send(ask("input", [["read", 1], ["read"]], field, EXPECT, method=b"POST"))
            assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert client.ask(body).text == '["a", "bc"]'
            assert client.ask(get()).status == 200

    @pytest.mark.early
    def test_not_sent_where_nothing_is_read(self, server: Server) -> None:
        with Client(server) as client:
            client.send(
                ask("ignores", {"status": "403 Forbidden"}, EXPECT, b"Content-Length: 3", method=b"POST")
            )
            answer = client.answer()
            assert (answer.status, answer.interim, answer.closes) == (403, [], True)
            client.expect_end("fin")

    @pytest.mark.early
    def test_not_sent_after_the_head(self, server: Server) -> None:
        """The application reads late; a client that sends on regardless is understood."""
        with Client(server) as client:
            client.send(ask("reads_late", None, EXPECT, b"Content-Length: 3", method=b"POST"))
            head = client.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Connection: close\r\n" in head
            client.send(b"abc")
            assert client.rest() == b"7\r\nbefore \r\n3\r\nabc\r\n0\r\n\r\n"

    def test_not_sent_to_a_1_0_client(self, server: Server) -> None:
        with Client(server) as client:
            fields = EXPECT, b"Content-Length: 3", b"Connection: keep-alive"
            client.send(ask("input", [["read"]], *fields, method=b"POST", version=b"HTTP/1.0") + b"abc")
            answer = client.answer()
            assert (answer.text, answer.interim) == ('["abc"]', [])

    def test_not_sent_without_a_body(self, server: Server) -> None:
        with Client(server) as client:
            for fields in ((EXPECT,), (EXPECT, b"Content-Length: 0")):
                answer = client.ask(ask("input", [["read"]], *fields, method=b"POST"))
                assert (answer.text, answer.interim, answer.closes) == ('[""]', [], False)

    def test_sent_once(self, server: Server) -> None:
        with Client(server) as client:
            calls = [["read", 1], ["readline"], ["read"], ["read"]]
            answer = client.ask(ask("input", calls, EXPECT, b"Content-Length: 3", method=b"POST") + b"abc")
            assert answer.text == '["a", "bc", "", ""]'
            assert [interim.status for interim in answer.interim] == [100]

    @pytest.mark.early
    def test_the_client_waits_in_vain_for_a_failing_application(self, server: Server) -> None:
        with Client(server) as client:
            client.send(ask("fails", None, EXPECT, b"Content-Length: 3", method=b"POST"))
            answer = client.answer()
            assert (answer.status, answer.interim, answer.closes) == (500, [], True)
            client.expect_end("fin")


class TestUnread:
    """What an application does not read of a body is drained within a bound, else the connection closes."""

    @pytest.mark.parametrize("read", [0, 2])
    @pytest.mark.parametrize("size", [3, 10, 60_000])
    def test_little_is_drained(self, server: Server, read: int, size: int) -> None:
        body = b"x" * size
        with Client(server) as client:
            client.send(sized(body, "ignores", {"read": read}) + get(target=b"/next"))
            assert client.answer().text == "ignored"
            assert json.loads(client.answer().body)["environ"]["PATH_INFO"] == "/next"

    def test_chunks_that_are_here_are_drained(self, server: Server) -> None:
        with Client(server) as client:
            client.send(chunked(b"x" * 1000, "ignores") + get(target=b"/next"))
            assert client.answer().text == "ignored"
            assert json.loads(client.answer().body)["environ"]["PATH_INFO"] == "/next"

    @pytest.mark.early
    @pytest.mark.parametrize("name", ["ignores", "fails"])
    @pytest.mark.parametrize("size", [1_000_000, 1 << 40])
    def test_much_closes_and_the_answer_arrives(self, server: Server, name: str, size: int) -> None:
        """A client that sends a large body and only then reads still gets the early answer."""
        with Client(server) as client:
            client.send(ask(name, None, b"Content-Length: %d" % size, method=b"POST"))
            client.try_send([b"x" * 200_000])
            assert client.answer().status == (200 if name == "ignores" else 500)
            client.expect_end()

    @pytest.mark.early
    def test_a_bad_chunk_in_what_is_unread_closes(self, server: Server) -> None:
        with Client(server) as client:
            client.send(ask("ignores", None, CHUNKED, method=b"POST") + b"zz\r\nabc\r\n0\r\n\r\n" + get())
            assert client.answer().text == "ignored"
            client.expect_end()

    def test_unread_octets_are_never_a_request(self, server: Server, tail: Tail) -> None:
        smuggled = get(target=b"/smuggled")
        with Client(server) as client:
            client.send(sized(smuggled * 3, "ignores") + get(target=b"/next"))
            assert client.answer().text == "ignored"
            assert json.loads(client.answer().body)["environ"]["PATH_INFO"] == "/next"
            assert len(tail.lines(f"called {client.name}")) == 2


class TestLimit:
    """--limit-request-body: 413, before the application runs where the length is declared."""

    def test_declared(self, worker: Any) -> None:
        server = worker.server(limit_request_body=10)
        with Client(server) as client:
            assert client.ask(sized(b"x" * 10, "digest")).status == 200
            client.try_send([sized(b"x" * 11, "digest")])
            assert client.answer().status == 413
            client.expect_end()

    def test_a_client_that_waits_for_100_gets_413(self, worker: Any) -> None:
        with Client(worker.server(limit_request_body=10)) as client:
            client.send(ask("digest", None, EXPECT, b"Content-Length: 11", method=b"POST"))
            answer = client.answer()
            assert (answer.status, answer.interim) == (413, [])
            client.expect_end("fin")

    def test_chunks(self, worker: Any) -> None:
        server = worker.server(limit_request_body=10)
        with Client(server) as client:
            assert client.ask(chunked(b"x" * 10, "digest", size=3)).status == 200
            client.try_send([chunked(b"x" * 11, "digest", size=3)])
            assert client.answer().status == 413
            client.expect_end()


def test_percent_decoding(server: Server) -> None:
    """Escapes become latin-1 characters, as PEP 3333 wants them; the raw target stays at hand."""
    with Client(server) as client:
        path = b"".join(b"%%%02x" % octet for octet in range(256))
        told = json.loads(client.ask(get(target=b"/" + path)).body)["environ"]
        assert told["PATH_INFO"] == "/" + "".join(map(chr, range(256)))
        assert told["RAW_URI"] == "/" + path.decode()
        assert target("say") == b"/bare/say"
