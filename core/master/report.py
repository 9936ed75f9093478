"""What a worker tells the master about its boot. Pure: octets in, messages out.

One JSON object a line, over a socket of the worker's own. It is never read by the
worker, so its end there becomes readable exactly when the master has died. A message
always fits in the socket's buffer: a worker never waits for the master to read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Final

LONGEST: Final = 32_768  # characters of a traceback, counted from its end


@dataclass(frozen=True)
class Ready:
    """The application is loaded, and `post_worker_init` has run."""


@dataclass(frozen=True)
class Born:
    """The worker's process is this one: the first thing it says."""

    pid: int


@dataclass(frozen=True)
class Failure:
    """The worker could not boot. `line` says why; `traceback` is "" where the line says all."""

    exit_code: int
    line: str
    traceback: str = ""


Message = Born | Ready | Failure
_KINDS: Final[dict[str, type[Message]]] = {kind.__name__: kind for kind in (Born, Ready, Failure)}


def encode(message: Message) -> bytes:
    content = asdict(message)
    if "traceback" in content:
        content["traceback"] = content["traceback"][-LONGEST:]
    return json.dumps({"kind": type(message).__name__, **content}).encode() + b"\n"


@dataclass
class Inbox:
    """The messages of one worker, put together from what was read."""

    _rest: bytes = field(default=b"", init=False)

    def feed(self, octets: bytes) -> list[Message]:
        *lines, self._rest = (self._rest + octets).split(b"\n")
        return [_decode(line) for line in lines]


def _decode(line: bytes) -> Message:
    content = json.loads(line)
    return _KINDS[content.pop("kind")](**content)
