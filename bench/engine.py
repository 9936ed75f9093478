"""The generator's one loop: when requests leave, on which connection, and what became of them.

A closed loop keeps every connection busy, once its clients have begun one by one. An
open loop arms a clock for the next arrival and takes an idle connection, opens one, or
lets the request wait in the backlog: its latency counts from its intended time all the
same. `Connection` reports back through `answered`, `failed`, `heard`, `stray` and
`disconnected`.

Kinds of error (every failed request is in exactly one):

============== =====================================================================
``refused``    no connection (refused, or another error while connecting)
``closed``     closed on a new connection before the first octet of an answer
``reset``      the same by a reset
``stale``      a kept connection was closed under a request
``truncated``  lost inside an answer
``timeout``    no complete answer within the time-out
``unsent``     no connection became free within the time-out (open loop)
``malformed``  the octets are no HTTP/1.1 answer
``status-NNN`` an answer of another status than the target's
``body``       a wrong body
``crosstalk``  the body of another request
``stray``      octets that nothing asked for (the one kind that is no request)
============== =====================================================================
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from bisect import bisect
from collections import Counter, deque
from collections.abc import Callable

from canter.bench.background import Dribbler, Holder
from canter.bench.client import Connection
from canter.bench.plan import Load
from canter.bench.result import Histogram, Result, Tally
from canter.bench.shots import Call, Shot
from canter.bench.ticker import Ticker
from canter.bench.websocket import SocketConnection

_PAUSE = 0.05
"""Seconds a closed loop waits after a failed connect: a dead server is not to be hammered."""
_SPREAD = 0.8
"""Part of the warm-up in which the clients of a closed loop begin."""
_SWEEP = 0.25
"""Seconds between two looks for requests that timed out."""

Progress = Callable[[dict[str, float]], None]


class Generator:
    """One run of one load."""

    def __init__(self, load: Load, address: str, progress: Progress | None = None) -> None:
        self.load = load
        self.clock = time.monotonic
        self._address = address
        self._progress = progress
        self._rng = random.Random(load.seed)
        host = f"[{load.host}]" if ":" in load.host else load.host
        self._shots = [
            Shot(target, f"{host}:{load.port}", ids=load.ids, rng=self._rng)
            for target in load.targets
            if target.weight
        ]
        weights = itertools.accumulate(target.weight for target in load.targets if target.weight)
        self._weights = list(weights)
        self._base = self._rng.getrandbits(28) << 32
        self._closed = load.rate == 0
        self._connection = SocketConnection if load.targets[0].check == "websocket" else Connection
        self._sending = False
        self._sent = self._in_flight = self._most = self._opened = 0
        self._answered = self._measured = self._aborted = self._received = 0
        self._begin = self._until = self._last = 0.0
        self._due = 0.0
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._backlog: deque[Call] = deque()
        self._errors: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._statuses: Counter[int] = Counter()
        self._latency, self._first, self._gap = Tally(), Tally(), Tally()
        self._late, self._lag = Tally(), Tally()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the run ------------------------------------------------------------------

    async def run(self) -> Result:
        """Send the whole load; returns when nothing is under way any more."""
        load, self._loop = self.load, asyncio.get_running_loop()
        self._finished: asyncio.Future[None] = self._loop.create_future()
        holder = Holder(self._loop, self._address, load)
        await holder.open()
        dribblers = [Dribbler(self._loop, self._address, load, number) for number in range(load.dribblers)]
        ticker = Ticker(self._loop, self._arrive)
        self._ticker = ticker
        self._sending = True
        started = self.clock()
        self._begin = started + load.warmup
        self._until = self._begin + load.duration
        cpu = time.process_time()
        if self._closed:
            self._begin_loops(min(load.connections, load.requests or load.connections))
        else:
            self._due = started
            ticker.arm(started)
        sweeper = asyncio.ensure_future(self._sweep())
        await self._finished
        wall = self.clock() - started
        cpu = (time.process_time() - cpu) / wall
        ticker.close()
        sweeper.cancel()
        for connection in list(self._connections):
            connection.close()
        result = self._result(cpu)
        result.idle_held = holder.close()
        for dribbler in dribblers:
            result.dribbled += await dribbler.close()
            self._errors.update(dribbler.errors)
        result.errors = dict(self._errors)
        _warn(load, result)
        return result

    def _begin_loops(self, count: int) -> None:
        """Clients begin one after the other while the server warms up.

        Were they to begin all at once, long requests would end all at once, too, and the rate
        would hang on how many such waves fall into the measured window.
        """
        for number in range(count):
            after = number / count * self.load.warmup * _SPREAD
            self._loop.call_later(after, lambda: self._next(self.clock()))

    def _result(self, cpu: float) -> Result:
        end = min(self._until, self._last) if self.load.requests else self._until
        return Result(
            seconds=max(end - self._begin, 0.0),
            sent=self._sent,
            answered=self._answered,
            measured=self._measured,
            aborted=self._aborted,
            examples=self._examples,
            statuses={str(status): count for status, count in sorted(self._statuses.items())},
            opened=self._opened,
            in_flight=self._most,
            received=self._received,
            cpu=round(cpu, 4),
            loop=type(self._loop).__module__.partition(".")[0],
            latency=Histogram.of(self._latency),
            first=Histogram.of(self._first),
            gap=Histogram.of(self._gap),
            late=Histogram.of(self._late),
            lag=Histogram.of(self._lag),
        )

    async def _sweep(self) -> None:
        """Ends the sending in time, fails what timed out, and tells of progress."""
        while True:
            await asyncio.sleep(min(_SWEEP, max(self._until - self.clock(), 0.001)))
            now = self.clock()
            if now >= self._until and self._closed:
                self._stop_sending()
            limit = now - self.load.timeout
            while self._backlog and self._backlog[0].start < limit:
                self._fail(self._backlog.popleft(), "unsent", "no connection was free")
            for connection in list(self._connections):
                call = connection.call
                if call is not None and call.start < limit:
                    self.failed(connection, call, "timeout", f"{call.shot.target.label}: no answer")
            if self._progress is not None:
                self._progress(
                    {
                        "at": now - self._begin,
                        "answered": self._answered,
                        "errors": self._errors.total(),
                        "in_flight": self._in_flight,
                    }
                )

    def _stop_sending(self) -> None:
        self._sending = False
        self._settle()

    def _settle(self) -> None:
        if not self._sending and self._in_flight == 0 and not self._finished.done():
            self._finished.set_result(None)

    # -- sending ------------------------------------------------------------------

    def _new_call(self, start: float) -> Call:
        load = self.load
        self._sent += 1
        if self._sent == load.requests:
            self._sending = False
        self._in_flight += 1
        self._most = max(self._most, self._in_flight)
        shots = self._shots
        if len(shots) == 1:
            shot = shots[0]
        else:
            shot = shots[bisect(self._weights, self._rng.random() * self._weights[-1])]
        ident = b"%016x" % (self._base + self._sent)
        last = load.fresh > 0 and self._rng.random() < load.fresh
        abort = 0.0
        if load.abort and self._rng.random() < load.abort:
            abort = self._rng.uniform(0.001, 2)
        return Call(shot, ident, start, last, abort)

    def _arrive(self) -> None:
        """Open loop: send all that is due and arm the clock for the next."""
        now = self.clock()
        while self._due <= now:
            if not self._sending or self._due >= self._until:
                self._stop_sending()
                return
            self._lag.add(now - self._due)
            self._dispatch(self._new_call(self._due))
            rate = self.load.rate
            self._due += self._rng.expovariate(rate) if self.load.arrivals == "poisson" else 1 / rate
        self._ticker.arm(self._due)

    def _next(self, now: float) -> None:
        """A place for a request became free: use it."""
        call = self._more(now)
        if call is None:
            self._settle()
        else:
            self._dispatch(call)

    def _more(self, now: float) -> Call | None:
        if self._backlog:
            return self._backlog.popleft()
        return self._new_call(now) if self._closed and self._sending else None

    def _dispatch(self, call: Call) -> None:
        if self._idle:
            self._idle.pop().send(call)
        elif len(self._connections) < self.load.connections:
            connection = self._connection(self, call)
            self._connections.add(connection)
            task = self._loop.create_task(self._open(connection, call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._backlog.append(call)

    async def _open(self, connection: Connection, call: Call) -> None:
        try:
            await self._loop.create_connection(lambda: connection, self._address, self.load.port)
        except OSError as error:
            self._connections.discard(connection)
            if connection.call is call:
                self._fail(call, "refused", str(error))
                self._loop.call_later(_PAUSE, lambda: self._next(self.clock()))

    def leave_early(self, connection: Connection, call: Call, wire: bytes) -> None:
        """Send a call whose client goes away: within the request, or somewhat after it."""
        part = call.abort
        assert connection.transport is not None
        connection.transport.write(wire if part >= 1 else wire[: int(part * len(wire)) + 1])
        self._loop.call_later((part % 1) * 0.02, self._leave, connection, call)

    def _leave(self, connection: Connection, call: Call) -> None:
        if connection.call is not call:
            return
        self._fail(call, "", "")
        self._connections.discard(connection)
        connection.reset() if self._rng.random() < 0.5 else connection.close()
        self._next(self.clock())

    # -- what connections report -----------------------------------------------------

    def connected(self, connection: Connection) -> None:
        self._opened += 1
        if connection.call is None:  # it timed out while connecting
            connection.close()

    def disconnected(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def answered(self, connection: Connection, call: Call) -> None:
        """A complete answer, right or wrong."""
        now = self._last = self.clock()
        answer = connection.answer
        connection.call = None
        if call.abort:
            self._fail(call, "", "")
        else:
            status = answer.status
            self._statuses[status] += 1
            wrong = call.shot.judge(call.ident, answer)
            if wrong is None:
                self._in_flight -= 1
                self._record(call, connection, now)
            else:
                self._fail(call, *wrong)
        if call.last or call.abort or not answer.keep_alive or connection.transport is None:
            self._connections.discard(connection)
            connection.close()
            self._next(now)
            return
        following = self._more(now)
        if following is not None:
            connection.send(following)
        else:
            self._idle.append(connection)
            self._settle()

    def _record(self, call: Call, connection: Connection, now: float) -> None:
        self._answered += 1
        self._received += connection.answer.size
        if call.start >= self._begin:
            self._latency.add(now - call.start)
            if call.shot.target.check == "stamp":
                self._stamped(connection.answer.body(), now)
        if self._begin <= now <= self._until:
            self._measured += 1

    def heard(self, connection: Connection, call: Call) -> None:
        """A piece of an answer that is looked at as it comes."""
        now = self.clock()
        if call.start >= self._begin:
            if call.heard:
                self._gap.add(now - call.heard)
            else:
                self._first.add(now - call.start)
            if call.shot.target.check == "events":
                for line in connection.answer.take().split(b"\n"):
                    if line.startswith(b"data: "):
                        self._stamped(line[6:], now)
        call.heard = now

    def _stamped(self, text: bytes, now: float) -> None:
        text = text.strip()
        if text.isdigit():
            self._late.add(max(0.0, now - int(text) / 1e9))
        else:
            self._errors["body"] += 1
            self._examples.setdefault("body", f"{text[:80]!r} is no time")

    def failed(self, connection: Connection, call: Call, kind: str, example: str) -> None:
        """A call that came to nothing; its connection is gone or goes now."""
        connection.reset()
        self._connections.discard(connection)
        self._fail(call, kind, example)
        self._next(self.clock())

    def _fail(self, call: Call, kind: str, example: str) -> None:
        """Count it. Of a client that meant to leave no answer was wanted, so nothing failed."""
        self._in_flight -= 1
        if call.abort:
            self._aborted += 1
            return
        self._errors[kind] += 1
        self._examples.setdefault(kind, example)

    def stray(self, connection: Connection, data: bytes) -> None:
        self._errors["stray"] += 1
        self._examples.setdefault("stray", repr(data[:120]))
        connection.reset()
        self.disconnected(connection)


def _warn(load: Load, result: Result) -> None:
    """Say where the generator, and not the server, set the figures."""
    if result.cpu > 0.9:
        result.warnings.append(f"the load generator was the limit: it used {result.cpu:.0%} of a core")
    lag = result.lag.percentile(99)
    if lag > 0.01:
        result.warnings.append(
            f"the load generator was late: 1 % of requests left over {lag * 1e3:.0f} ms late"
        )
    if result.idle_held < load.idle:
        result.warnings.append(
            f"only {result.idle_held} of {load.idle} idle connections were held to the end"
        )
    if result.loop != "uvloop":
        result.warnings.append("uvloop is not installed: the load generator is slower without it")
