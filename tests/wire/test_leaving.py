"""Clients that leave, at every point, and clients that are slow beside others."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import termios
import threading
from collections.abc import Callable

import pytest

from canter.testing import Server
from tests.policy import get
from tests.wire.apps import pattern
from tests.wire.conftest import Family
from tests.wire.dialogue import Client, Tail, ask, wait_for
from tests.wire.test_bodies import CHUNKED, EXPECT, sized

LARGE = 20_000_000
QUEUES = ("sync", "gthread", "asyncio", "tornado")  # where a request may wait for a thread


def is_served(server: Server) -> None:
    """A bystander is answered."""
    with Client(server) as client:
        assert client.ask(get(b"Connection: close")).status == 200


class TestHalfClose:
    """FIN with the request: the answer is wanted all the same."""

    @pytest.mark.parametrize(
        "request_",
        [
            get(),
            sized(b"abc", "digest"),
            ask("say", {"how": "iterator", "body": ["a", "b"]}),
            ask("waits", {"seconds": 0.2}),
            ask("large", {"size": LARGE}),
            ask("large", {"size": LARGE, "pieces": 50}),
            ask("digest", None, CHUNKED, method=b"POST") + b"3\r\nabc\r\n0\r\n\r\n",
        ],
        ids=["echo", "body", "pieces", "later", "large", "large pieces", "chunks"],
    )
    def test_is_answered(self, server: Server, request_: bytes) -> None:
        with Client(server) as client:
            answer = client.send(request_).finish().answer()
            assert (answer.status, answer.complete) == (200, True)
            client.expect_end("fin")

    def test_on_a_kept_connection(self, server: Server) -> None:
        with Client(server) as client:
            for _ in range(3):
                assert client.ask(get()).status == 200
            assert client.send(get()).finish().answer().status == 200
            client.expect_end("fin")

    @pytest.mark.parametrize("octets", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", get()[:-1]])
    def test_inside_a_head_is_the_end(self, server: Server, tail: Tail, octets: bytes) -> None:
        with Client(server) as client:
            client.send(octets).finish()
            client.expect_end("fin")
        assert not tail.lines("called")

    def test_tells_the_application(self, server: Server, tail: Tail) -> None:
        """canter.client_disconnected() sees it; the answer still arrives."""
        with Client(server) as client:
            client.send(ask("notices"))
            tail.wait(f"waiting {client.name}")
            client.finish()
            assert client.answer().text == "bye"
            assert tail.lines(f"noticed {client.name}")


@pytest.mark.early
class TestInsideABody:
    """The peer vanishes in a body: an OSError for the application, never a short body."""

    @pytest.mark.parametrize("leave", [Client.finish, Client.reset])
    @pytest.mark.parametrize(
        "octets",
        [
            ask("survives", None, CHUNKED, method=b"POST") + b"5\r\nhel",
            ask("survives", None, CHUNKED, method=b"POST") + b"5\r\nhello\r\n",
            ask("survives", None, CHUNKED, method=b"POST") + b"5\r\nhello\r\n0\r\n",
            ask("survives", None, b"Content-Length: 200000", method=b"POST") + b"x" * 100_000,
            ask("survives", None, b"Content-Length: 200000", EXPECT, method=b"POST"),
        ],
        ids=["chunk", "between chunks", "before the end", "large", "expecting"],
    )
    def test_the_application_hears_of_it(
        self, server: Server, tail: Tail, octets: bytes, leave: Callable[[Client], object]
    ) -> None:
        with Client(server) as client:
            client.send(octets)
            tail.wait(f"called {client.name}")
            leave(client)
            assert tail.wait(f"raised OSError ClientDisconnected {client.name}")
        is_served(server)

    @pytest.mark.parametrize("leave", [Client.finish, Client.reset])
    def test_a_small_body_never_reaches_the_application(
        self, server: Server, tail: Tail, leave: Callable[[Client], object]
    ) -> None:
        with Client(server) as client:
            leave(client.send(sized(b"hello", "digest")[:-1]))
            if leave is Client.finish:
                client.expect_end()
        is_served(server)
        assert not tail.lines(f"called {client.name}")

    def test_an_application_that_does_not_catch_it(self, server: Server, tail: Tail) -> None:
        with Client(server) as client:
            client.send(ask("digest", None, CHUNKED, method=b"POST") + b"5\r\nhel")
            tail.wait(f"called {client.name}")
            client.finish()
            client.expect_end()
        is_served(server)
        assert not tail.lines("Traceback")


class TestReset:
    """A reset means gone: the application's writes fail, its iterable is closed, the worker goes on."""

    @pytest.mark.parametrize("given", [{}, {"large": LARGE}], ids=["endless", "large pieces"])
    def test_while_it_is_answered(self, server: Server, tail: Tail, given: dict[str, int]) -> None:
        request = ask("endless") if not given else ask("large", {"size": LARGE, "pieces": 50})
        with Client(server, receive_buffer=4096) as client:
            client.send(request)
            client.until(b"\r\n\r\n")
            client.reset()
            tail.wait(f"closed {client.name}")
        is_served(server)
        assert not tail.lines("Traceback")

    def test_a_finished_answer_that_waits_for_its_reader(self, server: Server, tail: Tail) -> None:
        with Client(server, receive_buffer=4096) as client:
            client.send(ask("large", {"size": LARGE}))
            client.until(b"\r\n\r\n")
            client.reset()
        is_served(server)
        assert not tail.lines("Traceback")

    @pytest.mark.parametrize("name", ["fails", "say"])
    def test_before_it_is_answered(self, server: Server, tail: Tail, name: str) -> None:
        """Neither an answer nor the 500 of an error reaches anybody; nothing breaks."""
        with Client(server) as client:
            client.send(ask("after_leaving", {"then": name}))
            tail.wait(f"waiting {client.name}")
            client.reset()
            tail.wait(f"noticed {client.name}")
        is_served(server)
        assert not tail.lines("outside of its request")

    @pytest.mark.parametrize("octets", [b"", b"GET / HT", get() * 3, get() + b"GET", b"BAD\r\n\r\n"])
    def test_at_once(self, server: Server, octets: bytes) -> None:
        for _ in range(20):
            with Client(server) as client:
                client.send(octets).reset()
        is_served(server)

    def test_an_idle_connection(self, server: Server) -> None:
        clients = [Client(server) for _ in range(20)]
        for client in clients:
            assert client.ask(get()).status == 200
        for client in clients:
            client.reset()
        is_served(server)


