"""What applications answer, and what goes on the wire for it: the policy's table of responses."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from canter.testing import Server
from tests.policy import get
from tests.wire.apps import pattern
from tests.wire.conftest import Family
from tests.wire.dialogue import Answer, Client, Tail, ask

HOW = ("bare", "checked")
V10 = b"HTTP/1.0"
KEPT = b"Connection: keep-alive"
TEXT = ["Content-Type", "text/plain"]


def is_kept(client: Client) -> None:
    """The connection is in order: another request is answered on it."""
    assert client.ask(get(target=b"/next")).status == 200


def is_whole(answer: Answer, body: str) -> None:
    assert answer.complete
    assert (answer.status, answer.text) == (200, body)


class TestFraming:
    """Content-Length where it is known, chunks on 1.1, the end of the connection on 1.0."""

    KNOWN = (
        *(("list", body) for body in (["hello"], ["he", "llo"], [], [""])),
        *(("tuple", body) for body in (["hello"], ["he", "llo"], [])),
    )
    UNKNOWN = (
        ("iterator", ["he", "llo"]),
        ("generator", ["hello"]),
        ("lazy", ["he", "", "llo"]),
        ("write", ["he", "llo"]),
        ("write and list", ["he", "llo"]),
    )

    @pytest.mark.parametrize(("how", "pieces"), KNOWN)
    @pytest.mark.parametrize("version", [b"HTTP/1.1", V10])
    def test_known_length(self, server: Server, how: str, pieces: list[str], version: bytes) -> None:
        body = "".join(pieces)
        with Client(server) as client:
            answer = client.ask(ask("say", {"how": how, "body": pieces}, KEPT, version=version))
            is_whole(answer, body)
            assert answer["content-length"] == str(len(body))
            is_kept(client)

    @pytest.mark.parametrize(("how", "pieces"), UNKNOWN)
    def test_chunks(self, server: Server, how: str, pieces: list[str]) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"how": how, "body": pieces}))
            is_whole(answer, "hello")
            assert answer.chunks == [len(piece) for piece in pieces if piece]
            is_kept(client)

    @pytest.mark.parametrize(("how", "pieces"), UNKNOWN)
    @pytest.mark.parametrize("field", [KEPT, b"X: y"])
    def test_1_0_ends_with_the_connection(
        self, server: Server, how: str, pieces: list[str], field: bytes
    ) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"how": how, "body": pieces}, field, version=V10))
            is_whole(answer, "hello")
            assert answer.closes
            client.expect_end("fin")

    @pytest.mark.parametrize("how", ["iterator", "lazy", "generator"])
    @pytest.mark.parametrize("pieces", [[], [""], ["", "", ""]])
    @pytest.mark.parametrize("around", HOW)
    def test_nothing(self, server: Server, how: str, pieces: list[str], around: str) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"how": how, "body": pieces}, how=around))
            is_whole(answer, "")
            assert answer["content-length"] == "0"
            is_kept(client)

    @pytest.mark.parametrize("how", ["list", "tuple", "iterator", "generator", "lazy", "write"])
    @pytest.mark.parametrize("around", HOW)
    def test_declared_length(self, server: Server, how: str, around: str) -> None:
        given = {"how": how, "headers": [TEXT, ["Content-Length", "5"]], "body": ["he", "llo"]}
        for version in (b"HTTP/1.1", V10):
            with Client(server) as client:
                answer = client.ask(ask("say", given, KEPT, how=around, version=version))
                is_whole(answer, "hello")
                assert answer["content-length"] == "5"
                is_kept(client)

    def test_every_well_behaved_one_can_be_checked(self, server: Server, tail: Tail) -> None:
        for how, pieces in (*self.KNOWN, *self.UNKNOWN):
            with Client(server) as client:
                is_whole(client.ask(ask("say", {"how": how, "body": pieces}, how="checked")), "".join(pieces))
        assert not tail.lines("ERROR")

    @pytest.mark.wsgi
    @pytest.mark.parametrize(
        ("name", "given", "body", "expected"),
        [
            ("hints", {"hints": [["Link", "</a>"]]}, b"", "hello world"),
            ("digest", None, b"abc", f'[3, "{sha256(b"abc").hexdigest()}"]'),
            ("ignores", None, b"abc", "ignored"),
            ("ignores", {"read": 2}, b"abc", "ignored"),
            ("large", {"size": 100_000}, b"", pattern(100_000).decode()),
            ("large", {"size": 100_000, "pieces": 7}, b"", pattern(100_000).decode()),
            ("reads_late", None, b"after", "before after"),
            ("complains", {"lines": ["a line\n"]}, b"", "complained"),
            ("waits", {"seconds": 0.05}, b"", "waited"),
        ],
        ids=[
            "hints",
            "digest",
            "ignores",
            "reads-a-part",
            "large",
            "pieces",
            "reads_late",
            "complains",
            "waits",
        ],
    )
    def test_others_can_be_checked(
        self, server: Server, tail: Tail, name: str, given: Any, body: bytes, expected: str
    ) -> None:
        length = b"Content-Length: %d" % len(body)
        with Client(server) as client:
            client.send(ask(name, given, length, how="checked", method=b"POST") + body)
            is_whole(client.answer(), expected)
            is_kept(client)
        assert len(tail.lines("ERROR")) == len(tail.lines("] a line"))  # what is complained of is logged so
        assert not tail.lines("without being closed")  # the validator's own words

    def test_many_pieces_stay_pieces(self, server: Server) -> None:
        with Client(server) as client:
            given = {"how": "iterator", "body": [{"times": 500, "of": "a"}, {"times": 2, "of": "b" * 3000}]}
            answer = client.ask(ask("say", given))
            is_whole(answer, "a" * 500 + "b" * 6000)
            assert answer.chunks == [*[1] * 500, 3000, 3000]

    @pytest.mark.early
    def test_a_piece_leaves_before_the_next_is_asked_for(self, server: Server) -> None:
        """The application sends, then reads what the client only sends once it has seen that."""
        with Client(server) as client:
            client.send(ask("reads_late", None, b"Transfer-Encoding: chunked", method=b"POST"))
            assert client.until(b"7\r\nbefore \r\n").startswith(b"HTTP/1.1 200 OK\r\n")
            client.send(b"5\r\nafter\r\n0\r\n\r\n")
            assert client.until(b"0\r\n\r\n") == b"5\r\nafter\r\n0\r\n\r\n"


class TestWithoutBody:
    """HEAD, 204 and 304: nothing of a body on the wire, whatever the application yields."""

    @pytest.mark.parametrize("how", ["list", "tuple", "iterator", "lazy", "generator", "write"])
    @pytest.mark.parametrize("pieces", [["hello"], ["he", "llo"], []])
    def test_head(self, server: Server, how: str, pieces: list[str]) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"how": how, "body": pieces}, method=b"HEAD"), "HEAD")
            assert answer.status == 200
            assert not answer.all("transfer-encoding")
            is_kept(client)

    def test_head_says_the_length_of_get(self, server: Server) -> None:
        declared = {"headers": [TEXT, ["Content-Length", "5"]]}
        for given in (
            {"body": ["hello"]},
            {**declared, "body": []},
            {**declared, "how": "lazy", "body": ["hello"]},
        ):
            with Client(server) as client:
                answer = client.ask(ask("say", given, method=b"HEAD"), "HEAD")
                assert answer["content-length"] == "5"
                is_kept(client)

    @pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
    @pytest.mark.parametrize("how", ["list", "iterator", "lazy", "write"])
    @pytest.mark.parametrize("body", [[], ["hello"]])
    def test_status(self, server: Server, status: str, how: str, body: list[str]) -> None:
        with Client(server) as client:
            given = {"status": status, "how": how, "headers": [["X-A", "b"]], "body": body}
            answer = client.ask(ask("say", given))
            assert f"{answer.status} {answer.reason}" == status
            assert not answer.all("content-length") + answer.all("transfer-encoding")
            is_kept(client)

    def test_204_says_no_length_and_304_may(self, server: Server) -> None:
        for status, lengths in (("204 No Content", []), ("304 Not Modified", ["5"])):
            with Client(server) as client:
                answer = client.ask(ask("say", {"status": status, "headers": [["Content-Length", "5"]]}))
                assert answer.all("content-length") == lengths
                is_kept(client)

    @pytest.mark.parametrize("around", HOW)
    def test_checked(self, server: Server, around: str, tail: Tail) -> None:
        with Client(server) as client:
            for status in ("204 No Content", "304 Not Modified"):
                client.ask(ask("say", {"status": status, "headers": [], "how": "iterator"}, how=around))
            client.ask(ask("say", {"how": "lazy", "body": ["x"]}, how=around, method=b"HEAD"), "HEAD")
            is_kept(client)
        assert not tail.lines("ERROR")

    def test_1xx_is_no_answer(self, server: Server) -> None:
        """The client would wait on: the connection ends."""
        with Client(server) as client:
            client.send(ask("say", {"status": "101 Switching Protocols", "headers": [], "body": ["x"]}))
            answer = client.answer()
            assert (answer.status, answer.closes) == (101, True)
            client.expect_end("fin")


class TestLengths:
    """A body that does not match its Content-Length."""

    LONG = [TEXT, ["Content-Length", "5"]]

    @pytest.mark.parametrize(
        "how", ["list", "tuple", "iterator", "lazy", "generator", "write", "write and list"]
    )
    @pytest.mark.parametrize("body", [["hello, world"], ["hel", "lo, world", "!"], ["hello", "!"]])
    def test_too_much_is_cut(self, server: Server, tail: Tail, how: str, body: list[str]) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"how": how, "headers": self.LONG, "body": body}))
            is_whole(answer, "hello")
            client.expect_end("fin")
        assert len(tail.lines("ERROR", "more octets than its Content-Length of 5")) == 1

    @pytest.mark.parametrize("how", ["list", "tuple", "iterator", "lazy", "write", "write and list"])
    @pytest.mark.parametrize("body", [["hell"], ["h", "el"]])
    def test_too_little_closes(self, server: Server, tail: Tail, how: str, body: list[str]) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"how": how, "headers": self.LONG, "body": body}))
            assert (answer.status, answer.text, answer.complete) == (200, "".join(body), False)
            client.expect_end()
        assert len(tail.lines("ERROR", "fewer octets than its Content-Length of 5")) == 1

    def test_nothing_of_what_was_declared(self, server: Server, tail: Tail) -> None:
        for how in ("list", "iterator", "lazy"):
            with Client(server) as client:
                answer = client.ask(ask("say", {"how": how, "headers": self.LONG}))
                assert (answer.body, answer.complete) == (b"", False)
        assert len(tail.lines("ERROR", "fewer octets than its Content-Length of 5")) == 3

    def test_a_length_of_0(self, server: Server) -> None:
        with Client(server) as client:
            given = {"headers": [["Content-Length", "0"]], "body": ["hello"], "how": "iterator"}
            is_whole(client.ask(ask("say", given)), "")
            client.expect_end("fin")


class TestBadAnswers:
    """What can't be put on the wire is a 500 that the log explains; the worker goes on."""

    SPLIT = "a\r\nX-Evil: 1\r\n\r\nHTTP/1.1 200 OK"
    OF_WSGI = (  # a status and fields that ASGI has no words for
        ({"headers": [["X", "\u20ac"]]}, "latin-1"),
        ({"headers": [["X", 5]]}, "write a str"),
        ({"headers": [["X", None]]}, "write a str"),
        ({"headers": [[5, "a"]]}, "write a str"),
        ({"headers": [["X"]]}, "pair"),
        ({"headers": [["X", "a", "b"]]}, "pair"),
        ({"headers": ["XY"]}, "pair"),
        ({"status": 200}, "200 OK"),
        ({"status": "200"}, "200 OK"),
        ({"status": "OK"}, "200 OK"),
        ({"status": ""}, "200 OK"),
        ({"status": "2000 OK"}, "200 OK"),
        ({"status": "099 OK"}, "200 OK"),
        ({"status": "200OK"}, "200 OK"),
        ({"status": "200 OK\r\nX-Evil: 1"}, "200 OK"),
        ({"status": "200 OK\n"}, "200 OK"),
        ({"status": "200 \u20ac"}, "200 OK"),
        ({"status": None}, "200 OK"),
    )

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"headers": [["X", SPLIT]]}, "control character"),
            ({"headers": [["X", "a\n"]]}, "control character"),
            ({"headers": [["X", "a\r"]]}, "control character"),
            ({"headers": [["X", "a\x00"]]}, "control character"),
            ({"headers": [["X", "a\x7f"]]}, "control character"),
            ({"headers": [["X", "a\x1b[m"]]}, "control character"),
            ({"headers": [["X Y", "a"]]}, "no token"),
            ({"headers": [["X:", "a"]]}, "no token"),
            ({"headers": [["X\r\nY", "a"]]}, "no token"),
            ({"headers": [["\xe4", "a"]]}, "no token"),
            ({"headers": [["", "a"]]}, "no token"),
            ({"headers": [["Content-Length", "5a"]]}, "Content-Length"),
            ({"headers": [["Content-Length", "-5"]]}, "Content-Length"),
            ({"headers": [["Content-Length", "99999999999999999999"]]}, "Content-Length"),
            ({"headers": [["Content-Length", "5"], ["content-length", "5"]]}, "Content-Length"),
            *(pytest.param(given, said, marks=pytest.mark.wsgi) for given, said in OF_WSGI),
        ],
        ids=repr,
    )
    def test_head(self, server: Server, tail: Tail, given: dict[str, Any], said: str) -> None:
        for how in ("list", "lazy"):
            tail.skip()
            with Client(server) as client:
                answer = client.ask(ask("say", {**given, "how": how, "body": ["hello"]}))
                assert (answer.status, answer.closes) == (500, True)
                assert not answer.all("x-evil")
                client.expect_end("fin")
            (line,) = tail.lines("ERROR", "is not valid")
            assert said in line

    @pytest.mark.parametrize("how", ["list", "tuple", "iterator", "lazy", "write"])
    @pytest.mark.parametrize(
        ("piece", "said"),
        [({"str": "text"}, "text.encode"), ({"int": 5}, "int"), ({"str": None}, "NoneType")],
    )
    def test_piece(self, server: Server, tail: Tail, how: str, piece: Any, said: str) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"how": how, "body": [piece]}))
            assert (answer.status, answer.closes) == (500, True)
            client.expect_end("fin")
        (line,) = tail.lines("ERROR", "is not valid")
        assert said in line

    def test_a_str_that_comes_late_cuts_the_connection(self, server: Server, tail: Tail) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"how": "iterator", "body": ["first", {"str": "text"}]}))
            assert (answer.status, answer.text, answer.complete) == (200, "first", False)
        assert len(tail.lines("ERROR", "text.encode")) == 1

    @pytest.mark.wsgi
    @pytest.mark.parametrize(
        ("name", "said"),
        [("silent", "without calling start_response"), ("twice", "exc_info"), ("nothing", "NoneType")],
    )
    def test_protocol(self, server: Server, tail: Tail, name: str, said: str) -> None:
        with Client(server) as client:
            assert client.ask(ask(name)).status == 500
            client.expect_end("fin")
        assert tail.lines(said)

    def test_every_octet_that_may_stand_in_a_value(self, server: Server) -> None:
        value = "".join(map(chr, [9, *range(32, 127), *range(128, 256)]))
        with Client(server) as client:
            answer = client.ask(ask("say", {"headers": [["X-All", f"a{value}z"], ["X-Empty", ""]]}))
            assert answer["x-all"] == f"a{value}z"
            assert answer["x-empty"] == ""
            is_kept(client)


