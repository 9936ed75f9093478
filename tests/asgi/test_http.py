"""ASGI over HTTP, on a real server: what is sent, what the application sees, what comes back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from canter.testing import Server, serve
from tests.asgi.dialogue import Answer, connected

APPS = Path(__file__).with_name("apps")
LOOPS = ["asyncio", "uvloop"] if find_spec("uvloop") else ["asyncio"]


@pytest.fixture(scope="module", params=LOOPS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve("plain:app", "asyncio", cwd=APPS, asyncio_loop=request.param, keepalive=60) as server:
        yield server


def ask(server: Server, path: str, *lines: str, version: str = "1.1") -> Answer:
    with connected(server.port) as client:
        client.get(path, *lines, version=version)
        return client.answer()


def test_hello_and_the_connection_is_kept(server: Server) -> None:
    with connected(server.port) as client:
        for _ in range(3):
            client.get("/hello")
            answer = client.answer()
            assert (answer.status, answer.body) == (200, b"hello")
            assert answer.fields.keys() == {"content-type", "content-length", "date", "server"}


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with connected(server.port) as client:
        for path in ("/hello", "/stream", "/hello"):
            client.get(path)
        assert [client.answer().body for _ in range(3)] == [b"hello", b"onetwo", b"hello"]


def test_scope(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/show?a=%20b", "X-One: 1", "X-One: 2", "Under_Score: 3")
        peer = list(client.sock.getsockname())
        scope = json.loads(client.answer().body)
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
    assert (scope["http_version"], scope["method"], scope["scheme"]) == ("1.1", "GET", "http")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/show", "/show", "a=%20b")
    assert scope["root_path"] == ""
    assert scope["headers"] == [["host", "a.example"], ["x-one", "1"], ["x-one", "2"]]
    assert scope["client"] == peer
    assert scope["server"] == ["127.0.0.1", server.port]
    assert scope["state"] == {"made": ["at startup"]}
    assert scope["extensions"].keys() == {
        "http.response.early_hint", "http.response.pathsend", "http.response.trailers"
    }  # fmt: skip


def test_scope_follows_a_trusted_proxy(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/show", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")
        scope = json.loads(client.answer().body)
    assert (scope["scheme"], scope["client"]) == ("https", ["192.0.2.7", 0])


def test_scope_does_not_follow_a_stranger(server: Server) -> None:
    """From an address that is no trusted proxy's, though it is the same machine's."""
    with connected(server.port, source="127.0.0.2") as client:
        client.get("/show", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")
        peer = list(client.sock.getsockname())
        scope = json.loads(client.answer().body)
    assert (scope["scheme"], scope["client"], scope["root_path"]) == ("http", peer, "")
    assert peer[0] == "127.0.0.2"


def test_proxy_that_contradicts_itself_is_refused(server: Server) -> None:
    answer = ask(server, "/show", "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off")
    assert (answer.status, answer.fields["connection"]) == (400, "close")


def test_body_of_each_kind(server: Server) -> None:
    large = bytes(range(256)) * 4000
    with connected(server.port) as client:
        for data in (b"", b"small", large):
            client.say(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
            assert client.answer().body == data
        client.say(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.say(b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in (b"some", large)) + b"0\r\n\r\n")
        assert client.answer().body == b"some" + large
        client.get("/hello")
        assert client.answer().body == b"hello"


def test_body_comes_as_it_arrives(server: Server) -> None:
    with connected(server.port) as client:
        client.say(b"POST /pieces HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        server.wait_log("a piece")
        client.say(b"3\r\ntwo\r\n0\r\n\r\n")
        found = json.loads(client.answer().body)
    assert "".join(piece for piece, _ in found) == "onetwo"
    assert found[0] == ["one", True]
    assert found[-1][1] is False


def test_continue_is_sent_when_the_body_is_asked_for(server: Server) -> None:
    with connected(server.port) as client:
        client.say(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.say(b"data")
        assert client.answer().body == b"data"


def test_continue_is_not_sent_for_an_answer_without_the_body(server: Server) -> None:
    with connected(server.port) as client:
        client.say(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.fields["connection"]) == (200, "close")
        assert client.rest() == b""


def test_body_that_is_no_chunked_one_is_refused(server: Server) -> None:
    """The application waits for more, and is not asked what the answer is."""
    with connected(server.port) as client:
        client.say(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        answer = client.answer()
        assert (answer.status, answer.fields["connection"]) == (400, "close")
    server.wait_log("http.disconnect inside the body")


def test_impatient_reader_loses_nothing(server: Server) -> None:
    with connected(server.port) as client:
        client.say(b"POST /impatient HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegin")
        server.wait_log("^impatient")
        client.say(b"." * 99992 + b"end")
        body = client.answer().body
    assert (len(body), body[:5], body[-3:]) == (100000, b"begin", b"end")


def test_stream(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/stream")
        assert client.head().fields["transfer-encoding"] == "chunked"
        assert [client.chunk() for _ in range(3)] == [b"one", b"two", b""]
        client.get("/hello")
        assert client.answer().body == b"hello"


def test_stream_to_an_old_client_ends_with_the_connection(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/stream", version="1.0")
        assert "transfer-encoding" not in client.head().fields
        assert client.rest() == b"onetwo"


def test_head(server: Server) -> None:
    with connected(server.port) as client:
        client.say(b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.head().fields["content-length"] == "5"
        assert client.head().status == 200
        client.get("/hello")
        assert client.answer().body == b"hello"


def test_no_content(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/no_content")
        assert client.head().status == 204
        client.get("/hello")
        assert client.answer().body == b"hello"


def test_sending_waits_for_the_client(server: Server) -> None:
    """What is sent is bounded by what the client takes."""
    with connected(server.port) as client:
        client.get("/streams_on")
        server.wait_log("sent 0")
        assert client.head().status == 200
        assert "sent all" not in server.log
        assert sum(len(chunk) for chunk in iter(client.chunk, b"")) == 1000 * 65536
    server.wait_log("sent all")


def test_pieces_of_two_tasks_do_not_mix(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/sends_at_once")
        client.head()
        chunks = list(iter(client.chunk, b""))
    assert {(len(chunk), *set(chunk)) for chunk in chunks} == {(50_000, ord("a")), (50_000, ord("b"))}
    assert len(chunks) == 100


def test_what_is_not_awaited_is_sent_too(server: Server) -> None:
    body = ask(server, "/unawaited").body
    assert (len(body), set(body)) == (20_000_000, {ord("y")})


def test_half_closed_client_is_told_of_and_answered(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/held")
        server.wait_log("^waiting")
        client.finish_sending()
        assert client.answer().body == b"late"
    server.wait_log("told http.disconnect\nsent on")


def test_request_and_end_at_once_is_answered(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/stream")
        client.finish_sending()
        assert client.answer().body == b"onetwo"
        assert client.rest() == b""


def test_sending_to_a_client_that_is_gone_raises(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/sends_to_nobody")
        client.head()
        assert client.chunk() == b"first"
        client.reset()
    server.wait_log("OSError ClientDisconnected")


def test_client_that_leaves_inside_the_body(server: Server) -> None:
    with connected(server.port) as client:
        client.say(b"POST /pieces HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome")
        client.finish_sending()
        assert b"hello" not in client.rest()
    server.wait_log("KeyError: 'body'")  # it reads http.disconnect as if it had a body


def test_application_goes_on_after_its_answer(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/after")
        assert client.answer().body == b"hello"
        server.wait_log("told http.disconnect\nRuntimeError http.response.body")
        client.get("/release")
        assert client.answer().body == b"hello"
    server.wait_log("^went on")


def test_context_variables_end_with_their_request(server: Server) -> None:
    with connected(server.port) as client:
        for _ in range(2):
            client.get("/variables")
            assert client.answer().body == b"unset left over"


def test_task_is_one_like_any_other(server: Server) -> None:
    assert b"name='request' coro=<app()" in ask(server, "/tasks").body
    server.wait_log(r"Stack for <Task(?s:.)* in app$")


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/raises_before", "LookupError: before"),
        ("/raises_begun", "LookupError: begun"),
        ("/exits", "SystemExit: no"),
        ("/says_nothing", "returned without an answer to /says_nothing"),
        ("/cancels_itself", "Error handling request /cancels_itself"),
        ("/bad_header", "answer to GET /bad_header HTTP/1.1 is not valid.*control character"),
        ("/str_body", "answer to GET /str_body HTTP/1.1 is not valid.*str"),
        ("/nowhere", "KeyError: '/nowhere'"),
    ],
)
def test_error_before_the_head_is_a_500(server: Server, path: str, logged: str) -> None:
    answer = ask(server, path)
    assert (answer.status, answer.fields["connection"]) == (500, "close")
    server.wait_log(logged)


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/raises_within", "LookupError: within"),
        ("/says_half", "returned before its answer to /says_half was complete"),
        ("/too_short", "has fewer octets than its Content-Length of 10"),
    ],
)
def test_error_after_the_head_cuts_the_answer(server: Server, path: str, logged: str) -> None:
    with connected(server.port) as client:
        client.get(path)
        assert client.is_cut()
    server.wait_log(logged)


def test_error_after_the_answer_is_only_logged(server: Server) -> None:
    assert ask(server, "/raises_after").body == b"hello"
    server.wait_log("Error after the answer to /raises_after(?s:.)*LookupError: after")


def test_too_long_an_answer_is_cut_at_its_length(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/too_long")
        assert client.answer().body == b"much"
        assert client.rest() == b""
    server.wait_log("more octets than its Content-Length of 4")


def test_early_hints(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/hints")
        assert client.until(b"\r\n\r\n") == (
            b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>; rel=preload\r\n\r\n"
        )
        assert client.answer().body == b"hello"
    assert ask(server, "/hints", version="1.0").status == 200


def test_trailers_for_a_client_that_wants_them(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/trailers", "TE: trailers", "Connection: TE")
        client.until(b"data\r\n")
        assert client.until(b"\r\n\r\n") == b"0\r\nx-one: 1\r\nx-two: 2\r\n\r\n"
        client.get("/trailers")
        assert client.answer().body == b"data"
        client.get("/hello")
        assert client.answer().body == b"hello"


def test_file(server: Server) -> None:
    answer = ask(server, "/file")
    text = (APPS / "plain.py").read_bytes()
    assert (answer.body, answer.fields["content-length"]) == (text, str(len(text)))


def test_many_clients_at_once(server: Server) -> None:
    with connected(server.port) as bystander:
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(200)]
        for client in clients:
            client.sendall(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        bystander.get("/hello")
        assert bystander.answer().body == b"hello"
        for client in clients:
            client.shutdown(socket.SHUT_WR)
        for client in clients:
            with client:
                assert client.makefile("rb").read().endswith(b"late")
