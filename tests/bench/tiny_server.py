"""``python tiny_server.py PORT MODULE:APP``: the standard library's WSGI server, with threads."""

from __future__ import annotations

import socketserver
import sys
from importlib import import_module
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 256


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    module, _, name = sys.argv[2].partition(":")
    app = getattr(import_module(module), name)
    make_server("127.0.0.1", int(sys.argv[1]), app, Server, Quiet).serve_forever()
