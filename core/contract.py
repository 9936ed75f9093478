"""The worker contract: what every worker class owes to clients, applications and operators.

A user of a class of their own runs it in a line::

    from canter.testing import WorkerContract

    class TestMine(WorkerContract):
        worker_class = "mine:MyWorker"

Each test talks to a real server over real sockets. `settings` are more of the server's
settings, `concurrency` says how many requests the class can run at once (tests that need
more than it can are skipped), `cwd` is where the class is found, "" being where pytest
was started. Nothing asserts a time: what must happen is waited for, `DEADLINE` seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from canter.testing import DEADLINE, Server, serve

MANY = 40  # connections that are slow or idle: more than any class here serves at once
BLOCK = 65536

HOOKS = """
import os
def _note(name, text):
    with open(os.path.join(os.environ["CONTRACT_FOLDER"], name), "a") as out:
        out.write(text + "\\n")
def post_fork(server, worker):
    _note("hooks", f"post_fork {worker.age} {worker.alive} {worker.booted}")
def post_worker_init(worker):
    _note("hooks", f"post_worker_init {worker.pid == os.getpid()} {worker.ppid == os.getppid()} {worker.age}"
                   f" {worker.alive} {worker.nr} {callable(worker.app)} {callable(worker.wsgi)}"
                   f" {worker.cfg.keepalive} {hasattr(worker.log, 'warning')} {worker.aborted}")
def pre_request(worker, req):
    _note("hooks", f"pre_request {req.method} {req.path} {req.query} {worker.nr}")
def post_request(worker, req, environ, resp):
    _note("hooks", f"post_request {environ['PATH_INFO']} {resp.status} {worker.nr}")
def worker_exit(server, worker):
    _note("hooks", f"worker_exit {worker.alive} {worker.nr}")
"""
HOOKS_SEEN = """\
post_fork 1 True False
post_worker_init True True 1 True 0 True True 5 True False
pre_request GET /echo/one a=b 1
post_request /echo/one 200 OK 1
pre_request GET /fail/early  2
post_request /fail/early 500 Internal Server Error 2
worker_exit False 2
"""
MEETS_WORKER = """
def post_worker_init(worker):
    import canter.contract_app
    canter.contract_app.worker = worker
"""


class Answer:
    """One answer: `status`, `fields` by lower-case name, `body`."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ", 2)[1])
        pairs = (line.split(":", 1) for line in lines)
        self.fields = {name.lower(): value.strip() for name, value in pairs}
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One connection to the server."""

    def __init__(self, server: Server) -> None:
        self.sock = socket.create_connection((server.host, server.port), DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def send(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def get(self, path: str, *fields: str) -> Answer:
        """Ask, and read the answer."""
        self.send(get(path, *fields))
        return self.answer()

    def answer(self) -> Answer:
        """The next answer, read to its end."""
        head = self.until(b"\r\n\r\n")[:-4]
        found = Answer(head, b"")
        if found.fields.get("transfer-encoding") == "chunked":
            found.body = self.chunks()
        elif "content-length" in found.fields:
            found.body = self.exactly(int(found.fields["content-length"]))
        else:
            found.body = self.rest()
        return found

    def chunks(self) -> bytes:
        body = b""
        while size := int(self.until(b"\r\n"), 16):
            body += self.exactly(size + 2)[:-2]
        self.until(b"\r\n")
        return body

    def until(self, mark: bytes) -> bytes:
        while mark not in self.read:
            self.more()
        at = self.read.index(mark) + len(mark)
        found, self.read = self.read[:at], self.read[at:]
        return found

    def exactly(self, size: int) -> bytes:
        while len(self.read) < size:
            self.more()
        found, self.read = self.read[:size], self.read[size:]
        return found

    def more(self) -> None:
        data = self.sock.recv(BLOCK)
        if not data:
            raise EOFError(f"the server closed after {self.read!r}")
        self.read += data

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self.more()
        found, self.read = self.read, b""
        return found

    def leave(self) -> None:
        """Reset the connection: the client is gone for certain."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


def get(path: str, *fields: str) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"GET {path} HTTP/1.1\r\nHost: contract\r\n{lines}\r\n".encode()


def post(path: str, size: int) -> bytes:
    """The head of a request with a body of `size` octets."""
    return f"POST {path} HTTP/1.1\r\nHost: contract\r\nContent-Length: {size}\r\n\r\n".encode()


