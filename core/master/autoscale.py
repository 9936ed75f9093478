"""`--workers 2-8`: how many workers the work of the last seconds asks for. Pure.

The arbiter hands in what the scoreboard says a few times a second; a change of the
number comes back with its figures. More workers come soon, fewer come late, and the
two limits are far apart, so that a number does not swing:

* **up** by one when over `UP_AFTER` the slots were `CROWDED` busy, or requests waited
  `WAITING` on average for a slot;
* **down** by one when over `DOWN_AFTER` the work would have kept one worker fewer no more
  than `ROOMY` busy, and nobody waited.

After a change both begin to look afresh, and while a worker boots nothing is decided.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

SECOND: Final = 1_000_000_000
SAMPLE: Final = SECOND // 5
UP_AFTER: Final = 3 * SECOND
DOWN_AFTER: Final = 15 * SECOND
CROWDED: Final = 0.8
ROOMY: Final = 0.5
WAITING: Final = 0.05  # seconds


class Sample(NamedTuple):
    """What all serving workers do at one moment."""

    time: int
    workers: int
    busy: int  # requests being served
    capacity: int  # slots
    requests: int  # ever, of all workers
    waited: int  # ns that those requests waited for a slot, summed


class Change(NamedTuple):
    target: int
    why: str


class Scaler:
    """The decision between `least` and `most` workers."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self._samples: deque[Sample] = deque()

    def observe(self, sample: Sample, target: int) -> Change | None:
        """Take a sample in; the change that it asks for, if any."""
        samples = self._samples
        if sample.workers != target or not sample.capacity:
            samples.clear()  # a worker boots or ends: what came before was another server
            return None
        samples.append(sample)
        while samples[0].time < sample.time - DOWN_AFTER - SAMPLE:
            samples.popleft()
        change = self._up(sample, target) or self._down(sample, target)
        if change:
            samples.clear()
        return change

    def _up(self, now: Sample, target: int) -> Change | None:
        if target >= self.most or not self._covers(now, UP_AFTER):
            return None
        busy, wait = self._figures(now, UP_AFTER)
        if busy / now.capacity < CROWDED and wait < WAITING:
            return None
        return Change(target + 1, f"scaling up: {_told(busy, now, wait, UP_AFTER)}")

    def _down(self, now: Sample, target: int) -> Change | None:
        if target <= self.least or not self._covers(now, DOWN_AFTER):
            return None
        busy, wait = self._figures(now, DOWN_AFTER)
        fewer = now.capacity * (target - 1) / target
        if busy / fewer > ROOMY or wait >= WAITING:
            return None
        return Change(target - 1, f"scaling down: {_told(busy, now, wait, DOWN_AFTER)}")

    def _covers(self, now: Sample, time: int) -> bool:
        return now.time - self._samples[0].time >= time

    def _figures(self, now: Sample, time: int) -> tuple[float, float]:
        """Busy slots, and the wait of a request in seconds, both on average over the last `time`."""
        recent = [sample for sample in self._samples if sample.time >= now.time - time]
        busy = sum(sample.busy for sample in recent) / len(recent)
        requests = now.requests - recent[0].requests
        waited = now.waited - recent[0].waited
        return busy, waited / requests / SECOND if requests > 0 else 0.0


def _told(busy: float, now: Sample, wait: float, time: int) -> str:
    slots = f"{busy:.1f} of {now.capacity} slots busy"
    return f"{slots}, requests waited {wait * 1000:.0f} ms, over {time / SECOND:.0f} s"
