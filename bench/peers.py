"""Every server that can be held against another: one declaration each.

A command is a list of words; ``{bin}`` (the folder of the interpreter's programs),
``{python}``, ``{port}``, ``{app}`` (``module:name``), ``{module}``, ``{name}``,
``{threads}``, ``{workers}``, ``{connections}`` (the most a worker may hold) and ``{keep}``
(seconds a connection may be idle) are filled in. Servers are run as their own documentation recommends for speed (uvloop
where they can use it, no access log), with one worker unless told otherwise.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INTERFACES = ("wsgi", "asgi", "async_wsgi", "raw")


@dataclass(frozen=True)
class Peer:
    """A server with one way to run it."""

    name: str
    interface: str
    command: tuple[str, ...]
    package: str
    """Distribution that must be installed."""
    access_log: tuple[str, ...] = ()
    """Words that switch an access log to ``{log}`` on."""
    needs: tuple[str, ...] = ()
    """More distributions that must be installed."""
    blocking: bool = True
    """Whether it can wait in several blocking calls at once."""
    threads: int = 1
    """Its own number of threads, where nothing asks for another."""

    def words(self, **values: object) -> list[str]:
        """The command with its values filled in."""
        return [word.format(**values) for word in self.command]


def _canter(worker: str, interface: str = "wsgi", *needs: str, name: str = "") -> Peer:
    command = ["{bin}/canter", "-k", worker, "-w", "{workers}", "--keep-alive", "{keep}"]
    if worker != "sync" and worker != "gevent":
        command += ["--threads", "{threads}"]
    if worker in ("gthread", "gevent", "asyncio", "eventlet", "tornado"):
        command += ["--worker-connections", "{connections}"]
    command += ["-b", "127.0.0.1:{port}", "{app}"]
    return Peer(
        name=name or f"canter-{worker}",
        interface=interface,
        command=tuple(command),
        package="canter",
        access_log=("--access-logfile", "{log}"),
        needs=needs,
        blocking=worker != "sync",
        threads=4 if worker == "gthread" else 1,
    )


def _gunicorn(worker: str, interface: str = "wsgi", *extra: str, needs: tuple[str, ...] = ()) -> Peer:
    command = ("{bin}/gunicorn", "-k", worker, "-w", "{workers}", "--keep-alive", "{keep}", *extra)
    return Peer(
        name=f"gunicorn-{worker}",
        interface=interface,
        command=(*command, "--worker-connections", "{connections}", "-b", "127.0.0.1:{port}", "{app}"),
        package="gunicorn",
        access_log=("--access-logfile", "{log}"),
        needs=needs,
        blocking=worker != "sync",
        threads=4 if worker == "gthread" else 1,
    )


def _script(name: str, interface: str, prepare: str, serve: str) -> Peer:
    """A server that has no command of its own."""
    code = f"{prepare}\nimport {{module}}\n{serve}({{module}}.{{name}}, '127.0.0.1', {{port}})"
    return Peer(
        name=name,
        interface=interface,
        command=("{python}", "-c", code),
        package=name.partition("-")[0],
        blocking=interface != "wsgi",
    )


_GRANIAN = (
    "{bin}/granian", "--host", "127.0.0.1", "--port", "{port}", "--workers", "{workers}",
    "--http", "1", "--no-access-log",
)  # fmt: skip
_UVICORN = (
    "{bin}/uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--workers", "{workers}", "--loop", "uvloop",
    "--http", "httptools", "--log-level", "warning", "--timeout-keep-alive", "{keep}", "--ws", "websockets",
)  # fmt: skip

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        _canter("sync"),
        _canter("gthread"),
        _canter("gevent", "wsgi", "gevent"),
        _canter("eventlet", "wsgi", "eventlet"),
        _canter("tornado", "wsgi", "tornado"),
        _canter("asyncio", name="canter-asyncio-wsgi"),
        _canter("asyncio", "asgi", "uvloop", name="canter-asyncio"),
        _canter("asyncio", "async_wsgi", "uvloop", name="canter-async-wsgi"),
        _gunicorn("sync"),
        _gunicorn("gthread", "wsgi", "--threads", "{threads}"),
        _gunicorn("gevent", needs=("gevent",)),
        _gunicorn("asgi", "asgi", "--asgi-loop", "uvloop", needs=("uvloop",)),
        _script("freastal", "wsgi", "import freastal", "freastal.serve"),
        _script("freastal-asgi", "asgi", "import freastal", "freastal.serve_asgi"),
        Peer(
            "fastpysgi",
            "wsgi",
            ("{bin}/fastpysgi", "--host", "127.0.0.1", "-p", "{port}", "{app}"),
            "fastpysgi",
            blocking=False,
        ),
        Peer(
            "fastpysgi-asgi",
            "asgi",
            ("{bin}/fastpysgi", "--host", "127.0.0.1", "-p", "{port}", "{app}"),
            "fastpysgi",
        ),
        Peer(
            "peregrine",
            "wsgi",
            (
                "{bin}/peregrine", "--port", "{port}", "--workers", "{workers}", "--wsgi-threads", "{threads}",
                "--max-connections", "{connections}", "--protocol", "wsgi", "{app}",
            ),
            "peregrine-server",
        ),
        Peer(
            "peregrine-asgi",
            "asgi",
            (
                "{bin}/peregrine", "--port", "{port}", "--workers", "{workers}",
                "--max-connections", "{connections}", "--protocol", "asgi", "{app}",
            ),
            "peregrine-server",
        ),
        _script("bjoern", "wsgi", "import bjoern", "bjoern.run"),
        Peer(
            "granian",
            "wsgi",
            (*_GRANIAN, "--interface", "wsgi", "--blocking-threads", "{threads}", "{app}"),
            "granian",
        ),
        Peer(
            "granian-asgi",
            "asgi",
            (*_GRANIAN, "--interface", "asgi", "--loop", "uvloop", "{app}"),
            "granian",
            needs=("uvloop",),
        ),
        Peer("uvicorn", "asgi", (*_UVICORN, "--no-access-log", "{app}"), "uvicorn", needs=("uvloop", "httptools")),
        Peer(
            "hypercorn",
            "asgi",
            ("{bin}/hypercorn", "-b", "127.0.0.1:{port}", "-w", "{workers}", "-k", "uvloop", "{app}"),
            "hypercorn",
            needs=("uvloop",),
        ),
        Peer(
            "waitress",
            "wsgi",
            (
                "{bin}/waitress-serve", "--listen=127.0.0.1:{port}", "--threads={threads}",
                "--connection-limit={connections}", "{app}",
            ),
            "waitress",
        ),
        Peer(
            "cheroot",
            "wsgi",
            ("{bin}/cheroot", "--bind", "127.0.0.1:{port}", "--threads", "{threads}", "{app}"),
            "cheroot",
        ),
        Peer(
            "uwsgi",
            "wsgi",
            (
                "{bin}/uwsgi", "--http11-socket", "127.0.0.1:{port}",
                "--master", "--processes", "{workers}", "--threads", "{threads}", "--disable-logging",
                "--need-app", "--module", "{module}:{name}", "--die-on-term",
            ),
            "uwsgi",
        ),
    )
}  # fmt: skip


class Environment:
    """A Python environment with servers in it: its interpreter and what is installed there."""

    def __init__(self, python: str) -> None:
        self.python = python
        self.bin = str(Path(python).parent)
        self._versions = _installed(python)

    def missing(self, peer: Peer) -> list[str]:
        """Distributions that `peer` needs and that are not there."""
        return [name for name in (peer.package, *peer.needs) if _key(name) not in self._versions]

    def version(self, peer: Peer) -> str:
        return self._versions.get(_key(peer.package), "")


def _key(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _installed(python: str) -> dict[str, str]:
    """Distributions and their versions in another environment, without importing any of them."""
    if Path(python).absolute() == Path(sys.executable).absolute():
        found = importlib.metadata.distributions()
        return {_key(each.metadata["Name"]): each.version for each in found}
    code = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    pairs = (line.split(" ") for line in done.stdout.splitlines())
    return {_key(name): version for name, version in pairs}
