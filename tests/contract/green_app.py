"""An application for workers on greenlets: what it imported was patched, and it waits in many ways."""

from __future__ import annotations

import contextvars
import os
import queue
import socket
import threading
import time
from typing import Any

import greenlet

PATCHED_AT_IMPORT = socket.socket.__module__.partition(".")[0]

who = contextvars.ContextVar("who", default="nobody")
gate = threading.Event()
waiting: queue.SimpleQueue[None] = queue.SimpleQueue()
lock = threading.Lock()
running: list[None] = []  # one for each /among that runs


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    text = str(PATHS[environ["PATH_INFO"]]())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]


def patched() -> str:
    return PATCHED_AT_IMPORT


def hooked() -> str:
    return os.environ.get("HOOKED", "")


def gather() -> str:
    """Return when 200 such requests wait at once: a thread or greenlet each."""
    waiting.put(None)
    if waiting.qsize() >= 200:
        gate.set()
    return str(gate.wait(60))


def locked() -> str:
    with lock:
        time.sleep(0.001)
    return "locked"


def among() -> str:
    """How many such requests run now; it waits, so that others could begin."""
    running.append(None)
    count = len(running)
    time.sleep(0.05)
    running.pop()
    return str(count)


def talk() -> str:
    """A blocking conversation with another thread over sockets: only patched sockets let both run."""
    here, there = socket.socketpair()
    with here, there:
        thread = threading.Thread(target=lambda: there.sendall(there.recv(10).upper()))
        thread.start()
        here.sendall(b"hello")
        found = here.recv(10)
        thread.join()
    return found.decode()


def context() -> str:
    """A context variable that an earlier request has set is not seen."""
    found = who.get()
    who.set("somebody")
    return found


def exits() -> str:
    raise greenlet.GreenletExit


def late() -> str:
    """The time-out of the worker's own library ends the request."""
    if PATCHED_AT_IMPORT == "gevent":
        from gevent import Timeout
    else:
        from eventlet import Timeout
    with Timeout(0.01):
        time.sleep(60)
    return "not reached"


PATHS = {
    f"/{call.__name__}": call for call in (patched, hooked, gather, locked, among, talk, context, exits, late)
}
