"""asyncio: ASGI applications, and asynchronous WSGI ones, on one event loop.

For applications that wait a lot and are written for it: long polling, streams,
WebSockets. The loop (uvloop's where it is installed) watches the poller's descriptor;
each complete request becomes a task. A call that blocks stops the whole worker while it
runs. A plain WSGI application is served on `--threads` threads, as by gthread.

A stop lets what runs end, within `--graceful-timeout`; then the tasks that are left are
cancelled, and the application's lifespan is told.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from canter.async_exchange import AsyncExchange
from canter.async_websocket import SocketDriver
from canter.async_wsgi import WsgiDriver
from canter.errors import WorkerBootError
from canter.gateway.asgi import Lifespan
from canter.gateway.interface import Interface
from canter.workers.base import Worker
from canter.workers.gthread import serve_on_threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from canter.async_exchange import Driver
    from canter.exchange import Job

TICK = 0.25  # seconds between two looks at the deadlines
LAST_WORDS = 2.0  # seconds that requests leave to the application's shutdown, at most
OVERHANG = 0.5  # seconds after the graceful time-out by which all is over; the master aborts after one
QUICK = 1.5  # seconds in which all is over where nothing is waited for; the master aborts after two
RESERVE = 4  # the part of the graceful time-out, one in so many, that requests leave to the shutdown at most


def new_loop(asked: str) -> asyncio.AbstractEventLoop:
    """The event loop of `--asyncio-loop`."""
    if asked == "asyncio" or (asked == "auto" and find_spec("uvloop") is None):
        return asyncio.new_event_loop()
    try:
        import uvloop
    except ImportError as error:
        raise WorkerBootError(f"--asyncio-loop uvloop: {error}; pip install 'canter[uvloop]'") from error
    return uvloop.new_event_loop()


class AsyncioWorker(Worker):
    """Requests as tasks of one event loop."""

    serves = frozenset(Interface)
    driver: Driver
    lifespan: Lifespan | None = None
    ends_at = math.inf  # time.monotonic() by which a stop must be over

    def setup(self) -> None:
        self.loop = new_loop(self.cfg.asyncio_loop)
        asyncio.set_event_loop(self.loop)  # applications look for it while they are imported

    def learn_interface(self) -> None:
        super().learn_interface()
        self.multithread = self.interface is Interface.WSGI

    def capacity(self) -> int:
        return int(self.cfg.threads if self.interface is Interface.WSGI else self.cfg.worker_connections)

    def warm_up(self) -> None:
        mode = self.cfg.lifespan if self.interface is Interface.ASGI else "off"
        self.lifespan = Lifespan(self.app, mode, self.log)
        self.loop.run_until_complete(self.lifespan.start())

    def run(self) -> None:
        if self.interface is Interface.WSGI:
            serve_on_threads(self)
        else:
            self.serve_on_loop()

    # -- on the loop ---------------------------------------------------------------------------

    def serve_on_loop(self) -> None:
        loop = self.loop
        if self.interface is Interface.ASGI:
            self.driver = SocketDriver(
                self.context, loop, loop.stop, self.lifespan.state if self.lifespan else None
            )
        else:
            self.driver = WsgiDriver(self.context, loop, loop.stop)
        loop.add_reader(self.poller.fileno(), self.driver.turn)
        loop.call_soon(self.tick)
        loop.run_forever()
        loop.remove_reader(self.poller.fileno())
        loop.run_until_complete(self.end())
        loop.close()

    def tick(self) -> None:
        self.driver.tick()
        self.loop.call_later(TICK, self.tick)

    async def end(self) -> None:
        """The last things of a worker: what still runs is cancelled, the application is told."""
        if tasks := self.driver.cancel_all():
            self.log.warning("%d requests are cut at the end of the graceful time-out", len(tasks))
            share = self.left / 2 if self.lifespan and self.lifespan.lasts else self.left
            await asyncio.wait(tasks, timeout=share)
        if self.lifespan:
            await self.lifespan.stop(self.left)
        await self.loop.shutdown_asyncgens()

    @property
    def left(self) -> float:
        """Seconds until a stop must be over."""
        return max(self.ends_at - time.monotonic(), 0)

    # -- signals and deadlines -----------------------------------------------------------------

    def stop(self, grace: float | None = None) -> None:
        """As in the base class; requests leave time to the application's shutdown before the master kills."""
        whole = self.cfg.graceful_timeout + OVERHANG if grace is None else max(grace + OVERHANG, QUICK)
        self.ends_at = min(self.ends_at, time.monotonic() + whole)
        if grace is None and self.lifespan and self.lifespan.lasts:
            grace = self.cfg.graceful_timeout
            grace -= min(LAST_WORDS, grace / RESERVE)
        super().stop(grace)

    def handle_quit(self, number: int, frame: FrameType | None) -> None:
        # No SystemExit: it would surface in whichever task runs.
        self.call_hook(self.cfg.worker_int)
        self.stop(0)

    def handle_abort(self, number: int, frame: FrameType | None) -> None:
        # The loop does not turn, and a task may catch whatever is raised in it.
        self.alive = False
        self.aborted = True
        self.last_words()
        self.call_hook(self.cfg.worker_abort)
        self.context.idle_now()
        os._exit(1)

    def interrupt(self, job: Job) -> bool:
        task = job.runner  # once: the loop's thread clears it when the request ends
        if task is None:
            return False
        self.loop.call_soon_threadsafe(task.cancel)
        return True

    def waits(self, job: Job) -> bool:
        return isinstance(job, AsyncExchange) and asyncio.current_task(self.loop) is not job.runner

    def stack_of(self, job: Job) -> FrameType | list[FrameType] | None:
        if self.waits(job) and isinstance(job, AsyncExchange):
            return job.frames()
        return super().stack_of(job)

    def asleep(self) -> Iterator[list[FrameType]]:
        running = asyncio.current_task(self.loop)
        for task in asyncio.all_tasks(self.loop):
            if task is not running and (frames := frames_of(task.get_coro())):
                yield frames


def frames_of(awaited: Any) -> list[FrameType]:
    """A frame for each coroutine that waits for the next."""
    if isinstance(awaited, AsyncExchange):
        return awaited.frames()
    frames = []
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        frames.append(frame)
        awaited = awaited.cr_await
    return frames
