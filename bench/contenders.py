"""Who is compared: each worker class with settings that suit this machine, variants, and peers.

Settings follow what is usually advised: processes by cores, two for each and one more
where a process does one thing at a time (``sync``), threads for waiting.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace

from canter.bench.peers import PEERS, Peer
from canter.bench.plan import PlanError

THREADS = 64
CONNECTIONS = 10_000
KEEP_ALIVE = 30
"""Seconds for which a connection may be idle: longer than any is while it is loaded."""
CLASSES: dict[str, tuple[str, ...]] = {
    "wsgi": ("sync", "gthread", "gevent", "eventlet", "asyncio", "tornado"),
    "asgi": ("asyncio", "tornado"),
    "async_wsgi": ("asyncio", "tornado"),
}
"""Worker classes by the interface of the application they can run."""


@dataclass(frozen=True)
class Contender:
    """A server with its settings."""

    name: str
    peer: Peer
    kind: str
    """Worker class; of a peer its name."""
    workers: int
    threads: int = 1
    connections: int = CONNECTIONS

    @property
    def ours(self) -> bool:
        return self.peer.package == "canter"

    def flags(self) -> str:
        """All settings as one types them, without the address and the application."""
        words = self.peer.words(
            bin="",
            python="python",
            port=0,
            app="",
            module="",
            name="",
            threads=self.threads,
            workers=self.workers,
            connections=self.connections,
            keep=KEEP_ALIVE,
        )
        return shlex.join(words[1:-3])


def classes(interface: str, cores: int, names: Iterable[str] = ()) -> list[Contender]:
    """The worker classes that can run an application of this interface (or those named)."""
    known = CLASSES[interface]
    wanted = list(names) or list(known)
    for name in wanted:
        if name not in known:
            raise PlanError(f"worker class {name!r} is none of {', '.join(known)}")
    return [_of_class(name, interface, cores) for name in wanted]


def twins(cores: int, names: Iterable[str] = ()) -> list[Contender]:
    """For the built-in applications, which exist for each interface: asyncio runs its own kind."""
    found = classes("wsgi", cores, names)
    return [_of_class("asyncio", "asgi", cores) if each.kind == "asyncio" else each for each in found]


def _of_class(name: str, interface: str, cores: int) -> Contender:
    keys = {"asgi": "canter-asyncio", "async_wsgi": "canter-async-wsgi", "wsgi": "canter-asyncio-wsgi"}
    key = keys[interface] if name == "asyncio" else f"canter-{name}"
    peer = replace(PEERS[key], interface=interface, needs=())  # the server itself says best what it lacks
    return _contender(name, peer, 2 * cores + 1 if name == "sync" else cores)


def _contender(name: str, peer: Peer, workers: int) -> Contender:
    """With what it takes: one process, one thread, where its command asks for no other number."""
    return Contender(
        name,
        peer,
        name,
        workers if "{workers}" in peer.command else 1,
        THREADS if "{threads}" in peer.command else 1,
    )


_VARIANT = re.compile(r"\s*([^:]+?)\s*:\s*(-.*)")
_FORBIDDEN = ("-b", "--bind")


def variant(text: str, interface: str, cores: int) -> Contender:
    """``name: -k gthread --threads 32``: Canter with these flags."""
    found = _VARIANT.fullmatch(text)
    if found is None:
        raise PlanError(f"variant {text!r} is not 'NAME: FLAGS'")
    name, flags = found.groups()
    try:
        words = shlex.split(flags)
    except ValueError as error:
        raise PlanError(f"variant {name!r}: {error}") from None
    if any(word.startswith(_FORBIDDEN) for word in words):
        raise PlanError(f"variant {name!r}: the address is chosen here; leave --bind out")
    kind = _value(words, ("-k", "--worker-class"), "gthread")
    workers = _number(words, ("-w", "--workers"), cores)
    threads = _number(words, ("--threads",), 1)
    if interface != "async_wsgi" and kind == "asyncio":
        interface = "asgi" if interface == "asgi" else "wsgi"
    escaped = " ".join(shlex.quote(word).replace("{", "{{").replace("}", "}}") for word in words)
    command = f"{{bin}}/canter {escaped} -b 127.0.0.1:{{port}} {{app}}"
    return Contender(name, Peer(name, interface, command, "canter"), kind, workers, threads)


def _value(words: list[str], flags: tuple[str, ...], default: str) -> str:
    """The value of a flag, written apart or joined."""
    for number, word in enumerate(words):
        for flag in flags:
            if word == flag and number + 1 < len(words):
                return words[number + 1]
            if word.startswith(f"{flag}=" if flag.startswith("--") else flag) and word != flag:
                return word[len(flag) :].removeprefix("=")
    return default


def _number(words: list[str], flags: tuple[str, ...], default: int) -> int:
    value = _value(words, flags, "")
    return int(value) if value.isdigit() else default


def peers(name: str, interfaces: Iterable[str], cores: int) -> list[Contender]:
    """A peer by its name, or all of a package (``gunicorn``), as far as they run these interfaces."""
    interfaces = tuple(interfaces)
    others = {key: peer for key, peer in PEERS.items() if peer.package != "canter"}
    named = [others[name]] if name in others else [each for each in others.values() if each.package == name]
    if not named:
        known = sorted({each.package for each in others.values()} | set(others))
        raise PlanError(f"peer {name!r} is not known; there are {', '.join(known)}")
    found = [each for each in named if each.interface in interfaces]
    if not found:
        raise PlanError(f"peer {name!r} does not run {' or '.join(interfaces)} applications")
    workers = {each.name: 2 * cores + 1 if not each.blocking else cores for each in found}
    return [_contender(each.name, each, workers[each.name]) for each in found]
