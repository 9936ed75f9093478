"""What gevent and eventlet share: requests on greenlets, under one hub.

The hub watches the poller's descriptor. When that is ready, the hub polls and switches
straight into a greenlet, which serves what the poller found, one request after the
other. A request that blocks leaves its greenlet to the hub, and the hub gives what is
left of the batch to another. So requests that never block share one greenlet and one
switch, and each that blocks has a greenlet of its own. Greenlets are used again: what
makes them dear is their stack.

`--worker-connections` bounds the requests that are served at once; further ones wait
here. Time-outs of waiting connections, the heartbeat, the access log and the stop are
looked after a few times a second by a timer of the hub.

This module knows greenlets, and no hub: `workers/gevent.py` and `workers/eventlet.py`
say how theirs watches a descriptor, keeps time, and makes a greenlet.
"""

from __future__ import annotations

import gc
import os
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, getcurrent, greenlet

from canter import deadlines
from canter.workers.base import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from canter.exchange import Job
    from canter.stream import Stream

TICK = 0.25  # seconds between two looks at the time
SPARE = 64  # idle greenlets that are kept; about 20 KiB each


class GreenletWorker(Worker):
    """Many requests at once in one thread; each may block only in ways that the hub knows."""

    multithread = True  # as Gunicorn's gevent worker says

    def setup(self) -> None:
        self.calls: deque[Callable[[], object]] = deque()

    def capacity(self) -> int:
        return self.cfg.worker_connections

    # -- what the hub does for us ------------------------------------------------------------

    @abstractmethod
    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """Call `call` in the hub whenever `fd` can be read."""

    @abstractmethod
    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Call `call` in the hub, again and again."""

    @abstractmethod
    def unwatch(self) -> None:
        """End what `watch` and `every` began."""

    def forked(self) -> None:
        """In a child that the application forks: stay out of the parent's connections."""
        self.unwatch()

    @abstractmethod
    def start(self, run: Callable[[], None]) -> None:
        """In the hub: run `run` in a new greenlet, up to where it first waits."""

    @abstractmethod
    def to_hub(self) -> None:
        """Leave this greenlet to the hub, until somebody switches to it."""

    # -- serving -----------------------------------------------------------------------------

    def run(self) -> None:
        self.queue: deque[Stream] = deque()
        self.idle: list[Any] = []
        self.busy = 0
        self.main: Any = getcurrent()
        self.over = False
        self.poller.wakes = False  # who gives back looks whether something is ready
        os.register_at_fork(after_in_child=self.forked)
        self.watch(self.poller.fileno(), self.look)
        self.every(TICK, self.tick)
        while not self.over:
            self.to_hub()
        self.unwatch()

    def look(self) -> None:
        """In the hub: have greenlets serve what the poller has found."""
        queue, idle, limit = self.queue, self.idle, self.cfg.worker_connections
        try:
            queue.extend(self.poller.poll(0))
        except Exception:  # out of memory, say: the hub must not drop us for it
            self.log.exception("the poller failed")
        while queue and self.busy < limit:
            if idle:
                idle.pop().switch()
            else:
                self.start(self.work)
        while self.calls:
            self.calls.popleft()()
        if self.poller.finished and not self.over:
            self.over = True
            self.main.switch()

    def work(self) -> None:
        """What each greenlet runs: requests as long as there are some, then idle for more."""
        me: Any = getcurrent()
        queue, idle, poller, serve = self.queue, self.idle, self.poller, self.serve
        self.busy += 1
        while True:
            while queue:
                me.gr_context = None  # context variables end with the request that set them
                try:
                    serve(queue.popleft())
                except SystemExit:  # the worker is aborted; that of an application ends in `serve`
                    raise
                except BaseException:
                    self.log.exception("a greenlet failed outside of its request")
            if poller.ready:  # a pipelined request: the poller's descriptor does not tell of it
                queue.extend(poller.poll(0))
                continue
            self.busy -= 1
            if len(idle) >= SPARE:
                return
            if not self.rest(me):
                return
            self.busy += 1

    def rest(self, me: Any) -> bool:
        """Be idle until there is something to do. False: somebody killed this greenlet.

        An application that forgot a timer or a reference may switch to a greenlet that
        is not its own any more; while it is idle, that does no harm.
        """
        idle = self.idle
        idle.append(me)
        while True:
            try:
                self.to_hub()
            except BaseException:
                if me in idle:
                    idle.remove(me)
                return False
            if me not in idle:
                return True

    def tick(self) -> None:
        """In the hub: what is due by the clock."""
        self.look()
        self.context.idle_now()

    def in_hub(self, call: Callable[[], object]) -> None:
        """Have the hub call `call`, which must not block. From a signal handler or another thread."""
        self.calls.append(call)
        self.poller.wake()

    def accept(self) -> Iterator[Stream]:
        """As in the base class, for subclasses that choose greenlets themselves; waits through the hub."""
        wait = self.waiter().wait
        while not self.poller.finished:
            if not self.poller.ready:
                wait(self.poller.fileno(), False, TICK)
            yield from self.poller.poll(0)
            self.context.idle_now()

    def handle_quit(self, number: int, frame: FrameType | None) -> None:
        """As in the base class, but in a greenlet: the handler may have come inside of the hub."""
        self.alive = False
        self.in_hub(lambda: self.start(self.quit))

    def quit(self) -> None:
        self.call_hook(self.cfg.worker_int)
        self.stop(0)

    # -- deadlines ---------------------------------------------------------------------------

    def runner(self) -> object:
        return getcurrent()

    def stack_of(self, job: Job) -> FrameType | None:
        runner: Any = job.runner
        frame: FrameType | None = runner.gr_frame
        return frame if frame is not None else deadlines.thread_stack(job)

    def waits(self, job: Job) -> bool:
        runner: Any = job.runner
        return runner is not None and runner.gr_frame is not None

    def asleep(self) -> Iterator[FrameType]:
        own = {*self.idle, self.main}
        for each in gc.get_objects():
            if not issubclass(type(each), greenlet):  # isinstance() would ask lazy objects of the application
                continue
            if each in own or each.parent is self.main:  # that is the hub
                continue
            if each.gr_frame is not None:
                yield each.gr_frame

    def interrupt(self, job: Job) -> bool:
        """End the request's greenlet, if it waits. One that does not let go of the hub can't be ended."""
        runner: Any = job.runner
        if runner.gr_frame is None:
            return False
        self.in_hub(lambda: self.kill(job))
        return True

    def kill(self, job: Job) -> None:
        if job in self.context.jobs():  # it is not over yet, so the greenlet is still its own
            runner: Any = job.runner
            runner.throw(GreenletExit())
