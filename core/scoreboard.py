"""The scoreboard: one shared mapping in which every worker says what it is doing now.

The master makes it before the first fork; workers write their own row and the
master reads all of them. There are no locks, files or pipes on the hot path:
a cell is an aligned 64-bit number with **one writer**, so a plain store is
enough. Texts (method, path, ...) are longer than a store; a sequence number
guards them: the writer makes it odd, writes, makes it even, and a reader that
saw an odd or a changed number reads again.

Rows are *claimed* and *released* by a master under a file lock, because two
masters share one scoreboard while a binary upgrade is under way. Releasing a
row adds the dead worker's counters to the totals, so sums never go back.

Layout, in cells of 8 octets::

    header (HEADER_CELLS) | totals (WORKER_CELLS) | row 0 | row 1 | ...
    row  = WORKER_CELLS cells, then `slots` slots
    slot = SLOT_CELLS cells, then TEXT_SIZE octets of text

All times are `time.monotonic_ns()` (CLOCK_MONOTONIC, the same in all processes);
0 means "not set". This module knows nothing of processes, sockets or settings.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

MAGIC: Final = 0x43414E5445520A01  # "CANTER\n" and the version of this layout

# -- header cells: written by the master ------------------------------------------------
HEADER_MAGIC: Final = 0
HEADER_ROWS: Final = 1
HEADER_SLOTS: Final = 2
HEADER_CREATED: Final = 3
SERVER_STOPPING: Final = 4  # not 0: the whole server stops, so workers empty the backlog before they close it
HEADER_CELLS: Final = 16

# -- worker cells. The first cache line is the master's, the rest is the worker's --------
PID: Final = 0
AGE: Final = 1
MASTER: Final = 2  # pid of the master that claimed the row; 0: the row is free
GENERATION: Final = 3  # how many times the configuration had been read when the worker was forked
STARTED: Final = 4  # time of the fork
RSS: Final = 5  # resident memory in octets, sampled by the master

STATE: Final = 8
BEAT: Final = 9  # time of the last sign of life
BUSY: Final = 10  # requests being served
CAPACITY: Final = 11  # requests that can be served at once
CONNECTIONS: Final = 12  # open connections
QUEUED: Final = 13  # complete requests that wait for a thread, greenlet or task
RECYCLE: Final = 14  # why the worker asks to be replaced; 0: it does not
REQUESTS: Final = 16
ERRORS: Final = 17  # requests that ended in an exception or a 5xx of the server
BYTES_OUT: Final = 18
BYTES_IN: Final = 19
ACCEPTED: Final = 20  # connections accepted
QUEUE_WAIT: Final = 21  # ns that requests waited between complete head and application, summed
OVERLOADED: Final = 22  # requests refused because they had waited too long
TIMEOUTS: Final = 23  # requests that passed their deadline
UNSEEN: Final = 24  # requests that ran without a slot of their own, because all were taken
WORKER_CELLS: Final = 32

COUNTERS: Final = (
    REQUESTS, ERRORS, BYTES_OUT, BYTES_IN, ACCEPTED, QUEUE_WAIT, OVERLOADED, TIMEOUTS, UNSEEN,
)  # fmt: skip

# -- values of STATE ---------------------------------------------------------------------
FREE: Final = 0
BOOTING: Final = 1
SERVING: Final = 2
STOPPING: Final = 3
STATE_NAMES: Final = ("free", "booting", "serving", "stopping")

# -- values of RECYCLE -------------------------------------------------------------------
RECYCLE_REQUESTS: Final = 1
RECYCLE_LIFETIME: Final = 2
RECYCLE_MEMORY: Final = 3
RECYCLE_DEADLINE: Final = 4
RECYCLE_NAMES: Final = ("", "max requests", "max lifetime", "max memory", "request deadline")

# -- slot cells --------------------------------------------------------------------------
START: Final = 0  # time at which the request began; 0: the slot is free
THREAD: Final = 1  # identity of the thread (threading.get_ident), greenlet or task that serves it
SEQ: Final = 2  # guard of the texts: odd while they are being written
METHOD_LENGTH: Final = 3
PEER_LENGTH: Final = 4
ID_LENGTH: Final = 5
PATH_LENGTH: Final = 6
SLOT_CELLS: Final = 8

# -- text of a slot: offset and room of each field, in octets ------------------------------
METHOD: Final = 0
METHOD_SIZE: Final = 16
PEER: Final = 16
PEER_SIZE: Final = 48
ID: Final = 64
ID_SIZE: Final = 64
PATH: Final = 128
PATH_SIZE: Final = 128
TEXT_SIZE: Final = 256

_CELL: Final = 8
_SLOT_BYTES: Final = SLOT_CELLS * _CELL + TEXT_SIZE
_READS: Final = 16  # a reader that meets this many writes gives up: texts are for people, not for decisions


class InFlight(NamedTuple):
    """A request that is being served now, as a person wants to read it."""

    start: int
    thread: int
    method: str
    path: str
    peer: str
    id: str


class Slot:
    """One request slot. `cells` and `text` are writable views that compiled code may point into."""

    __slots__ = ("cells", "text")

    def __init__(self, cells: memoryview, text: memoryview) -> None:
        self.cells = cells
        self.text = text

    def __getitem__(self, cell: int) -> int:
        return int(self.cells[cell])

    def __setitem__(self, cell: int, value: int) -> None:
        self.cells[cell] = value

    def begin(self, now: int, thread: int, method: str, path: str, peer: str = "", id: str = "") -> None:
        """Say which request is being served from `now` on. Longer texts are cut."""
        cells = self.cells
        cells[SEQ] += 1
        self._write(METHOD, METHOD_SIZE, METHOD_LENGTH, method)
        self._write(PEER, PEER_SIZE, PEER_LENGTH, peer)
        self._write(ID, ID_SIZE, ID_LENGTH, id)
        self._write(PATH, PATH_SIZE, PATH_LENGTH, path)
        cells[THREAD] = thread
        cells[SEQ] += 1
        cells[START] = now

    def end(self) -> None:
        self.cells[START] = 0

    def request(self) -> InFlight | None:
        """The request in this slot, None where it is free. Texts that never stand still are left out."""
        cells = self.cells
        for _ in range(_READS):
            before = cells[SEQ]
            start, thread = cells[START], cells[THREAD]
            texts = self._texts()
            if before == cells[SEQ] and not before & 1:
                return InFlight(start, thread, *texts) if start else None
        return InFlight(start, thread, "", "", "", "") if start else None

    def _texts(self) -> tuple[str, str, str, str]:
        return (
            self._read(METHOD, METHOD_SIZE, METHOD_LENGTH),
            self._read(PATH, PATH_SIZE, PATH_LENGTH),
            self._read(PEER, PEER_SIZE, PEER_LENGTH),
            self._read(ID, ID_SIZE, ID_LENGTH),
        )

    def _write(self, at: int, room: int, length: int, value: str) -> None:
        octets = value.encode("utf-8", "surrogateescape")[:room]
        self.text[at : at + len(octets)] = octets
        self.cells[length] = len(octets)

    def _read(self, at: int, room: int, length: int) -> str:
        size = min(self.cells[length], room)
        return bytes(self.text[at : at + size]).decode("utf-8", "replace")


class Row:
    """One worker's row: its cells, and its request slots."""

    __slots__ = ("_view", "cells", "slots")

    def __init__(self, view: memoryview, slots: int) -> None:
        self._view = view
        self.cells = view[: WORKER_CELLS * _CELL].cast("Q")
        self.slots = slots

    def __getitem__(self, cell: int) -> int:
        return int(self.cells[cell])

    def __setitem__(self, cell: int, value: int) -> None:
        self.cells[cell] = value

    def slot(self, index: int) -> Slot:
        if not 0 <= index < self.slots:
            raise IndexError(f"slot {index} of {self.slots}")
        at = WORKER_CELLS * _CELL + index * _SLOT_BYTES
        text = at + SLOT_CELLS * _CELL
        return Slot(self._view[at:text].cast("Q"), self._view[text : text + TEXT_SIZE])

    def requests(self) -> list[InFlight]:
        """Every request in flight in this worker, the oldest first."""
        found = (self.slot(index).request() for index in range(self.slots))
        return sorted(request for request in found if request is not None)

    def clear(self) -> None:
        """Forget the last worker. Slots that were never used are not touched: their pages stay unborn."""
        self.cells[:] = memoryview(bytes(WORKER_CELLS * _CELL)).cast("Q")
        for index in range(self.slots):
            cells = self.slot(index).cells
            if cells[SEQ] or cells[START]:
                cells[:] = memoryview(bytes(SLOT_CELLS * _CELL)).cast("Q")


