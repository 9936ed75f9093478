"""How long each load may take so that a comparison ends in time. Pure but for a clock.

What a visit costs beside its load (starting a server, stopping it, the time-outs of
one that does not keep up) is learnt from the visits that were made; the time that is
left is then shared out evenly over the loads that are left, as far as none gets too
short for what it measures. Every load of a round has the same length, so that contenders
are held against each other fairly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

_OVERHEAD = 1.0
"""Seconds beside its load that the first visit is thought to take."""
_SHORTEST, _LONGEST = 0.3, 10.0
"""Seconds of a load: below, a rate means little; above, more rounds would tell more."""


@dataclass(frozen=True)
class Visit:
    """One start of one server, as far as its time goes."""

    loads: float
    """Loads of the full length."""
    beside: float = 0.0
    """Seconds that are known to come on top, as the wait of a long poll."""
    least: float = _SHORTEST
    """Seconds of a load: a shorter one is not worth its visit."""


class Budget:
    """Seconds for everything; `limit` 0 has no end and changes nothing."""

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._end = clock() + limit
        self._beside: list[float] = []

    def over(self, visit: Visit) -> bool:
        """Whether this one cannot be begun any more."""
        return self._limit > 0 and self._clock() + self._overhead + visit.least > self._end

    @property
    def _overhead(self) -> float:
        """The median: one server that hangs must not shorten the loads of all others."""
        return median(self._beside) if self._beside else _OVERHEAD

    def seconds(self, usual: float, left: Sequence[Visit]) -> float:
        """Of each load of the next round, where these visits are left to be made, its own first."""
        if not self._limit or not left:
            return max(usual, left[0].least) if left else usual
        return max(min(self._share(left), _LONGEST), left[0].least)

    def enough(self, left: Sequence[Visit]) -> bool:
        """Whether all these visits can still be made, with loads that tell something."""
        needed = sum(visit.beside + self._overhead + visit.loads * visit.least for visit in left)
        return not self._limit or needed <= self._end - self._clock()

    def _share(self, left: Sequence[Visit]) -> float:
        """Seconds of each load, where those that need more get what they need and no more."""
        seconds = self._end - self._clock() - sum(visit.beside + self._overhead for visit in left)
        loads = sum(visit.loads for visit in left)
        for visit in sorted(left, key=lambda visit: -visit.least):
            if visit.least <= seconds / loads or loads <= visit.loads:
                break
            seconds -= visit.loads * visit.least
            loads -= visit.loads
        return seconds / loads

    def spent(self, visit: Visit, seconds: float, wall: float) -> None:
        """A visit with loads of `seconds` took so long."""
        self._beside.append(max(wall - visit.loads * seconds - visit.beside, 0.0))
