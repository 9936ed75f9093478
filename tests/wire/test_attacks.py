"""Clients that mean no good: the worker goes on, and everybody gets what is theirs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from canter.testing import Server
from tests.policy import get, post
from tests.wire.dialogue import Client, ask

PIPELINED = 3000
LARGE = 3_000_000
CHUNKED = b"Transfer-Encoding: chunked"


def test_thousands_of_requests_in_one_go(server: Server) -> None:
    """All are answered in order, while somebody else is served, too."""
    last = get(b"X-Number: last", b"Connection: close")
    with ThreadPoolExecutor(1) as pool, Client(server) as client, Client(server) as other:
        sending = pool.submit(client.sock.sendall, get() * (PIPELINED - 1) + last)
        assert other.ask(get()).status == 200
        statuses = {client.answer().status for _ in range(PIPELINED - 1)}
        assert statuses == {200}
        assert '"HTTP_X_NUMBER": "last"' in client.answer().text
        client.expect_end()
        sending.result()


def test_an_extension_on_every_chunk(server: Server) -> None:
    """Somebody else is served meanwhile, or by a worker of one request after it."""
    body = (b"1;" + b"x" * 250 + b"\r\na\r\n") * 4000 + b"0\r\n\r\n"
    with ThreadPoolExecutor(1) as pool, Client(server) as client, Client(server) as other:
        asking = pool.submit(client.ask, post(CHUNKED, body=body))
        assert other.ask(get()).status == 200
        answer = asking.result()
        assert answer.status == 200
        assert answer.text.count("a") >= 4000
        assert client.ask(get()).status == 200


def test_resets_everywhere(server: Server) -> None:
    sent = (
        get(),
        get()[:10],
        get() * 50,
        post(b"Content-Length: 100000", body=b"half"),
        post(CHUNKED, body=b"5\r\nhalf"),
        ask("large", {"size": LARGE}),
    )
    for number in range(60):
        client = Client(server).send(sent[number % len(sent)])
        if number % 4 == 0 and sent[number % len(sent)].startswith(b"GET") and number % len(sent) != 1:
            client.more()
        client.reset()
    with Client(server) as client:
        assert client.ask(get()).status == 200


def test_many_who_do_not_read(server: Server) -> None:
    """Large answers that nobody takes keep nobody else out, and are whole once they are taken."""
    clients = [Client(server, receive_buffer=65536).send(ask("large", {"size": LARGE})) for _ in range(30)]
    try:
        with Client(server) as other:
            assert other.ask(get()).status == 200
        assert {len(client.answer().body) for client in clients} == {LARGE}
    finally:
        for client in clients:
            client.sock.close()
