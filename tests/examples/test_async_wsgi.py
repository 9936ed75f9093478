"""The two examples of asynchronous WSGI, with several clients at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx


def test_long_poll(visit) -> None:
    with visit("long_poll:app", worker_class="asyncio") as client, ThreadPoolExecutor() as pool:
        polls = [pool.submit(httpx.get, client.base_url, timeout=60) for _ in range(3)]
        told = 0
        while told < 3:  # a poll may arrive after the first news
            told += int(client.post("/", content=b"It rains").text.removeprefix("told "))
        assert [poll.result(60).text for poll in polls] == ["It rains"] * 3


def test_server_sent_events(visit) -> None:
    with (
        visit("server_sent_events:app", worker_class="asyncio", graceful_timeout=1) as client,
        client.stream("GET", "/") as answer,
    ):
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.iter_lines()
        assert [next(lines)[:6] for _ in range(4)] == ["data: ", "", "data: ", ""]
