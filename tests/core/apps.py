"""Applications of the tests in this folder."""

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
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass
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
