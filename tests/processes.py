"""Processes as tests see them: waited for, counted, told dead from alive."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from canter.testing import DEADLINE


def until(condition: Callable[[], Any], what: str = "") -> Any:
    """The first true value of a condition that must come true."""
    deadline = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it never came true: {what or condition}"
        time.sleep(0.02)
    return value


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may also go between open and read
        return False


def children(pid: int) -> set[int]:
    """Pids of a process's living children."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {child for child in map(int, found.split()) if is_alive(child)}
