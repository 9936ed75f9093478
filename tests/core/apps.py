"""Applications of the tests in this folder."""

import asyncio
import os
import threading
import time
from urllib.parse import parse_qs

LOCK = threading.Lock()


def hanging(environ, start_response):
    """/sleep, /spin, /lock hang for `s` seconds, /late after its first piece; else the pid is answered."""
    path = environ["PATH_INFO"]
    seconds = float(parse_qs(environ["QUERY_STRING"]).get("s", ["60"])[0])
    if path == "/late":
        return late(start_response, seconds)
    if path == "/sleep":
        time.sleep(seconds)
    elif path == "/spin":
        spin(seconds)
    elif path == "/lock":
        LOCK.acquire()
        LOCK.acquire(timeout=seconds)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def late(start_response, seconds):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first"
    time.sleep(seconds)
    yield b"second"


def spin(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def hanging_task(scope, receive, send):
    """The same as an ASGI application."""
    assert scope["type"] == "http"
    seconds = float(parse_qs(scope["query_string"].decode()).get("s", ["60"])[0])
    if scope["path"] == "/sleep":
        await asyncio.sleep(seconds)
    elif scope["path"] == "/spin":
        spin(seconds)
    elif scope["path"] == "/lock":
        await asyncio.wait_for(asyncio.Event().wait(), seconds)
    elif scope["path"] == "/deaf":
        await deaf(seconds)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


async def deaf(seconds):
    """Waits so long, and does not hear that it is cancelled."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            continue