@pytest.mark.plain
class TestQueue:
    """A request that waited for its turn, and whose client has left meanwhile, is not run."""

    def test_499(self, worker: Family) -> None:
        if worker.worker_class not in QUEUES:
            pytest.skip("no request waits here")
        server = worker.server(threads=1, accesslog="-")
        tail = worker.tail(server)
        with Client(server) as first, Client(server) as second, Client(server) as third:
            for client in (third, second):  # both are known to the worker
                assert client.ask(get()).status == 200
            tail.skip()
            first.send(ask("digest", None, CHUNKED, method=b"POST"))  # occupies the one thread
            tail.wait(f"called {first.name}")
            second.send(ask("waits", {"seconds": 0.5}))
            wait_for(lambda: has_arrived(second))  # so it is queued before the third one
            third.send(ask("waits", {"seconds": 0})).finish()
            wait_for(lambda: has_arrived(third))
            first.send(b"0\r\n\r\n")
            assert first.answer().status == 200
            assert second.answer().text == "waited"
            third.expect_end()
            assert tail.wait("499 GET ", "its client left while it was queued")
            assert tail.wait('HTTP/1.1" 499 ')
            assert not tail.lines(f"called {third.name}")


def has_arrived(client: Client) -> bool:
    """Whether the server's system has all that the client sent, the end of it, too."""
    unacknowledged = bytearray(4)
    fcntl.ioctl(client.sock, termios.TIOCOUTQ, unacknowledged)
    return not any(unacknowledged)