class TestFields:
    """Which fields the server sets, and which of the application's it drops."""

    def test_own(self, server: Server) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"body": ["x"]}))
            assert answer["server"] == "canter"
            assert answer["date"].endswith(" GMT")
            assert not answer.all("connection")

    def test_the_application_may_set_them(self, server: Server) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"headers": [["Server", "mine"], ["date", "today"]]}))
            assert (answer["server"], answer["date"]) == ("mine", "today")

    def test_no_server_where_it_is_not_wanted(self, worker: Family) -> None:
        """Neither in an answer nor in a refusal; the application's own stays."""
        with worker.fresh(server_header=False) as server, Client(server) as client:
            answer = client.ask(ask("say", {"body": ["x"]}))
            assert (answer.status, answer.all("server")) == (200, [])
            assert answer["date"].endswith(" GMT")
            assert client.ask(ask("say", {"headers": [["Server", "mine"]]}))["server"] == "mine"
            refused = client.ask(b"BAD\r\n\r\n")
            assert (refused.status, refused.all("server")) == (400, [])

    def test_connection_says_what_the_client_can_not_know(self, server: Server) -> None:
        for version, field, said in (
            (b"HTTP/1.1", b"Connection: close", ["close"]),
            (b"HTTP/1.1", KEPT, []),
            (V10, KEPT, ["keep-alive"]),
            (V10, b"X: y", ["close"]),
        ):
            with Client(server) as client:
                answer = client.ask(ask("say", {"body": ["x"]}, field, version=version))
                assert answer.all("connection") == said
                assert answer.head.startswith(b"HTTP/1.1 200 OK\r\n")

    def test_repeated_fields_stay_and_keep_their_order(self, server: Server) -> None:
        headers = [["Set-Cookie", "a=1"], ["X-A", "b"], ["Set-Cookie", "b=2"], ["set-cookie", "c=3"]]
        with Client(server) as client:
            answer = client.ask(ask("say", {"headers": headers}))
            assert answer.all("set-cookie") == ["a=1", "b=2", "c=3"]

    @pytest.mark.parametrize(
        "name",
        [
            "Transfer-Encoding",
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Upgrade",
            "Proxy-Authenticate",
            "Proxy-Connection",
        ],
    )
    def test_hop_by_hop(self, server: Server, tail: Tail, name: str) -> None:
        """Dropped; that it is warned of once, the next test sees."""
        with Client(server) as client:
            for spelled in (name, name.lower()):
                answer = client.ask(ask("say", {"headers": [[spelled, "chunked"]], "body": ["hello"]}))
                is_whole(answer, "hello")
                assert not answer.all(name)
            is_kept(client)
        assert len(tail.lines("WARNING", f"sets {name},")) <= 1  # another test may have been first

    def test_hop_by_hop_is_warned_of_once(self, worker: Family) -> None:
        with worker.fresh() as server:
            with Client(server) as client:
                for name in ("Keep-Alive", "keep-alive", "Keep-Alive"):
                    is_whole(client.ask(ask("say", {"headers": [[name, "a"]], "body": ["hello"]})), "hello")
            server.stop()  # all that it says is in the log then
            assert server.log.count("sets Keep-Alive,") == 1

    def test_the_application_may_close(self, server: Server) -> None:
        for value in ("close", "Close", "x, close"):
            with Client(server) as client:
                answer = client.ask(ask("say", {"headers": [["Connection", value]], "body": ["hello"]}))
                is_whole(answer, "hello")
                assert answer.all("connection") == ["close"]
                client.expect_end("fin")


