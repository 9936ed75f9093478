from typing import Any, final

FORWARDING: frozenset[bytes]

@final
class Limits:
    request_line: int
    fields: int
    field_size: int
    head: int
    body: int
    trailers: int
    def __init__(
        self,
        request_line: int = 4094,
        fields: int = 100,
        field_size: int = 8190,
        head: int = 65536,
        body: int = 0,
        trailers: int = 8192,
    ) -> None: ...

@final
class Request:
    head: bytes
    method: str
    minor: int
    content_length: int
    chunked: bool
    keep_alive: bool
    expect_continue: bool
    has_body: bool
    forwarded: bool
    def environ(self, base: dict[str, Any]) -> dict[str, Any]: ...
    def scope(self, base: dict[str, Any]) -> dict[str, Any]: ...
    def field(self, name: bytes) -> bytes | None: ...
    def raw_headers(self, hidden: bool = False) -> list[tuple[bytes, bytes]]: ...
    @property
    def target(self) -> str: ...
    @property
    def uri(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def version(self) -> tuple[int, int]: ...
    @property
    def request_line(self) -> str: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...

@final
class Connection:
    limits: Limits
    body_done: bool
    eof: bool
    started: bool
    def __new__(cls, limits: Limits) -> Connection: ...
    def feed(self, data: bytes) -> None: ...
    def next_request(self) -> Request | None: ...
    def next_body(self) -> bytes | None: ...
    @property
    def buffered_size(self) -> int: ...
    @property
    def direct_size(self) -> int: ...
    def note_received(self, n: int) -> None: ...
