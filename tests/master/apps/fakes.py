"""The smallest worker that keeps its side of the contract with the master, and applications for it.

It answers each connection with one line: its pid, its age, and what the application says.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from typing import Any

from canter import scoreboard as sb
from canter.gateway.loader import load
from canter.workers.base import Worker


class Fake(Worker):
    """Serves one connection at a time, in plain Python."""

    def __init__(self, *, age: int, ppid: int, listeners: list[socket.socket], cfg: Any, log: Any,
                 scoreboard: sb.Scoreboard, index: int, ready: Any) -> None:  # fmt: skip
        self.age, self.ppid, self.sockets, self.cfg, self.log = age, ppid, listeners, cfg, log
        self.row, self._ready = scoreboard.row(index), ready
        self.alive = True

    def init_process(self) -> None:
        self.pid = os.getpid()
        signal.signal(signal.SIGTERM, self.leave)
        signal.signal(signal.SIGQUIT, self.leave_now)
        signal.signal(signal.SIGINT, self.leave_now)
        signal.signal(signal.SIGUSR1, lambda *_: self.log.reopen())
        signal.signal(signal.SIGABRT, self.abort)
        app = load(self.cfg.wsgi_app)
        if self.cfg.post_worker_init:
            self.cfg.post_worker_init(self)
        self.row[sb.CAPACITY] = 1
        self._ready()
        while self.alive:
            self.row[sb.BEAT] = time.monotonic_ns()
            readable, _, _ = select.select([*self.sockets, self.alive_fd], [], [], 0.2)
            if self.alive_fd in readable:
                self.log.warning("the master is gone")
                break
            for listener in readable:
                self.answer(listener, app)

    def answer(self, listener: socket.socket, app: Any) -> None:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return
        with client:
            client.setblocking(True)
            slot = self.row.slot(0)
            slot.begin(time.monotonic_ns(), 1, "GET", "/fake", "peer")
            client.sendall(f"{os.getpid()} {self.age} {app(self)}\n".encode())
            slot.end()
            self.row[sb.REQUESTS] += 1

    def leave(self, *_: Any) -> None:
        self.alive = False

    def leave_now(self, *_: Any) -> None:
        if self.cfg.worker_int:
            self.cfg.worker_int(self)
        raise SystemExit(0)

    def abort(self, *_: Any) -> None:
        if self.cfg.worker_abort:
            self.cfg.worker_abort(self)
        raise SystemExit(1)


def app(worker: Fake) -> str:
    return "hello"


LOADED_BY = os.getpid()


def loaded(worker: Fake) -> str:
    """Who imported this module, and who the worker's parent is."""
    return f"{LOADED_BY} {os.getppid()} {getattr(worker, 'token', '-')}"


def environment(worker: Fake) -> str:
    return f"{os.environ.get('TOLD')} {os.getcwd()} {os.getuid()} {os.getgid()}"


def hang(worker: Fake) -> str:
    while True:
        time.sleep(1000)


def busy(worker: Fake) -> str:
    """Is served as long as the file named by GATE is there, and beats meanwhile."""
    worker.row[sb.BUSY] = 1
    while os.path.exists(os.environ["GATE"]):
        worker.row[sb.BEAT] = time.monotonic_ns()
        time.sleep(0.02)
    worker.row[sb.BUSY] = 0
    return "done"


def orphan(worker: Fake) -> str:
    """Leave a grandchild behind; its pid."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        grandchild = os.fork()
        if grandchild == 0:
            time.sleep(0.2)
            os._exit(0)
        os.write(writer, str(grandchild).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return os.read(reader, 100).decode()


def exits(worker: Fake) -> str:
    os._exit(7)


def recycle(worker: Fake) -> str:
    worker.row[sb.RECYCLE] = sb.RECYCLE_REQUESTS
    return "enough"


def file(worker: Fake) -> str:
    """What the file named by TEXT says now."""
    with open(os.environ["TEXT"], encoding="utf-8") as text:
        return text.read().strip()
