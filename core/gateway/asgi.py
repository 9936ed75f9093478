"""The lifespan of an ASGI application: told of the start and of the end of its worker.

One task runs the application with a scope of type `lifespan` for as long as the worker
lives. `auto` serves an application that does not know the lifespan without it; `on`
takes that for a failure; `off` does not ask. A failed startup ends the boot.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from canter.errors import WorkerBootError

if TYPE_CHECKING:
    import logging

VERSIONS = {"version": "3.0", "spec_version": "2.0"}


class Lifespan:
    """`start`, then, once it has returned, `stop`. `state` is what requests get a copy of."""

    def __init__(self, app: Any, mode: str, log: logging.Logger) -> None:
        self.mode = mode
        self.log = log
        self.state: dict[str, Any] | None = None if mode == "off" else {}
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._asked: asyncio.Queue[dict[str, str]]
        self._answers: asyncio.Queue[dict[str, Any]]

    async def start(self) -> None:
        """Have the application start. Raises WorkerBootError where it fails to."""
        if self.mode == "off":
            return
        self._asked, self._answers = asyncio.Queue(), asyncio.Queue()
        self._task = asyncio.create_task(self._run(), name="lifespan")
        answer = await self._ask("startup")
        if answer is None:
            self._without()
        elif answer["type"] == "lifespan.startup.failed":
            message = answer.get("message") or "it gave no reason"
            raise WorkerBootError(f"the application's startup failed: {message}")

    @property
    def lasts(self) -> bool:
        """Whether the application has started and wants to be told of the end."""
        return self._task is not None

    def _without(self) -> None:
        """The application ended at once: it knows no lifespan, or broke."""
        assert self._task is not None
        error, self._task = self._task.exception(), None
        if self.mode == "on":
            what = f"raised {error!r}" if error else "returned"
            raise WorkerBootError(
                f"lifespan is on, but the application {what} before it said that it started"
            ) from error
        self.log.debug("The application has no lifespan (%r)", error)

    async def stop(self, seconds: float) -> None:
        """Have the application shut down; no longer than `seconds`."""
        if self._task is None:
            return
        try:
            answer = await asyncio.wait_for(self._ask("shutdown"), seconds)
        except asyncio.TimeoutError:
            self.log.error("The application's shutdown took longer than %.3g s: it is cut short", seconds)
            answer = {"type": "lifespan.shutdown.complete"}
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            self.log.error(
                "The application's shutdown failed: %s", answer.get("message") or "it gave no reason"
            )
        self._task.cancel()
        await asyncio.wait([self._task])
        self._tell_error()

    def _tell_error(self) -> None:
        assert self._task is not None
        error = None if self._task.cancelled() else self._task.exception()
        if error is not None:
            self.log.error("The application's lifespan ended with an error", exc_info=error)

    async def _ask(self, what: str) -> dict[str, Any] | None:
        """The application's answer to lifespan.`what`; None where it ended instead."""
        assert self._task is not None
        self._asked.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": VERSIONS, "state": self.state}
        await self._app(scope, self._asked.get, self._send)

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        phase, _, outcome = kind.removeprefix("lifespan.").partition(".")
        if phase not in ("startup", "shutdown") or outcome not in ("complete", "failed"):
            raise RuntimeError(f"the lifespan does not know the message type {kind!r}")
        self._answers.put_nowait(message)
