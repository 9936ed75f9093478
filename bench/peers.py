"""Every server that can be held against another: one declaration each.

In a command ``{bin}`` (the folder of the interpreter's programs),
``{python}``, ``{port}``, ``{app}`` (``module:name``), ``{module}``, ``{name}``,
``{threads}``, ``{workers}``, ``{connections}`` (the most a worker may hold) and ``{keep}``
(seconds a connection may be idle) are filled in. Servers are run as their
own documentation recommends for speed: uvloop where they can use it, no access log.
"""

from __future__ import annotations

import importlib.metadata
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from canter.bench.plan import PlanError


@dataclass(frozen=True)
class Peer:
    """A server with one way to run it."""

    name: str
    interface: str
    command: str
    """As a shell would take it."""
    package: str
    """Distribution that must be installed."""
    needs: tuple[str, ...] = ()
    """More distributions that must be installed."""
    access_log: str = ""
    """Words that switch an access log to ``{log}`` on."""
    blocking: bool = True
    """Whether it can wait in several blocking calls at once."""
    threads: int = 1
    """Its own number of threads, where nothing asks for another."""

    def words(self, **values: object) -> list[str]:
        """The command with its values filled in, an access log where there is a value `log`."""
        words = shlex.split(self.command)
        if "log" in values:
            words[1:1] = shlex.split(self.access_log)
        return [word.format(**values) for word in words]


def _canter(worker: str, interface: str = "wsgi", *needs: str, name: str = "") -> Peer:
    threads = "" if worker in ("sync", "gevent", "eventlet") else "--threads {threads} "
    return Peer(
        name or f"canter-{worker}",
        interface,
        f"{{bin}}/canter -k {worker} -w {{workers}} --keep-alive {{keep}} {threads}"
        "--worker-connections {connections} -b 127.0.0.1:{port} {app}",
        "canter",
        needs,
        access_log="--access-logfile {log}",
        blocking=worker != "sync",
        threads=4 if worker == "gthread" else 1,
    )


def _gunicorn(worker: str, interface: str = "wsgi", extra: str = "", *needs: str) -> Peer:
    return Peer(
        f"gunicorn-{worker}",
        interface,
        f"{{bin}}/gunicorn -k {worker} -w {{workers}} --keep-alive {{keep}} {extra} "
        "--worker-connections {connections} -b 127.0.0.1:{port} {app}",
        "gunicorn",
        needs,
        access_log="--access-logfile {log}",
        blocking=worker != "sync",
        threads=4 if worker == "gthread" else 1,
    )


def _script(name: str, interface: str, package: str, serve: str) -> Peer:
    """A server that has no command of its own."""
    code = f"import {package}, {{module}}; {package}.{serve}({{module}}.{{name}}, '127.0.0.1', {{port}})"
    return Peer(name, interface, f'{{python}} -c "{code}"', package, blocking=interface != "wsgi")


_FASTPYSGI = "{bin}/fastpysgi --host 127.0.0.1 -p {port} {app}"
_PEREGRINE = "{bin}/peregrine --port {port} --workers {workers} --max-connections {connections} --protocol "
_GRANIAN = "{bin}/granian --port {port} --workers {workers} --http 1 --no-access-log --interface "
_ALL = (
    _canter("sync"),
    _canter("gthread"),
    _canter("gevent", "wsgi", "gevent"),
    _canter("eventlet", "wsgi", "eventlet"),
    _canter("tornado", "wsgi", "tornado"),
    _canter("asyncio", name="canter-asyncio-wsgi"),
    _canter("asyncio", "asgi", "uvloop", name="canter-asyncio"),
    _canter("asyncio", "async_wsgi", "uvloop", name="canter-async-wsgi"),
    _gunicorn("sync"),
    _gunicorn("gthread", "wsgi", "--threads {threads}"),
    _gunicorn("gevent", "wsgi", "", "gevent"),
    _gunicorn("asgi", "asgi", "--asgi-loop uvloop", "uvloop"),
    _script("freastal", "wsgi", "freastal", "serve"),
    _script("freastal-asgi", "asgi", "freastal", "serve_asgi"),
    _script("bjoern", "wsgi", "bjoern", "run"),
    Peer("fastpysgi", "wsgi", _FASTPYSGI, "fastpysgi", blocking=False),
    Peer("fastpysgi-asgi", "asgi", _FASTPYSGI, "fastpysgi"),
    Peer("peregrine", "wsgi", _PEREGRINE + "wsgi --wsgi-threads {threads} {app}", "peregrine-server"),
    Peer("peregrine-asgi", "asgi", _PEREGRINE + "asgi {app}", "peregrine-server"),
    Peer("granian", "wsgi", _GRANIAN + "wsgi --blocking-threads {threads} {app}", "granian"),
    Peer("granian-asgi", "asgi", _GRANIAN + "asgi --loop uvloop {app}", "granian", ("uvloop",)),
    Peer(
        "uvicorn",
        "asgi",
        "{bin}/uvicorn --host 127.0.0.1 --port {port} --workers {workers} --loop uvloop --http httptools "
        "--ws websockets --log-level warning --no-access-log --timeout-keep-alive {keep} {app}",
        "uvicorn",
        ("uvloop", "httptools"),
    ),
    Peer(
        "hypercorn",
        "asgi",
        "{bin}/hypercorn -b 127.0.0.1:{port} -w {workers} -k uvloop --keep-alive {keep} {app}",
        "hypercorn",
        ("uvloop",),
    ),
    Peer(
        "waitress",
        "wsgi",
        "{bin}/waitress-serve --listen=127.0.0.1:{port} --threads={threads} --connection-limit={connections} "
        "--asyncore-use-poll {app}",
        "waitress",
    ),
    Peer("cheroot", "wsgi", "{bin}/cheroot --bind 127.0.0.1:{port} --threads {threads} {app}", "cheroot"),
    Peer(
        "uwsgi",
        "wsgi",
        "{bin}/uwsgi --http11-socket 127.0.0.1:{port} --master --processes {workers} --threads {threads} "
        "--disable-logging --need-app --module {app} --die-on-term",
        "uwsgi",
    ),
)
PEERS: dict[str, Peer] = {peer.name: peer for peer in _ALL}


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
    """Distributions and their versions in another environment, without importing any of them.

    Raises PlanError where there is no such interpreter.
    """
    if Path(python).absolute() == Path(sys.executable).absolute():
        found = importlib.metadata.distributions()
        return {_key(each.metadata["Name"]): each.version for each in found}
    code = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version)"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    except OSError as error:
        raise PlanError(f"{python}: {error.strerror}") from None
    except subprocess.SubprocessError:
        raise PlanError(f"{python} is not a Python interpreter") from None
    pairs = (line.split(" ") for line in done.stdout.splitlines())
    return {_key(name): version for name, version in pairs}
