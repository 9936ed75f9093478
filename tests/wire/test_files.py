"""wsgi.file_wrapper: real files by sendfile, everything else that can be read in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from canter.testing import Server
from tests.policy import get
from tests.wire.apps import pattern
from tests.wire.dialogue import Client, Tail, ask

pytestmark = pytest.mark.wsgi
SIZE = 3_000_000
UPGRADE = (b"Connection: Upgrade", b"Upgrade: h2c")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "large"
    path.write_bytes(pattern(SIZE))
    return path


class TestRegular:
    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"block": [100_000]},
            {"at": 1_000_000},
            {"length": SIZE},
            {"length": 1000},
            {"at": 5, "length": 2_000_000},
            {"at": SIZE},
            {"before": "said before "},
        ],
        ids=repr,
    )
    def test_octets(self, server: Server, tail: Tail, path: Path, given: dict[str, Any]) -> None:
        """From where the file stands, to its end or to the end of Content-Length."""
        begin = given.get("at", 0)
        expected = given.get("before", "").encode() + pattern(SIZE)[begin : begin + given.get("length", SIZE)]
        for fields in ((), UPGRADE):  # with Upgrade the application gets the socket, too: it must not block
            with Client(server) as client:
                answer = client.ask(ask("file", {"path": str(path), **given}, *fields))
                assert answer.complete
                assert answer.body == expected
                assert bool(answer.chunks) == bool(given.get("before"))
                assert client.ask(get()).status == 200
                tail.wait(f"closed {client.name}")
                through_python = "before" in given or begin == SIZE  # else sendfile
                assert bool(tail.lines(f"read by {client.name}")) == through_python
        assert not tail.lines("ERROR")

    def test_a_range(self, server: Server, path: Path) -> None:
        with Client(server) as client:
            given = {"path": str(path), "at": 100, "length": 50, "status": "206 Partial Content"}
            answer = client.ask(ask("file", given))
            assert (answer.status, answer.body) == (206, pattern(SIZE)[100:150])
            assert client.ask(get()).status == 200

    def test_a_length_beyond_the_end(self, server: Server, tail: Tail, path: Path) -> None:
        with Client(server) as client:
            answer = client.ask(ask("file", {"path": str(path), "length": SIZE + 1}))
            assert (answer.complete, answer.body) == (False, pattern(SIZE))
            tail.wait("fewer octets than its Content-Length")

    def test_head(self, server: Server, tail: Tail, path: Path) -> None:
        with Client(server) as client:
            given = {"path": str(path), "length": SIZE}
            answer = client.ask(ask("file", given, method=b"HEAD"), "HEAD")
            assert answer["content-length"] == str(SIZE)
            assert client.ask(get()).status == 200
            tail.wait(f"closed {client.name}")

    def test_1_0(self, server: Server, path: Path) -> None:
        with Client(server) as client:
            answer = client.ask(ask("file", {"path": str(path)}, version=b"HTTP/1.0"))
            assert answer.body == pattern(SIZE)
            assert answer["content-length"] == str(SIZE)
            client.expect_end("fin")

    def test_an_empty_file(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        with Client(server) as client:
            answer = client.ask(ask("file", {"path": str(tmp_path / "empty")}))
            assert (answer["content-length"], answer.body) == ("0", b"")
            assert client.ask(get()).status == 200

    def test_several_on_one_connection(self, server: Server, path: Path) -> None:
        request = ask("file", {"path": str(path), "at": SIZE - 100_000})
        with Client(server, receive_buffer=4096) as client:
            client.send(request * 5 + get())
            assert [client.answer().body == pattern(SIZE)[-100_000:] for _ in range(5)] == [True] * 5
            assert client.answer().status == 200


class TestOthers:
    @pytest.mark.parametrize("kind", ["memory", "pipe", "reader"])
    def test_octets(self, server: Server, tail: Tail, kind: str) -> None:
        text = "abc" * 1000
        with Client(server) as client:
            answer = client.ask(ask("file", {"path": text, "kind": kind, "block": [700]}))
            assert (answer.complete, answer.text) == (True, text)
            tail.wait(f"closed {client.name}")
            assert client.ask(get()).status == 200

    @pytest.mark.parametrize("kind", ["memory", "pipe", "reader"])
    @pytest.mark.parametrize("length", [0, 1000, 1400, 3000])
    def test_cut_at_the_length(self, server: Server, tail: Tail, kind: str, length: int) -> None:
        text = "abc" * 1000
        with Client(server) as client:
            given = {"path": text, "kind": kind, "block": [700], "length": length}
            answer = client.ask(ask("file", given))
            assert (answer.complete, answer.text) == (True, text[:length])
            assert client.ask(get()).status == 200
        assert not tail.lines("ERROR")

    def test_checked(self, server: Server, tail: Tail, path: Path) -> None:
        """The validator hides the wrapper: the file goes out in pieces."""
        with Client(server) as client:
            answer = client.ask(ask("file", {"path": str(path)}, how="checked"))
            assert answer.body == pattern(SIZE)
            assert answer.chunks
        assert not tail.lines("ERROR")


class TestSlowReaders:
    def test_a_file_beside_others(self, server: Server, path: Path) -> None:
        """A client that does not read holds neither the worker nor the file."""
        with Client(server, receive_buffer=4096) as slow:
            slow.send(ask("file", {"path": str(path)}))
            slow.until(b"\r\n\r\n")
            for _ in range(20):
                with Client(server) as other:
                    assert other.ask(get(b"Connection: close")).status == 200
            assert slow.exactly(SIZE) == pattern(SIZE)
            assert slow.ask(get()).status == 200

    def test_one_that_is_cut_meanwhile(self, server: Server, tmp_path: Path) -> None:
        """What the file no longer has can't be sent: the client can tell."""
        path = tmp_path / "cut"
        path.write_bytes(pattern(20_000_000))
        with Client(server, receive_buffer=4096) as client:
            client.send(ask("file", {"path": str(path)}))
            client.until(b"\r\n\r\n")
            with path.open("r+b") as file:
                file.truncate(1000)
            assert len(client.exactly(20_000_000)) < 20_000_000
            assert client.end
        with Client(server) as client:
            assert client.ask(get()).status == 200
