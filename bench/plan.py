"""What a load is: plain data, checked once, carried as JSON to the process that sends it.

A `Load` says how many connections there are, how requests arrive and for how long;
each `Target` is one kind of request and says how its answer is judged. Nothing
here opens a socket.

Two ways of arrival:

* closed loop (``rate=0``): each connection sends its next request as soon as the
  last answer is complete. This finds out how much a server can do.
* open loop (``rate=N``): requests arrive N times a second whatever the server does,
  as they do from a public network. Latency is counted from the moment a request was
  *meant* to leave, so a server that stalls cannot hide it (no coordinated omission).
"""

from __future__ import annotations

import ipaddress
import json
import socket
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

CHECKS = ("status", "echo", "length", "stamp", "events", "websocket")


class PlanError(ValueError):
    """A load that makes no sense or must not be sent; the text is one line for the user."""


@dataclass(frozen=True)
class Target:
    """One kind of request.

    `check` says what a right answer is, over and above `status`:

    ============= ================================================================
    ``status``    nothing more
    ``echo``      the answer of ``apps`` ``/echo``: id, length and SHA-256 of the body
                  that was sent; every octet is compared
    ``length``    the body has `length` octets
    ``stamp``     the body is a monotonic time in ns; how late it arrived is recorded
    ``events``    the body is server-sent events, each a stamp as above
    ``websocket`` no requests but messages of `body` octets (at least an id's), echoed
    ============= ================================================================
    """

    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: int = 0
    """Octets of a generated body, another one for each request; ignored where `content` is set."""
    content: str = ""
    chunked: bool = False
    check: str = "status"
    status: int = 200
    """The status of a right answer; 0 accepts any below 400."""
    length: int = 0
    timed: bool = False
    """Record the time to the first octet and between the pieces (``events`` and ``length`` always do)."""
    weight: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        if self.check not in CHECKS:
            raise PlanError(f"check {self.check!r} is none of {', '.join(CHECKS)}")
        if not self.path.startswith("/"):
            raise PlanError(f"path {self.path!r} must begin with '/'")
        text = "".join((self.path, self.method, *(part for pair in self.headers for part in pair)))
        if any(char in text for char in "\r\n\0"):
            raise PlanError("a path, method or header must be one line")
        if " " in self.path or " " in self.method:
            raise PlanError(f"a blank in {self.method!r} {self.path!r}")
        if self.body < 0 or self.weight < 0:
            raise PlanError("body and weight must not be negative")

    @property
    def label(self) -> str:
        """What reports call this target."""
        return self.name or f"{self.method} {self.path}"


@dataclass(frozen=True)
class Load:
    """Everything one run of the generator needs to know."""

    host: str
    port: int
    targets: tuple[Target, ...]
    connections: int = 32
    duration: float = 5.0
    """Seconds that are measured; with `requests` the most that it may take."""
    warmup: float = 0.0
    requests: int = 0
    """Stop after this many requests (0: after `duration`)."""
    rate: float = 0.0
    """Requests a second that arrive (0: closed loop)."""
    arrivals: str = "even"
    """Of an open loop: ``even``, or ``poisson`` for arrivals that know nothing of each other."""
    timeout: float = 30.0
    """Seconds after which a request counts as failed."""
    ids: bool = True
    """Send ``X-Request-Id``, another one in each request."""
    fresh: float = 0.0
    """Share of requests (0..1) that say ``Connection: close``, so that the next opens a connection."""
    abort: float = 0.0
    """Share of requests whose client goes away somewhere between the first octet and the last."""
    idle: int = 0
    """Connections held open beside the load: one request on each first, then silence."""
    dribblers: int = 0
    """Clients beside the load that send their requests a few octets at a time."""
    seed: int = 1
    cpu: int = -1
    """Core to run on (-1: any)."""
    allow_remote: bool = False

    def __post_init__(self) -> None:
        if not self.targets or not any(target.weight for target in self.targets):
            raise PlanError("there is nothing to send: no target with a weight")
        if self.connections < 1:
            raise PlanError("at least one connection is needed")
        if len({target.check == "websocket" for target in self.targets}) > 1:
            raise PlanError("WebSocket messages cannot be mixed with requests")
        if self.duration <= 0 or self.warmup < 0 or self.timeout <= 0:
            raise PlanError("duration and timeout must be positive, warm-up not negative")
        for name in ("fresh", "abort"):
            if not 0 <= getattr(self, name) <= 1:
                raise PlanError(f"{name} is a share between 0 and 1")
        if min(self.rate, self.requests, self.idle, self.dribblers) < 0:
            raise PlanError("rate, requests, idle and dribblers must not be negative")
        if self.arrivals not in ("even", "poisson"):
            raise PlanError(f"arrivals {self.arrivals!r} is neither 'even' nor 'poisson'")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Load:
        values: dict[str, Any] = json.loads(text)
        targets = tuple(
            Target(**{**target, "headers": tuple((name, value) for name, value in target["headers"])})
            for target in values.pop("targets")
        )
        return cls(targets=targets, **values)


@dataclass(frozen=True)
class Address:
    """Host, port and path of an ``http://`` URL."""

    host: str
    port: int
    path: str = field(default="/")


def parse_url(url: str) -> Address:
    """Split an ``http://`` URL; the fragment plays no part."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise PlanError(f"{url!r} is not an http:// URL")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        return Address(parts.hostname, parts.port or 80, path)
    except ValueError as error:
        raise PlanError(f"{url!r}: {error}") from None


def require_loopback(load: Load) -> str:
    """The numeric address to load; refuses any that leaves this machine unless the load allows it."""
    try:
        found = socket.getaddrinfo(load.host, load.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise PlanError(f"cannot resolve {load.host!r}: {error.strerror}") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not load.allow_remote and not all(ipaddress.ip_address(each).is_loopback for each in addresses):
        raise PlanError(f"{load.host} is not this machine; to load it all the same say --allow-remote")
    return addresses[0]
