"""Answers, fed whole, octet by octet, and with something behind them."""

from __future__ import annotations

import pytest

from canter.bench.answer import Answer, Malformed

RIGHT = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc", True),
    "empty": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b"", True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "closing": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na", 200, b"a", False),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, b"a", False),
    "old kept": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\na", 200, b"a", True),
    "chunked": (
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\n"
        ),
        200,
        b"abc0123456789abcdef",
        True,
    ),
    "trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
        200,
        b"a",
        True,
    ),
    "interim": (
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
        ),
        404,
        b"no",
        True,
    ),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_right(name: str, step: int) -> None:
    wire, status, body, keep_alive = RIGHT[name]
    answer = Answer()
    pieces = [wire[at : at + step] for at in range(0, len(wire), step)]
    assert [answer.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert (answer.status, answer.body(), answer.keep_alive) == (status, body, keep_alive)
    assert answer.size == len(body)


@pytest.mark.parametrize("name", RIGHT)
def test_octets_behind_an_answer_are_an_error(name: str) -> None:
    with pytest.raises(Malformed, match="past the end"):
        Answer().feed(RIGHT[name][0] + b"HTTP/1.1 200 OK\r\n")


def test_head_has_no_body() -> None:
    answer = Answer()
    answer.begin(bodyless=True)
    assert answer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")


def test_until_close() -> None:
    answer = Answer()
    assert not answer.feed(b"HTTP/1.0 200 OK\r\n\r\nabc")
    assert not answer.feed(b"def")
    assert answer.end()
    assert answer.body() == b"abcdef"


@pytest.mark.parametrize("name", ["length", "chunked"])
def test_a_close_inside_an_answer_does_not_complete_it(name: str) -> None:
    answer = Answer()
    assert not answer.feed(RIGHT[name][0][:-1])
    assert not answer.end()


def test_take_gives_each_octet_once() -> None:
    answer = Answer()
    answer.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nd")
    assert answer.take() == b"abcd"
    assert answer.feed(b"e\r\n0\r\n\r\n")
    assert answer.take() == b"e"


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad line\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad : name\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"x" * 70_000,
    ],
)
def test_malformed(wire: bytes) -> None:
    with pytest.raises(Malformed):
        Answer().feed(wire)