class TestExceptions:
    """Before the head is sent: 500. After it: the client can tell that the answer is not whole."""

    @pytest.mark.parametrize(
        "exception", ["RuntimeError", "SystemExit", "KeyboardInterrupt", "GeneratorExit"]
    )
    @pytest.mark.parametrize("begun", [False, True])
    def test_before(self, server: Server, tail: Tail, exception: str, begun: bool) -> None:
        with Client(server) as client:
            answer = client.ask(ask("fails", {"begun": begun, "exception": exception}))
            assert (answer.status, answer.closes) == (500, True)
            assert not answer.all("x-lost")
            client.expect_end("fin")
        assert len(tail.lines("Error handling request")) == 1
        assert len(tail.lines("Traceback")) == 1

    def test_before_and_head(self, server: Server) -> None:
        with Client(server) as client:
            answer = client.ask(ask("fails", method=b"HEAD"), "HEAD")
            assert answer.status == 500
            client.expect_end("fin")

    @pytest.mark.parametrize("how", ["iterator", "lazy", "write", "generator"])
    @pytest.mark.parametrize("around", HOW)
    def test_before_the_first_piece(self, server: Server, how: str, around: str) -> None:
        with Client(server) as client:
            answer = client.ask(ask("say", {"how": how, "body": ["", {"raise": "x"}]}, how=around))
            assert answer.status == 500
            client.expect_end("fin")

    @pytest.mark.parametrize("how", ["iterator", "lazy", "write", "generator"])
    @pytest.mark.parametrize("length", [None, "100"])
    def test_after(self, server: Server, tail: Tail, how: str, length: str | None) -> None:
        headers = [TEXT, *([["Content-Length", length]] if length else [])]
        with Client(server) as client:
            given = {"how": how, "headers": headers, "body": ["first", {"raise": "x"}, "second"]}
            answer = client.ask(ask("say", given))
            assert (answer.status, answer.text, answer.complete) == (200, "first", False)
        assert len(tail.lines("Traceback")) == 1

    def test_after_on_1_0(self, server: Server) -> None:
        """Only a reset can say it where the end of the connection is the end of the body."""
        with Client(server) as client:
            given = {"how": "iterator", "body": ["first", {"raise": "x"}]}
            answer = client.ask(ask("say", given, version=V10))
            assert (answer.text, answer.complete) in (("first", False), ("", False))
            client.expect_end("reset")

    @pytest.mark.parametrize("around", HOW)
    def test_exc_info_before_the_head(self, server: Server, around: str) -> None:
        with Client(server) as client:
            answer = client.ask(ask("recovers", how=around))
            assert (answer.status, answer.text) == (503, "sorry")
            assert not answer.all("x-lost")
            is_kept(client)

    @pytest.mark.parametrize("around", HOW)
    def test_exc_info_after_the_head(self, server: Server, tail: Tail, around: str) -> None:
        with Client(server) as client:
            answer = client.ask(ask("recovers_late", how=around))
            assert (answer.status, answer.text, answer.complete) == (200, "first", False)
            assert tail.lines(f"raised again {client.name}")
        assert len(tail.lines("ValueError: found too late")) == 1


