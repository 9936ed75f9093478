import asyncio
from collections.abc import Callable
from typing import Any, final

from canter.async_asgi import AsgiDriver, AsgiExchange
from canter.exchange import Context

@final
class SocketDriver(AsgiDriver):
    def __init__(
        self,
        context: Context,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[], object],
        state: dict[str, Any] | None = None,
    ) -> None: ...

@final
class SocketExchange(AsgiExchange): ...