class TestSlowReaders:
    @pytest.mark.parametrize("pieces", [1, 50])
    def test_beside_others(self, server: Server, pieces: int, worker: Family) -> None:
        """A large answer waits for its reader; others are served meanwhile."""
        blocks = pieces > 1 and worker.worker_class == "sync"  # its one request is that one
        with Client(server, receive_buffer=4096) as slow:
            slow.send(ask("large", {"size": LARGE, "pieces": pieces, "length": False}))
            slow.until(b"\r\n\r\n")
            slow.more()
            if not blocks:
                for _ in range(20):
                    is_served(server)
            if pieces == 1:
                assert slow.exactly(LARGE) == pattern(LARGE)
            else:
                body = b"".join(self.chunks(slow))
                assert body == pattern(LARGE)
            assert slow.ask(get()).status == 200

    def chunks(self, client: Client) -> list[bytes]:
        parts = []
        while size := int(client.until(b"\r\n"), 16):
            parts.append(client.exactly(size))
            client.until(b"\r\n")
        client.until(b"\r\n")
        return parts

    def test_many_at_once(self, server: Server) -> None:
        """Thirty clients take the same answer at their leisure, each the whole of it."""
        clients = [Client(server, receive_buffer=4096) for _ in range(30)]
        for client in clients:
            client.send(ask("large", {"size": 2_000_000}))
        is_served(server)
        wrong: list[int] = []

        def drink(client: Client) -> None:
            if client.answer().body != pattern(2_000_000):
                wrong.append(client.port)
            client.sock.close()

        threads = [threading.Thread(target=drink, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_requests_behind_a_large_answer(self, server: Server) -> None:
        with Client(server, receive_buffer=4096) as client:
            client.send(ask("large", {"size": LARGE}))
            client.until(b"\r\n\r\n")
            client.send(get(target=b"/a") + get(target=b"/b"))
            assert client.exactly(LARGE) == pattern(LARGE)
            paths = [json.loads(client.answer().body)["environ"]["PATH_INFO"] for _ in range(2)]
            assert paths == ["/a", "/b"]


@pytest.mark.plain
class TestHandOver:
    """environ["gunicorn.socket"]: the application speaks another protocol on the socket itself."""

    FIELDS = (b"Connection: Upgrade", b"Upgrade: shout")

    @pytest.mark.parametrize("given", [{}, {"keep": True}])
    def test_a_dialogue(self, server: Server, given: dict[str, bool]) -> None:
        with Client(server) as client:
            client.send(ask("takes_socket", given, *self.FIELDS))
            assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
            for word in (b"hello", b"world."):
                client.send(word)
                assert client.exactly(len(word)) == word.upper()
            client.expect_end("fin")
        is_served(server)

    @pytest.mark.parametrize("leave", [Client.finish, Client.reset])
    def test_a_client_that_leaves(
        self, server: Server, tail: Tail, leave: Callable[[Client], object]
    ) -> None:
        with Client(server) as client:
            client.send(ask("takes_socket", None, *self.FIELDS))
            client.until(b"\r\n\r\n")
            leave(client)
            if leave is Client.finish:
                client.expect_end("fin")
        is_served(server)

    def test_an_application_that_does_not_want_it(self, server: Server) -> None:
        with Client(server) as client:
            for _ in range(3):
                assert client.ask(ask("say", {"body": ["plain"]}, *self.FIELDS)).text == "plain"

    def test_without_upgrade_there_is_none(self, server: Server) -> None:
        with Client(server) as client:
            told = client.ask(ask("environ")).text
            assert "gunicorn.socket" not in told
            assert "canter.socket" not in told


@pytest.mark.plain
class TestChildren:
    """Processes that an application starts are none of the server's."""

    def test_one_that_has_the_socket_too(self, server: Server) -> None:
        """What becomes of a connection is the worker's alone to say."""
        with Client(server) as client, Client(server) as other:
            assert other.ask(get()).status == 200  # it is watched, and the child has it, too
            child = int(client.ask(ask("forks", None, b"Connection: close")).text)
            client.expect_end("fin")
            assert other.ask(get(b"Connection: close")).status == 200
            other.expect_end("fin")
        for _ in range(20):
            is_served(server)
        with Client(server) as client:
            answer = client.ask(ask("reaps", {"pid": child, "signal": signal.SIGTERM}))
            assert answer.text == str(-signal.SIGTERM)

    def test_one_that_outlives_its_server(self, worker: Family) -> None:
        """It keeps neither the server nor the port."""
        with worker.fresh(bind=["127.0.0.1:0"]) as server:
            with Client(server) as client:
                child = int(client.ask(ask("forks")).text)
            try:
                assert server.stop() == 0
                with pytest.raises(ConnectionRefusedError):
                    Client(server)
            finally:
                os.kill(child, signal.SIGKILL)

    def test_programs_hear_signals(self, server: Server) -> None:
        with Client(server) as client:
            told = dict(line.split(":\t") for line in client.ask(ask("child_signals")).text.splitlines())
        deaf = int(told["SigIgn"], 16)
        assert int(told["SigBlk"], 16) == 0
        for number in (signal.SIGTERM, signal.SIGWINCH, signal.SIGUSR1, signal.SIGABRT, signal.SIGPIPE):
            assert not deaf & 1 << number - 1