class TestClosing:
    """iterable.close() is called once, whatever happened."""

    @pytest.mark.parametrize(
        "given",
        [
            {"body": ["hello"]},
            {"body": []},
            {"body": ["", {"raise": "x"}]},
            {"body": ["first", {"raise": "x"}]},
            {"body": [{"str": "text"}]},
            {"body": ["hello", {"str": "text"}]},
            {"body": ["hello"], "headers": [["Content-Length", "2"]]},
            {"body": ["hello"], "headers": [["Content-Length", "9"]]},
            {"body": ["hello"], "status": "204 No Content", "headers": []},
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("method", [b"GET", b"HEAD"])
    def test_called(self, server: Server, tail: Tail, given: dict[str, Any], method: bytes) -> None:
        with Client(server) as client:
            client.send(ask("say", {**given, "how": "iterator"}, b"Connection: close", method=method)).rest()
            tail.wait(f"closed {client.name}")
        assert len(tail.lines("closed")) == 1

    def test_called_for_a_bad_head(self, server: Server, tail: Tail) -> None:
        with Client(server) as client:
            assert client.ask(ask("say", {"how": "lazy", "status": "bad", "body": ["x"]})).status == 500
            tail.wait(f"closed {client.name}")

    @pytest.mark.parametrize("body", [["hello"], [], [{"times": 50000, "of": "a" * 100}]])
    def test_an_error_in_close_comes_after_the_answer(
        self, server: Server, tail: Tail, body: list[str]
    ) -> None:
        with Client(server) as client:
            client.send(ask("fails_on_close", {"body": body}, b"Connection: close"))
            whole = "".join(
                piece if isinstance(piece, str) else piece["of"] * piece["times"] for piece in body
            )
            is_whole(client.answer(), whole)
            tail.wait("close failed on purpose")
        assert len(tail.lines("Traceback")) == 1


class TestEarlyHints:
    LINKS = [["Link", "</a.css>; rel=preload"], ["Link", "</b.js>"]]

    def test_1_1(self, server: Server) -> None:
        with Client(server) as client:
            answer = client.ask(ask("hints", {"hints": self.LINKS}))
            is_whole(answer, "hello world")
            (hint,) = answer.interim
            assert (hint.status, hint.reason) == (103, "Early Hints")
            assert hint.fields == [("link", value) for _, value in self.LINKS]
            is_kept(client)

    def test_never_to_a_1_0_client(self, server: Server) -> None:
        with Client(server) as client:
            answer = client.ask(ask("hints", {"hints": self.LINKS}, version=V10))
            is_whole(answer, "hello world")
            assert not answer.interim

    @pytest.mark.parametrize("field", [["Link", "a\r\nX: y"], ["X Y", "a"], ["X", "\u20ac"]])
    def test_bad_ones(self, server: Server, field: list[str]) -> None:
        with Client(server) as client:
            answer = client.ask(ask("hints", {"hints": [field]}))
            assert (answer.status, answer.interim) == (500, [])


class TestPipelines:
    """Requests that come behind each other are answered in order, one at a time."""

    @pytest.mark.parametrize("count", [2, 100, 1500])
    def test_in_order(self, server: Server, count: int) -> None:
        requests = [ask("say", {"body": [str(number)]}) for number in range(count)]
        with Client(server) as client:
            client.send(b"".join(requests))
            assert [client.answer().text for _ in requests] == [str(number) for number in range(count)]
            is_kept(client)

    def test_of_every_kind(self, server: Server) -> None:
        """Bodies, HEAD, chunks and slow answers among them."""
        body = b"5\r\nhello\r\n0\r\n\r\n"
        dialogue = [
            (ask("say", {"how": "iterator", "body": ["a", "b"]}), "ab"),
            (ask("say", {"body": ["hidden"]}, method=b"HEAD"), ""),
            (ask("input", [["read"]], b"Content-Length: 3", method=b"POST") + b"abc", '["abc"]'),
            (ask("input", [["readline"]], b"Transfer-Encoding: chunked", method=b"POST") + body, '["hello"]'),
            (ask("ignores", None, b"Transfer-Encoding: chunked", method=b"POST") + body, "ignored"),
            (ask("ignores", None, b"Content-Length: 5", method=b"POST") + b"12345", "ignored"),
            (ask("waits", {"seconds": 0.05}), "waited"),
            (ask("say", {"status": "204 No Content", "headers": []}), ""),
            (ask("say", {"body": ["last"]}, b"Connection: close"), "last"),
            (ask("say", {"body": ["never"]}), None),
        ]
        with Client(server) as client:
            client.send(b"".join(request for request, _ in dialogue))
            for request, text in dialogue[:-1]:
                assert client.answer(request[:4].decode().strip()).text == text
            client.expect_end()

    def test_nothing_is_read_behind_a_refusal(self, server: Server, tail: Tail) -> None:
        with Client(server) as client:
            client.send(get(target=b"/first") + b"BAD\r\n\r\n" + get(target=b"/second"))
            assert [client.answer().status, client.answer().status] == [200, 400]
            client.expect_end()
            assert len(tail.lines(f"called {client.name}")) == 1

    def test_with_a_half_close_behind(self, server: Server) -> None:
        with Client(server) as client:
            client.send(get() * 20).finish()
            assert [client.answer().status for _ in range(20)] == [200] * 20
            client.expect_end("fin")
