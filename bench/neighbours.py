"""What others did on this machine meanwhile: the processors' time that neither server nor load used.

A comparison on a machine that does something else compares that, too. The load average
from before says little of it (it lags by minutes), so the time itself is added up: busy
time of all processors less that of this process and its children that ended.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from time import monotonic

_STAT = Path("/proc/stat")
_TICKS = os.sysconf("SC_CLK_TCK")
_NOTABLE = 0.15
"""Cores kept busy by others from which a reader must know it."""
_STOLEN = 0.03
"""Share of the processors' time, taken away by the hypervisor, from which the same holds."""


def _processors() -> tuple[float, float] | None:
    """Seconds that all processors were busy, and that a hypervisor took from them; None: not known."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, _STAT.read_text().split()[1:9])
        return (user + nice + system + irq + soft) / _TICKS, steal / _TICKS
    return None


def _ours() -> float:
    """Seconds of processor time of this process and its children that ended."""
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in each)


class Neighbours:
    """Looks from now on; ask it when all servers and generators have ended."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._processors = _processors()
        self._used = _ours()

    def notes(self) -> list[str]:
        """A line for each thing that makes the figures doubtful."""
        now = _processors()
        wall = monotonic() - self._began
        if now is None or self._processors is None or wall <= 0:
            return []
        others = (now[0] - self._processors[0] - (_ours() - self._used)) / wall
        stolen = (now[1] - self._processors[1]) / wall / (os.cpu_count() or 1)
        found = []
        if others > _NOTABLE:
            found.append(f"other programs kept {others:.1f} cores busy meanwhile: rates may be too low")
        if stolen > _STOLEN:
            found.append(f"the hypervisor took {stolen:.0%} of the processors' time: rates may be too low")
        return found
