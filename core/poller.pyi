import logging
import socket
from collections.abc import Callable
from typing import final

from typing_extensions import disjoint_base

from canter.stream import Site, Stream, Terms

@disjoint_base
class Host: ...

@final
class Watch:
    fd: int
    callback: Callable[[], object]
    def __init__(self, fd: int, callback: Callable[[], object]) -> None: ...

@final
class Poller:
    terms: Terms
    sites: list[Site]
    watches: list[Watch]
    limit: int
    count: int
    batch: int
    wake_write: int
    now: int
    peek: bool
    wakes: bool
    ready: list[Stream]
    def __init__(
        self,
        terms: Terms,
        listeners: list[socket.socket],
        log: logging.Logger,
        *,
        host: Host | None = None,
        limit: int = 1000,
        batch: int = 8,
        row: memoryview | None = None,
    ) -> None: ...
    @property
    def stopping(self) -> bool: ...
    @property
    def left(self) -> float: ...
    @property
    def finished(self) -> bool: ...
    def fileno(self) -> int: ...
    def poll(self, timeout: float) -> list[Stream]: ...
    def give_back(self, stream: Stream, then: int) -> int: ...
    def watch(self, fd: int, callback: Callable[[], object]) -> None: ...
    def unwatch(self, fd: int) -> None: ...
    def wake(self) -> None: ...
    def woken(self) -> None: ...
    def ask_stop(self, grace: float, empty_backlog: bool) -> None: ...
    def stop(self, grace: float, empty_backlog: bool) -> None: ...
    def counts(self) -> dict[str, int]: ...
