import asyncio
from collections.abc import Callable
from typing import Any, final

from typing_extensions import disjoint_base

from canter.async_exchange import AsyncExchange, Awaitable, Driver, Waiting
from canter.exchange import Context

@disjoint_base
class AsgiDriver(Driver):
    state: dict[str, Any] | None
    def __init__(
        self,
        context: Context,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[], object],
        state: dict[str, Any] | None = None,
    ) -> None: ...

@final
class Receiving(Waiting): ...

@disjoint_base
class AsgiExchange(AsyncExchange):
    def asgi_receive(self) -> Awaitable: ...
    def asgi_send(self, message: dict[str, Any]) -> Awaitable: ...
