"""How many processors this process may really use.

A container is usually held by a CPU quota of its control group, not by the
number of processors of the machine: the quota is asked first (version 2, then
version 1, over the group and all its ancestors, for a parent's quota binds too),
then the affinity mask. Unreadable or unlimited means "no quota".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath


def cores(root: Path = Path("/")) -> int:
    """Usable processors, at least 1; a fraction of a quota counts as one more."""
    available = _affinity()
    limit = min(_quotas(root), default=None)
    return available if limit is None else max(1, min(available, ceil(limit)))


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # no such call outside Linux
        return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Every CPU quota that binds this process, in processors."""
    mounts = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        for level in _self_and_ancestors(group):
            if not controllers:
                yield from _version2(mounts / level)
            elif "cpu" in controllers.split(","):
                yield from _version1(mounts / controllers / level)


def _self_and_ancestors(group: str) -> Iterator[PurePosixPath]:
    relative = PurePosixPath(group.lstrip("/"))
    yield relative
    yield from relative.parents


def _version2(group: Path) -> Iterator[float]:
    quota, _, period = _read(group / "cpu.max").strip().partition(" ")
    if quota.isdigit() and period.isdigit():
        yield int(quota) / int(period)


def _version1(group: Path) -> Iterator[float]:
    quota = _read(group / "cpu.cfs_quota_us").strip()
    period = _read(group / "cpu.cfs_period_us").strip()
    if quota.isdigit() and period.isdigit():  # no quota is written as -1
        yield int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeError):
        return ""
