from collections.abc import Callable
from typing import final

from canter.exchange import Context
from canter.poller import Poller

@final
class Seat: ...

@final
class Crew:
    poller: Poller
    context: Context
    threads: int
    serving: int
    over: bool
    def __init__(
        self, context: Context, threads: int, done: Callable[[], object], beat: float = 1.0
    ) -> None: ...
    def work(self) -> None: ...