def told(body: bytes) -> str:
    """What /digest says of a body."""
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


class Stage:
    """A server with the contract's application, and the folder through which both sides talk."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._count = 0

    def client(self) -> Client:
        return Client(self.server)

    def name(self) -> str:
        """One that no request has used."""
        self._count += 1
        return f"n{self._count}"

    def make(self, name: str) -> None:
        """Let a request go on that waits for this name."""
        (self.folder / name).touch()

    def seen(self, name: str) -> str:
        """What the application has told under this name, waited for."""
        path = self.folder / name
        wait_for(path.exists, f"the application did not tell {name}", self.server)
        return path.read_text()


def wait_for(condition: Callable[[], object], otherwise: str, server: Server) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{otherwise}\n{server.log}"
        time.sleep(0.01)


class WorkerContract:
    """Subclass it and say which class to test. See the module."""

    worker_class: ClassVar[str] = ""
    settings: ClassVar[dict[str, Any]] = {}
    concurrency: ClassVar[int] = 2
    cwd: ClassVar[str] = ""
    _open: ClassVar[contextlib.ExitStack]
    _shared: ClassVar[Stage | None]

    @classmethod
    @contextlib.contextmanager
    def stage(cls, folder: Path, **settings: Any) -> Iterator[Stage]:
        """A server with settings of its own."""
        assert cls.worker_class, f"{cls.__name__} must say which worker_class it tests"
        asked = {"keepalive": 5, "graceful_timeout": 60, **cls.settings, **settings}
        env = {"CONTRACT_FOLDER": str(folder)}
        cwd = cls.cwd or os.getcwd()
        with serve("canter.contract_app:app", cls.worker_class, cwd=cwd, env=env, **asked) as server:
            yield Stage(server, folder)

    @classmethod
    def setup_class(cls) -> None:
        cls._open = contextlib.ExitStack()
        cls._shared = None

    @classmethod
    def teardown_class(cls) -> None:
        cls._open.close()

    @pytest.fixture
    def shared(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
        """The server of all tests that leave it as they found it; a failure shows what it logged."""
        cls = type(self)
        if cls._shared is None:
            cls._shared = cls._open.enter_context(cls.stage(tmp_path_factory.mktemp("contract")))
        known = len(cls._shared.server.log)
        yield cls._shared
        print(cls._shared.server.log[known:])

    def needs(self, concurrency: int) -> None:
        if self.concurrency < concurrency:
            pytest.skip(f"runs {self.concurrency} requests at once, and this needs {concurrency}")

    # -- connections -----------------------------------------------------------------------

    def test_keep_alive(self, shared: Stage) -> None:
        """Several requests on one connection, until a side says that it is the last."""
        with shared.client() as client:
            pids = {client.get(f"/echo/{n}").text.split()[1] for n in range(5)}
            assert len(pids) == 1
            assert client.get("/echo/last", "Connection: close").fields["connection"] == "close"
            assert client.rest() == b""

    def test_pipelining(self, shared: Stage) -> None:
        """Requests sent at once are answered one after the other, in their order."""
        with shared.client() as client:
            client.send(b"".join(get(f"/echo/{n}") for n in range(20)))
            assert [client.answer().text.split()[0] for _ in range(20)] == [str(n) for n in range(20)]

    def test_pipelining_while_one_lasts(self, shared: Stage) -> None:
        """What came behind a request that is served is not forgotten when that ends."""
        one, two = shared.name(), shared.name()
        with shared.client() as client:
            client.send(get(f"/wait/{one}"))
            shared.seen(f"{one}.begun")
            client.send(get(f"/wait/{two}") + get("/echo/end"))
            shared.make(one)
            assert client.answer().text == one
            shared.seen(f"{two}.begun")
            shared.make(two)
            assert [client.answer().text.split()[0] for _ in range(2)] == [two, "end"]

    def test_slow_heads_and_bodies_take_no_slot(self, shared: Stage) -> None:
        """Clients that dribble do not keep others from being served, and are served in the end."""
        body = b"0123456789"
        with contextlib.ExitStack() as stack:
            heads = [stack.enter_context(shared.client()) for _ in range(MANY)]
            bodies = [stack.enter_context(shared.client()) for _ in range(MANY)]
            for client in heads:
                client.send(get("/echo/slow")[:-1])
            for client in bodies:
                client.send(post("/digest", len(body)) + body[:5])
            with shared.client() as bystander:
                assert bystander.get("/echo/quick").status == 200
            for client in bodies:
                client.send(body[5:])
                assert client.answer().text == told(body)
            for client in heads:
                client.send(b"\n")
                assert client.answer().status == 200

    def test_requests_at_once(self, shared: Stage) -> None:
        """A request that waits does not keep another from being served."""
        self.needs(2)
        name = shared.name()
        with shared.client() as first, shared.client() as second:
            first.send(get(f"/wait/{name}"))
            shared.seen(f"{name}.begun")
            assert second.get("/echo/meanwhile").status == 200
            shared.make(name)
            assert first.answer().text == name

    def test_every_request_is_answered_once(self, shared: Stage) -> None:
        """Many clients at once: no answer is lost, none goes to another client."""
        wrong: list[str] = []

        def ask(who: int) -> None:
            try:
                with shared.client() as client:
                    for n in range(30):
                        word = f"{who}-{n}"
                        got = client.get(f"/echo/{word}").text.split()[0]
                        if got != word:
                            wrong.append(f"asked {word}, got {got}")
            except Exception as error:
                wrong.append(f"client {who}: {error!r}")

        threads = [threading.Thread(target=ask, args=(who,)) for who in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, "\n".join(wrong)

    # -- bodies ------------------------------------------------------------------------------

    def test_uploads(self, shared: Stage) -> None:
        """Bodies that are pre-read, that are larger than that, and that come in chunks."""
        with shared.client() as client:
            for size in (0, 1, 10_000, 1_000_000):
                body = os.urandom(size)
                client.send(post("/digest", size) + body)
                assert client.answer().text == told(body)
            client.send(b"POST /digest HTTP/1.1\r\nHost: contract\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in (b"4\r\nbay,\r\n", b"5\r\ngrey,\r\n", b"4\r\ndun.\r\n", b"0\r\n\r\n"):
                client.send(piece)
            assert client.answer().text == told(b"bay,grey,dun.")

    def test_pieces_are_sent_as_they_come(self, shared: Stage) -> None:
        """The first piece of an answer is with the client before the second is asked for (PEP 3333)."""
        name = shared.name()
        with shared.client() as client:
            client.send(get(f"/stream/{name}"))
            client.until(b"first,")
            shared.make(name)
            assert b"second" in client.until(b"0\r\n\r\n")
            shared.seen(f"{name}.closed")
            assert client.get("/echo/next").status == 200

    # -- clients that leave --------------------------------------------------------------------

    def test_client_leaves_its_answer(self, shared: Stage) -> None:
        """The application's iterable is closed; the server goes on."""
        name = shared.name()
        client = shared.client()
        client.send(get(f"/flood/{name}"))
        client.more()
        client.leave()
        assert shared.seen(f"{name}.closed") == "GeneratorExit"
        self.goes_on(shared)

    def test_client_leaves_its_body(self, shared: Stage) -> None:
        """The application gets an error, never a short body."""
        name = shared.name()
        client = shared.client()
        client.send(post(f"/swallow/{name}", 1_000_000) + bytes(70_000))
        shared.seen(f"{name}.begun")
        client.leave()
        assert shared.seen(f"{name}.seen") == "ClientDisconnected"
        self.goes_on(shared)

    def test_client_disconnected(self, shared: Stage) -> None:
        """environ["canter.client_disconnected"]() tells an application that asks."""
        name = shared.name()
        client = shared.client()
        client.send(get(f"/left/{name}"))
        shared.seen(f"{name}.begun")
        client.leave()
        assert shared.seen(f"{name}.seen") == "left"
        self.goes_on(shared)

    def goes_on(self, stage: Stage) -> None:
        with stage.client() as client:
            assert client.get("/echo/on").status == 200

    # -- applications that fail ------------------------------------------------------------------

    @pytest.mark.parametrize("kind", ["early", "exit"])
    def test_exception(self, shared: Stage, kind: str) -> None:
        """A 500 and a line in the log; a SystemExit ends the request, not the worker."""
        with shared.client() as client:
            assert client.get(f"/fail/{kind}").status == 500
            assert client.rest() == b""
        shared.server.wait_log("SystemExit: 3" if kind == "exit" else "ValueError: the application fails$")
        self.goes_on(shared)

    def test_exception_after_the_head(self, shared: Stage) -> None:
        """The client can tell that the answer is not whole."""
        with shared.client() as client:
            client.send(get("/fail/late"))
            assert b"Content-Length: 100" in client.until(b"\r\n\r\n")
            assert client.rest() in (b"the first of a hundred", b"")
        shared.server.wait_log("the application fails late")
        self.goes_on(shared)

    def test_bad_request(self, shared: Stage) -> None:
        """It is refused, and the application does not see it."""
        with shared.client() as client:
            client.send(b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            assert client.answer().status == 400
            assert client.rest() == b""
        self.goes_on(shared)

    # -- applications that take over ---------------------------------------------------------------

    def test_hand_over(self, shared: Stage) -> None:
        """A request for another protocol gets the socket itself."""
        name = shared.name()
        with shared.client() as client:
            client.send(get(f"/socket/{name}", "Connection: Upgrade", "Upgrade: echo"))
            assert b" 101 " in client.until(b"\r\n\r\n")
            for text in (b"one", b"two", b"x" * 300_000):
                sender = threading.Thread(target=client.send, args=(text,))
                sender.start()
                assert client.exactly(len(text)) == text.upper()
                sender.join()
            client.sock.shutdown(socket.SHUT_WR)
            assert client.rest() == b""
        assert shared.seen(f"{name}.seen") == "end"
        self.goes_on(shared)

    def test_upgrade_that_nobody_takes(self, shared: Stage) -> None:
        """It is served as if it had not asked, and its connection is kept."""
        with shared.client() as client:
            for n in range(3):
                found = client.get(f"/echo/{n}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
                assert (found.status, found.text.split()[0]) == (200, str(n))

    def test_fork(self, shared: Stage) -> None:
        """A child of the application stays out of its parent's connections."""
        name = shared.name()
        with shared.client() as client:
            parent, child = client.get(f"/fork/{name}").text.split()
            shared.seen(f"{name}.begun")
            for n in range(30):
                with shared.client() as other:
                    assert other.get(f"/echo/{n}").text.split()[1] == parent
                assert client.get(f"/echo/{n}").text.split()[1] == parent
            shared.make(name)
            assert client.get(f"/reap/{child}").text == "0"

    # -- operators -------------------------------------------------------------------------------

    def test_hooks_and_attributes(self, tmp_path: Path) -> None:
        """Gunicorn's hooks are called, and find the attributes they use."""
        with self.stage(tmp_path, config=HOOKS) as stage:
            with stage.client() as client:
                assert client.get("/echo/one?a=b").status == 200
                assert client.get("/fail/early").status == 500
            assert stage.server.stop() == 0
            assert (tmp_path / "hooks").read_text() == HOOKS_SEEN

    def test_max_requests(self, tmp_path: Path) -> None:
        """A worker that has served its number is replaced; no request is lost over it."""
        with self.stage(tmp_path, max_requests=3) as stage:
            seen: list[str] = []

            def replaced() -> bool:
                with stage.client() as client:
                    found = client.get("/echo/recycled")
                assert found.status == 200
                seen.append(found.text.split()[1])
                return len(set(seen)) >= 3

            wait_for(replaced, "the worker is not replaced", stage.server)

    def test_graceful_stop(self, tmp_path: Path) -> None:
        """TERM: what runs is finished and answered, idle connections are closed, the exit code is 0."""
        with self.stage(tmp_path, config=MEETS_WORKER) as stage:
            with stage.client() as idle, stage.client() as client:
                assert idle.get("/echo/before").status == 200
                client.send(get("/stop/last"))
                stage.seen("last.begun")
                stage.server.signal(signal.SIGTERM)
                found = client.answer()
                assert (found.status, found.text, found.fields["connection"]) == (200, "last", "close")
                assert idle.rest() == b""
            assert stage.server.wait() == 0

    def test_stop_is_bounded(self, tmp_path: Path) -> None:
        """A request that does not end does not keep the server from ending."""
        with self.stage(tmp_path, graceful_timeout=1) as stage, stage.client() as client:
            client.send(get("/wait/for-ever"))
            stage.seen("for-ever.begun")
            stage.server.signal(signal.SIGTERM)
            assert stage.server.wait() == 0
            assert client.rest() == b""

    def test_quick_stop(self, tmp_path: Path) -> None:
        """INT does not wait for what runs."""
        with self.stage(tmp_path) as stage, stage.client() as client:
            client.send(get("/wait/quick"))
            stage.seen("quick.begun")
            stage.server.signal(signal.SIGINT)
            stage.server.wait()
            assert re.search("Handling signal: int", stage.server.log)
