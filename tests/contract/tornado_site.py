"""A native Tornado application, and a WSGI one beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler


class Hello(RequestHandler):
    def get(self) -> None:
        self.write({"pid": os.getpid(), "peer": self.request.remote_ip, "scheme": self.request.protocol})


class Wait(RequestHandler):
    """Lasts until there is a file NAME; NAME.begun says that it lasts."""

    async def get(self, name: str) -> None:
        folder = Path(os.environ["CONTRACT_FOLDER"])
        (folder / f"{name}.begun").touch()
        while not (folder / name).exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        self.write(name)

    head = get


class Drip(RequestHandler):
    """Begins to answer, and does not go on until its client has left."""

    async def get(self) -> None:
        self.gone = asyncio.Event()
        self.write("first")
        await self.flush()
        await self.gone.wait()

    def on_connection_close(self) -> None:
        self.gone.set()


class Hang(RequestHandler):
    """Blocks the loop, and does not return."""

    def get(self) -> None:
        while True:
            time.sleep(60)


class Spin(RequestHandler):
    """Blocks the loop, too, with Python code."""

    def get(self) -> None:
        while True:
            pass


class Crash(RequestHandler):
    def get(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


def make_app() -> Any:
    return Application(
        [
            ("/", Hello),
            ("/wait/(.*)", Wait),
            ("/drip", Drip),
            ("/hang", Hang),
            ("/spin", Spin),
            ("/crash", Crash),
            ("/echo", Echo),
        ]
    )


app = make_app()
