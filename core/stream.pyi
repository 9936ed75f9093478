import socket
from typing import final

from typing_extensions import disjoint_base

from canter.http._http1 import Connection, Limits, Request

@disjoint_base
class Waiter:
    def wait(self, fd: int, write: bool, seconds: float) -> bool: ...

@final
class Terms:
    limits: Limits
    header_ns: int
    keepalive_ns: int
    body_ns: int
    write_ns: int
    body_min_rate: int
    body_buffer: int
    body_budget: int
    buffered: int
    waiter: Waiter
    def __init__(
        self,
        limits: Limits,
        *,
        header_timeout: float = 30,
        keepalive: float = 2,
        body_timeout: float = 30,
        write_timeout: float = 30,
        body_min_rate: int = 0,
        body_buffer: int = 65536,
        body_budget: int = ...,
        waiter: Waiter | None = None,
    ) -> None: ...

@final
class Site:
    fd: int
    sock: socket.socket
    name: str
    port: str
    scheme: str
    local: bool
    address: tuple[str, int] | tuple[str, int, int, int] | str | bytes
    def __init__(self, sock: socket.socket) -> None: ...

@disjoint_base
class Owner: ...

@final
class Stream:
    fd: int
    http: Connection
    request: Request | None
    site: Site
    terms: Terms
    queued_at: int
    stirred: bool
    fin: bool
    gone: bool
    trusted: int
    sent: int
    @property
    def waiting(self) -> bool: ...
    @property
    def peer(self) -> tuple[str, int] | str: ...
    @property
    def name(self) -> str: ...
    @property
    def unsent(self) -> int: ...
    def fileno(self) -> int: ...
    def read(self, want: int = ...) -> bytes: ...
    def send(self, data: bytes) -> int: ...
    def send_two(self, first: bytes, second: bytes) -> int: ...
    def peer_left(self) -> int: ...
