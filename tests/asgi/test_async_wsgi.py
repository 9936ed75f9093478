"""Asynchronous WSGI on a real server: PEP 3333, awaited."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from canter.testing import Server, serve
from tests.asgi.dialogue import Answer, Client, connected

APPS = Path(__file__).with_name("apps")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    settings = {"keepalive": 60, "limit_request_body": 1_000_000}
    with serve("wsgi_async:app", "asyncio", cwd=APPS, **settings) as server:
        yield server


def ask(server: Server, path: str) -> Answer:
    with connected(server.port) as client:
        client.get(path)
        return client.answer()


def test_list_of_bytes_is_one_answer(server: Server) -> None:
    answer = ask(server, "/hello")
    assert (answer.status, answer.fields["content-length"], answer.body) == (200, "5", b"hello")


def test_environ(server: Server) -> None:
    environ = json.loads(ask(server, "/show").body)
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.multithread"] is False
    assert environ["wsgi.input_terminated"] is True


@pytest.mark.parametrize("size", [0, 5, 500_000])
def test_input_is_received_first(server: Server, size: int) -> None:
    body = b"x" * size
    with connected(server.port) as client:
        client.say(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (size, body))
        assert client.answer().body == body
        client.say(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.say((b"%x\r\n%b\r\n" % (size, body) if size else b"") + b"0\r\n\r\n")
        assert client.answer().body == body


def test_input_that_is_waited_for_gets_its_100(server: Server) -> None:
    with connected(server.port) as client:
        client.say(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.say(b"data")
        assert client.answer().body == b"data"


def test_too_large_an_input_is_refused(server: Server) -> None:
    with connected(server.port) as client:
        client.say(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffff0\r\n")
        assert client.answer().status == 413


def test_iterable_is_sent_in_pieces_and_closed(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/pieces")
        client.head()
        assert [client.chunk() for _ in range(3)] == [b"one", b"two", b""]
    server.wait_log("^closed")


def test_async_iterable_is_sent_in_pieces_and_closed(server: Server) -> None:
    assert ask(server, "/events").body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    server.wait_log("^events closed")


def test_endless_answer_ends_with_its_client(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/endless")
        client.head()
        assert len(client.chunk()) == 65536
        client.reset()
    server.wait_log("^endless closed")


@pytest.mark.parametrize("leave", [Client.reset, Client.finish_sending], ids=["reset", "fin"])
def test_silent_answer_ends_with_its_client(leave: Callable[[Client], None]) -> None:
    """Nothing is sent that could fail, and the wait for news ends all the same."""
    with serve("wsgi_async:app", "asyncio", cwd=APPS) as server, connected(server.port) as client:
        client.get("/silent")
        client.head()
        assert client.chunk() == b"first"
        leave(client)
        server.wait_log("^silent closed")
        if leave is Client.finish_sending:
            assert client.is_cut()
        assert ask(server, "/hello").body == b"hello"
        assert "Traceback" not in server.log


def test_half_close_still_gets_the_answer(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/events")
        client.finish_sending()
        assert client.answer().body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_half_close_and_a_slow_end_of_the_iterable_is_no_silence() -> None:
    """The answer is whole; what its application does behind it cuts nothing."""
    with serve("wsgi_async:app", "asyncio", cwd=APPS) as server, connected(server.port) as client:
        client.get("/closes_slowly")
        client.finish_sending()
        assert client.answer().body == b"all"
        server.wait_log("^closed (slowly|early)")
        assert "closed slowly" in server.log


def test_error_before_the_head_is_a_500(server: Server) -> None:
    assert ask(server, "/raises").status == 500
    server.wait_log("LookupError: before")


def test_error_after_the_head_cuts_the_answer(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/raises_within")
        assert client.is_cut()
    server.wait_log("LookupError: within")


def test_exc_info_begins_again(server: Server) -> None:
    answer = ask(server, "/begins_again")
    assert (answer.status, answer.body) == (503, b"sorry")


def test_write(server: Server) -> None:
    assert ask(server, "/writes").body == b"written and returned"


def test_file(server: Server) -> None:
    text = (APPS / "wsgi_async.py").read_bytes()
    answer = ask(server, "/file")
    assert (answer.body, answer.fields["content-length"]) == (text, str(len(text)))
    with connected(server.port) as client:
        client.say(b"HEAD /file HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.head().fields["content-length"] == str(len(text))
        client.get("/hello")
        assert client.answer().body == b"hello"
