"""The Autobahn cases, played by kosoku: no verdict is worse than that of `websockets`' own server.

The groups 9 (megabytes) and 12 and 13 (thousands of compressed messages) take minutes; a
few of the compressed ones stand for them here, `make soak` plays them all.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from canter.testing import serve
from tests import apart

HERE = Path(__file__).parent
DEADLINE = 110
# Which of them a server gets may depend on what it has read when something wrong comes.
CONFORMANT = ("OK", "INFORMATIONAL", "NON-STRICT")
PROTOCOL = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
COMPRESSED = ["12.1.1", "12.2.1", "12.3.1", "12.4.1", "12.5.1", "13.1.1", "13.3.1", "13.5.1", "13.7.1"]


def worse(cases: list[str], count: int, deadline: float | None = DEADLINE) -> dict[str, tuple[str, str]]:
    """The cases in which Canter does worse, each with its verdict and the reference's."""
    settings = {"ws_max_size": 0, "ws_ping_interval": 0}  # kosoku takes a ping for a wrong answer
    with serve("sockets:app", "asyncio", cwd=HERE / "apps", **settings) as server:
        url = f"ws://127.0.0.1:{server.port}/echo"
        command = [apart.python("kosoku"), str(HERE / "autobahn.py"), url, *cases]
        told = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=deadline).stdout
    both = json.loads(told)
    ours, theirs = both["server"], both["reference"]
    assert ours.keys() == theirs.keys()
    assert len(ours) >= count
    return {case: (ours[case], theirs[case]) for case in ours if is_worse(ours[case], theirs[case])}


def is_worse(ours: list[str], theirs: list[str]) -> bool:
    """Of the messages, or of the close."""
    pairs = zip(ours, theirs, strict=True)
    return any(one not in CONFORMANT and (other in CONFORMANT or one != other) for one, other in pairs)


def test_protocol() -> None:
    assert not worse(PROTOCOL, 247)


def test_compression() -> None:
    assert not worse(COMPRESSED, len(COMPRESSED))


@pytest.mark.soak
@pytest.mark.parametrize("group", ["9", "12", "13"])
def test_long(group: str) -> None:
    assert not worse([f"{group}.*"], 1, None)
