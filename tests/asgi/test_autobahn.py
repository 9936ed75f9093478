"""The Autobahn cases, played by kosoku: no verdict is worse than that of `websockets`' own server.

Both servers echo, and are played side by side. The groups 9 (megabytes) and 12 and 13
(thousands of compressed messages) take minutes; a few of the compressed ones stand for
them here, `make soak` plays them all.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from kosoku import FailureError, run_fuzzingclient
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as reference

from canter.testing import serve

APPS = Path(__file__).with_name("apps")
DEADLINE = 110
# Kosoku leaves the files of its test data to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO.*kosoku:pytest.PytestUnraisableExceptionWarning"),
]
VERDICTS = ("OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "UNCLEAN", "WRONG CODE")  # the best first
PROTOCOL = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
COMPRESSED = ["12.1.1", "12.2.1", "12.3.1", "12.4.1", "12.5.1", "13.1.1", "13.3.1", "13.5.1", "13.7.1"]

Verdict = tuple[int, int]  # of the messages, of the close: 0 is the best


def rank(verdict: str) -> int:
    return VERDICTS.index(verdict) if verdict in VERDICTS else len(VERDICTS)


async def verdicts(address: str, cases: list[str]) -> dict[str, Verdict]:
    """What kosoku says of the server at this address, by case."""
    try:
        results = await run_fuzzingclient(address, cases, concurrency=4)
    except FailureError as error:
        results = error.results
    return {
        each.case_id: (rank(each.behavior.value), rank(each.behavior_close.value)) for each in results
    }


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def worse(cases: list[str], at_least: int) -> dict[str, tuple[Verdict, Verdict]]:
    """The cases in which Canter does worse, with its verdict and the reference's."""
    logger = logging.getLogger("reference")
    logger.setLevel(logging.CRITICAL)  # it logs each case that breaks the protocol
    with serve("sockets:app", "asyncio", cwd=APPS, ws_max_size=0) as server:
        async with reference(echo, "127.0.0.1", 0, max_size=None, logger=logger) as other:
            port = other.sockets[0].getsockname()[1]
            ours = await verdicts(f"ws://127.0.0.1:{server.port}/echo", cases)
            theirs = await verdicts(f"ws://127.0.0.1:{port}", cases)
    assert len(ours) >= at_least
    assert ours.keys() == theirs.keys()
    return {
        case: (ours[case], theirs[case])
        for case in ours
        if ours[case][0] > theirs[case][0] or ours[case][1] > theirs[case][1]
    }


async def test_protocol() -> None:
    assert not await asyncio.wait_for(worse(PROTOCOL, 247), DEADLINE)


async def test_compression() -> None:
    assert not await asyncio.wait_for(worse(COMPRESSED, len(COMPRESSED)), DEADLINE)


@pytest.mark.soak
@pytest.mark.parametrize("group", ["9", "12", "13"])
async def test_long(group: str) -> None:
    assert not await worse([f"{group}.*"], 1)
