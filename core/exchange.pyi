import logging
from collections.abc import Callable, Iterable
from typing import Any, final

from typing_extensions import disjoint_base

from canter.config import Config
from canter.http._http1 import Request
from canter.http._response import Response
from canter.observe.access import AccessLog
from canter.poller import Host, Poller
from canter.scoreboard import Row
from canter.stream import Stream, Terms
from canter.workers.base import Worker

@final
class Context(Host):
    app: Any
    cfg: Config
    log: logging.Logger
    worker: Worker | None
    terms: Terms
    poller: Poller
    stopping: bool
    access: AccessLog | None
    running: int
    pre_request: Callable[..., object] | None
    post_request: Callable[..., object] | None
    recycle_after: int
    def __init__(
        self,
        app: Any,
        poller: Poller,
        cfg: Config,
        log: logging.Logger,
        *,
        worker: Worker | None = None,
        row: Row | None = None,
        access: AccessLog | None = None,
        deadline_of: Callable[[str], float] | None = None,
        runner_of: Callable[[], object] | None = None,
        multithread: bool = False,
        multiprocess: bool = True,
    ) -> None: ...
    @property
    def requests(self) -> int: ...
    def know_siblings(self, rows: Iterable[Row], capacity: int) -> None: ...
    def jobs(self) -> list[Job]: ...
    def overdue(self) -> list[Job]: ...
    def hopeless(self) -> bool: ...
    def idle_now(self) -> None: ...
    def reopen_logs(self) -> None: ...

@disjoint_base
class Job:
    context: Context
    stream: Stream
    request: Request
    response: Response
    started_at: int
    deadline: int
    overruled: bool
    thread: int
    runner: Any
    def overrule(self) -> bool | None: ...

@final
class Exchange(Job):
    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]: ...
    def write(self, data: bytes) -> None: ...
    def early_hints(self, headers: Iterable[tuple[str, str]]) -> None: ...
    def client_disconnected(self) -> bool: ...

class InternalServerError(Exception):
    status: int
    reason: str

def serve_one(stream: Stream, context: Context) -> int: ...
def serve_all(context: Context, pulse: float) -> None: ...

class HookResponse:
    status: str | None
    status_code: int
    headers: list[tuple[str, str]]
    response_length: int | None
    sent: int
    def __init__(self, response: Response, headers: list[tuple[str, str]] | None) -> None: ...