class Scoreboard:
    """The whole mapping. Made by `create` or, after an upgrade or in another program, by `attach`."""

    def __init__(self, fd: int, rows: int, slots: int) -> None:
        self.fd = fd
        self.workers = rows
        self.slots = slots
        self._stride = WORKER_CELLS * _CELL + slots * _SLOT_BYTES
        self._view = memoryview(mmap.mmap(fd, _size(rows, slots)))
        self.header = self._view[: HEADER_CELLS * _CELL].cast("Q")
        totals = HEADER_CELLS * _CELL
        self._rows_at = totals + WORKER_CELLS * _CELL
        self.totals = self._view[totals : self._rows_at].cast("Q")

    @classmethod
    def create(cls, workers: int, slots: int, now: int = 0, fd: int | None = None) -> Scoreboard:
        """A fresh scoreboard with room for `workers` rows of `slots` request slots each.

        It is made in `fd`, an empty file of somebody who wants to read it too, where that is given:
        OSError when it cannot be.
        """
        if fd is None:
            fd = _anonymous_file()
        else:
            os.set_inheritable(fd, False)  # for this server, not for what applications start
        os.ftruncate(fd, _size(workers, slots))
        board = cls(fd, workers, slots)
        board.header[HEADER_ROWS] = workers
        board.header[HEADER_SLOTS] = slots
        board.header[HEADER_CREATED] = now
        board.header[HEADER_MAGIC] = MAGIC
        return board

    @classmethod
    def attach(cls, fd: int) -> Scoreboard:
        """The scoreboard behind an inherited descriptor. ValueError when it is none of this layout."""
        try:
            size = os.fstat(fd).st_size
            with mmap.mmap(fd, HEADER_CELLS * _CELL, access=mmap.ACCESS_READ) as head:
                magic, rows, slots = (
                    int.from_bytes(head[cell * _CELL : cell * _CELL + _CELL], sys.byteorder)
                    for cell in (HEADER_MAGIC, HEADER_ROWS, HEADER_SLOTS)
                )
        except (OSError, ValueError) as error:
            raise ValueError(f"descriptor {fd} holds no scoreboard: {error}") from None
        if magic != MAGIC or size < _size(rows, slots):
            raise ValueError(f"descriptor {fd} holds no scoreboard of this version")
        return cls(fd, rows, slots)

    def row(self, index: int) -> Row:
        if not 0 <= index < self.workers:
            raise IndexError(f"row {index} of {self.workers}")
        at = self._rows_at + index * self._stride
        return Row(self._view[at : at + self._stride], self.slots)

    def rows(self) -> Iterator[Row]:
        """Every row, the free ones too."""
        return (self.row(index) for index in range(self.workers))

    def claim(self, master: int) -> int | None:
        """Take a free row for a worker of `master` (a pid); None when all are taken."""
        with self._lock():
            for index, row in enumerate(self.rows()):
                if not row[MASTER]:
                    row.clear()
                    row[MASTER] = master
                    return index
        return None

    def release(self, index: int) -> None:
        """Give a dead worker's row back; its counters go to the totals."""
        row = self.row(index)
        with self._lock():
            for cell in COUNTERS:
                self.totals[cell] += row[cell]
            row.clear()

    def total(self, cell: int) -> int:
        """The sum of one counter over all workers, dead and alive."""
        return int(self.totals[cell]) + sum(row[cell] for row in self.rows() if row[MASTER])

    def masters(self) -> set[int]:
        """Pids of the masters that hold rows: two while an upgrade is under way."""
        return {row[MASTER] for row in self.rows()} - {0}

    @property
    def stopping(self) -> bool:
        return bool(self.header[SERVER_STOPPING])

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep the other master out. A record lock: the kernel drops it when its holder dies."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN)


def _size(rows: int, slots: int) -> int:
    row = WORKER_CELLS * _CELL + slots * _SLOT_BYTES
    return (HEADER_CELLS + WORKER_CELLS) * _CELL + rows * row


def _anonymous_file() -> int:
    """Memory with a descriptor; an unlinked temporary file where the system has no memfd."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("canter-scoreboard")
    with tempfile.TemporaryFile() as file:
        return fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, 0)
