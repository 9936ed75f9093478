from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

from canter.http._http1 import Request

@final
class AccessLog:
    needs_environ: bool
    needs_headers: bool
    path: str
    lost: int
    def __init__(self, path: str, format: str, complain: Callable[[str], object]) -> None: ...
    def flush(self) -> int: ...
    def reopen(self) -> None: ...
    def chown(self, uid: int, gid: int) -> None: ...
    def close(self) -> None: ...
    def record(
        self,
        request: Request | None,
        peer: str | None,
        status: int,
        body_octets: int,
        duration_ns: int,
        environ: Mapping[str, Any] | None = None,
        response_headers: Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]] | None = None,
    ) -> None: ...
    @property
    def buffered_size(self) -> int: ...
