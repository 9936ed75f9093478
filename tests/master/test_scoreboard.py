"""The scoreboard: its layout, its guarded texts, and sums that survive a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from canter import scoreboard as sb
from canter.scoreboard import Scoreboard


@pytest.fixture
def board() -> Scoreboard:
    return Scoreboard.create(workers=3, slots=2)


def test_rows_and_slots_do_not_overlap(board: Scoreboard) -> None:
    value = 1
    for row in board.rows():
        for cell in range(sb.WORKER_CELLS):
            row[cell] = value
            value += 1
        for index in range(board.slots):
            slot = row.slot(index)
            slot.text[:] = bytes([value & 0xFF]) * sb.TEXT_SIZE
            for cell in range(sb.SLOT_CELLS):
                slot[cell] = value
                value += 1
    value = 1
    for row in board.rows():
        for cell in range(sb.WORKER_CELLS):
            assert row[cell] == value
            value += 1
        for index in range(board.slots):
            assert bytes(row.slot(index).text) == bytes([value & 0xFF]) * sb.TEXT_SIZE
            for cell in range(sb.SLOT_CELLS):
                assert row.slot(index)[cell] == value
                value += 1
    assert board.header[sb.HEADER_MAGIC] == sb.MAGIC


def test_views_are_writable_and_of_cells(board: Scoreboard) -> None:
    row = board.row(1)
    assert (row.cells.format, row.cells.readonly, row.cells.nbytes) == ("Q", False, sb.WORKER_CELLS * 8)
    assert (row.slot(0).text.format, row.slot(0).text.readonly) == ("B", False)
    row.cells[sb.BEAT] = 2**63
    assert board.row(1)[sb.BEAT] == 2**63


def test_out_of_range(board: Scoreboard) -> None:
    for index in (-1, 3):
        with pytest.raises(IndexError):
            board.row(index)
    with pytest.raises(IndexError):
        board.row(0).slot(2)


def test_a_request_is_written_and_read(board: Scoreboard) -> None:
    slot = board.row(0).slot(1)
    assert slot.request() is None
    slot.begin(5, 77, "GET", "/träume", "127.0.0.1:4711", "id-1")
    assert slot.request() == sb.InFlight(5, 77, "GET", "/träume", "127.0.0.1:4711", "id-1")
    assert board.row(0).requests() == [slot.request()]
    slot.end()
    assert slot.request() is None


def test_long_texts_are_cut(board: Scoreboard) -> None:
    slot = board.row(0).slot(0)
    slot.begin(1, 1, "M" * 99, "/" + "p" * 999, "e" * 99, "i" * 99)
    request = slot.request()
    assert request is not None
    assert [len(text) for text in request[2:]] == [
        sb.METHOD_SIZE, sb.PATH_SIZE, sb.PEER_SIZE, sb.ID_SIZE,
    ]  # fmt: skip


def test_a_writer_that_died_half_way_leaves_no_torn_text(board: Scoreboard) -> None:
    slot = board.row(0).slot(0)
    slot.begin(9, 1, "GET", "/")
    slot[sb.SEQ] += 1
    assert slot.request() == sb.InFlight(9, 1, "", "", "", "")


def test_requests_oldest_first(board: Scoreboard) -> None:
    row = board.row(2)
    row.slot(0).begin(20, 1, "GET", "/young")
    row.slot(1).begin(10, 2, "GET", "/old")
    assert [request.path for request in row.requests()] == ["/old", "/young"]


def test_claims_are_of_free_rows_and_totals_survive(board: Scoreboard) -> None:
    assert [board.claim(100), board.claim(100), board.claim(200)] == [0, 1, 2]
    assert board.claim(100) is None
    assert board.masters() == {100, 200}
    board.row(0)[sb.REQUESTS] = 7
    board.row(1)[sb.REQUESTS] = 5
    board.row(0).slot(0).begin(1, 1, "GET", "/")
    board.release(0)
    assert (board.totals[sb.REQUESTS], board.total(sb.REQUESTS)) == (7, 12)
    assert board.row(0).requests() == []
    assert board.claim(200) == 0
    assert board.row(0)[sb.REQUESTS] == 0


def test_another_process_attaches(board: Scoreboard) -> None:
    program = (
        "import sys; from canter import scoreboard as sb; b = sb.Scoreboard.attach(int(sys.argv[1]));"
        "b.row(b.claim(4))[sb.REQUESTS] = 42; print(b.workers, b.slots)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(board.fd)],
        pass_fds=[board.fd], capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["3", "2"]
    assert board.total(sb.REQUESTS) == 42


def test_a_killed_holder_leaves_no_lock(board: Scoreboard) -> None:
    pid = os.fork()
    if not pid:
        with board._lock():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert board.claim(1) == 0


def test_other_files_are_refused() -> None:
    with open(os.devnull, "rb") as null, pytest.raises(ValueError, match="no scoreboard"):
        Scoreboard.attach(null.fileno())
    with open(__file__, "r+b") as text, pytest.raises(ValueError, match="no scoreboard of this version"):
        Scoreboard.attach(text.fileno())


def test_fallback_without_memfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    board = Scoreboard.create(1, 1)
    board.row(0)[sb.BEAT] = 3
    assert Scoreboard.attach(board.fd).row(0)[sb.BEAT] == 3
    os.close(board.fd)


def test_a_scoreboard_in_the_descriptor_of_somebody_who_reads_it_too() -> None:
    fd = os.memfd_create("reader", 0)
    os.set_inheritable(fd, True)
    board = Scoreboard.create(workers=1, slots=1, fd=fd)
    board.row(0)[sb.BUSY] = 3
    assert Scoreboard.attach(fd).row(0)[sb.BUSY] == 3
    assert not os.get_inheritable(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        Scoreboard.create(workers=1, slots=1, fd=10_000)
