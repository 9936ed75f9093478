"""The sockets the server listens on: bound, inherited or given, and owned by the master.

One `Listener` for each ``bind``. It holds one socket that all workers accept from,
or, with ``reuse_port``, one socket for each seat: the master owns them all, so that a
worker's successor inherits the connections that wait in its queue.

Sockets come from, in this order:

* an upgrade (USR2): what the old master listens on, matched by the ``bind`` text;
* systemd's socket activation: its sockets take the place of ``bind``, as in Gunicorn;
* ``fd://N``: a descriptor that whoever started the server left open;
* a bind of our own. A port in use is tried again for `RETRY_FOR`: the server before
  may still be leaving.

Nothing here knows of processes or settings; every failure is one line (`ListenError`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from canter.errors import CanterError
from canter.kinds import Address, parse_address
from canter.master.children import shares

RETRY_FOR: Final = 1.5  # seconds
RETRY_EVERY: Final = 0.1


class ListenError(CanterError):
    """The server cannot listen where it should: one line, no traceback."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True)
class Policy:
    """How sockets are made: the settings that matter here."""

    backlog: int = 2048
    reuse_port: bool = False
    defer_accept: bool = True
    umask: int = 0
    uid: int = -1  # owner of Unix sockets; -1: leave
    gid: int = -1


@dataclass
class Listener:
    """What one ``bind`` stands for."""

    bind: str
    sockets: list[socket.socket]
    path: str = field(default="", init=False)  # of a Unix socket
    _inode: tuple[int, int] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        first = self.sockets[0]
        name = first.getsockname() if first.family == socket.AF_UNIX else ""
        self.path = name if isinstance(name, str) else ""
        self._inode = _inode(self.path)

    @property
    def is_tcp(self) -> bool:
        return self.sockets[0].family in (socket.AF_INET, socket.AF_INET6)

    @property
    def is_ours(self) -> bool:
        """We opened it, or a master before us did; not who started the server."""
        return not self.bind.startswith("fd://")

    @property
    def url(self) -> str:
        """Its address with the port it really got, as a client would write it."""
        first = self.sockets[0]
        if first.family == socket.AF_UNIX:
            return f"unix:{self.path}"
        host, port = first.getsockname()[:2]
        return f"http://[{host}]:{port}" if first.family == socket.AF_INET6 else f"http://{host}:{port}"

    def close(self, unlink: bool = True) -> None:
        """Stop listening. A Unix socket's file goes too, unless another server has put its own there."""
        for each in self.sockets:
            each.close()
        if unlink and self._inode and _inode(self.path) == self._inode:
            os.unlink(self.path)
        self._inode = None


def open_all(
    binds: Iterable[str],
    policy: Policy,
    seats: int,
    inherited: Mapping[str, Sequence[int]] | None = None,
    activated: Sequence[int] = (),
) -> list[Listener]:
    """All listeners of a server. On failure those that were opened are closed again."""
    left = dict(inherited or {})
    opened: list[Listener] = []
    try:
        if activated and not left:
            opened += [_adopt(f"fd://{fd}", [fd], policy) for fd in activated]
            return opened
        for bind in binds:
            fds = left.pop(bind, ())
            opened.append(_adopt(bind, fds, policy) if fds else _open(bind, policy))
        grow(opened, policy, seats)
        adjust(opened, policy)
    except BaseException:
        for listener in opened:
            listener.close(unlink=listener.bind not in (inherited or {}))
        raise
    finally:
        for fds in left.values():  # no longer in the settings
            for fd in fds:
                os.close(fd)
    return opened


def grow(listeners: Iterable[Listener], policy: Policy, seats: int) -> None:
    """With ``reuse_port`` give every seat a socket. Sockets are never taken away: they may hold clients."""
    for listener in listeners:
        if policy.reuse_port and listener.is_tcp:
            while len(listener.sockets) < seats:
                listener.sockets.append(_another(listener.sockets[0], policy))


def adjust(listeners: Iterable[Listener], policy: Policy) -> None:
    """Apply what may change while sockets are open. Those that somebody else opened stay as given."""
    for listener in listeners:
        if listener.is_ours:
            for each in listener.sockets:
                each.listen(policy.backlog)
            _defer(listener, policy.defer_accept)


def stop_deferring(listeners: Iterable[Listener]) -> list[Listener]:
    """Whoever connects from now on is in the accept queue at once. The listeners where that is new.

    They may still hold connections back, for a second at most: `held_back` tells.
    """
    return [listener for listener in listeners if listener.is_ours and _defer(listener, False)]


def held_back(listeners: Sequence[Listener]) -> int:
    """How many connections the kernel holds back, or waits for the client's last word of (SYN_RECV).

    Their clients may be connected, and about to send a request.
    """
    ends = {f":{each.getsockname()[1]:04X}" for one in listeners for each in one.sockets}
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6") if ends else ():
        with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:
            for line in lines:
                _, local, _, state, _ = line.split(None, 4)
                count += state == "03" and local[-5:] in ends
    return count


def _defer(listener: Listener, wanted: bool) -> bool:
    """Have the kernel hold a connection back until octets come or a second is over; whether it did before.

    As Apache does, on Linux: a worker need not look at a connection that has nothing to say yet.
    """
    option = getattr(socket, "TCP_DEFER_ACCEPT", None)
    if option is None or not listener.is_tcp:
        return False
    before = any(each.getsockopt(socket.IPPROTO_TCP, option) for each in listener.sockets)
    for each in listener.sockets:
        each.setsockopt(socket.IPPROTO_TCP, option, int(wanted))
    return before


def for_seat(listeners: Iterable[Listener], seat: int, seats: int) -> list[socket.socket]:
    """The sockets that the worker of this seat accepts from, of so many seats.

    All sockets have somebody: those of seats that are no more go to the seats that are.
    """
    found: list[socket.socket] = []
    for listener in listeners:
        count = len(listener.sockets)
        found += (
            [listener.sockets[at] for at in shares(seat, seats, count)] if count > 1 else listener.sockets
        )
    return found


# -- opening ---------------------------------------------------------------------------


def _open(bind: str, policy: Policy) -> Listener:
    address = parse_address(bind)
    if address.fd >= 0:
        return _adopt(bind, [address.fd], policy)
    deadline = time.monotonic() + RETRY_FOR
    while True:
        try:
            made = _bind_path(address.path, policy) if address.path else _bind_port(address, policy)
            return Listener(bind, [made])
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise ListenError(_explain(bind, error)) from None
        time.sleep(RETRY_EVERY)


def _bind_port(address: Address, policy: Policy) -> socket.socket:
    family, where = _look_up(address)
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        _tune(made, policy)
        made.bind(where)
        made.listen(policy.backlog)
    except BaseException:
        made.close()
        raise
    return made


def _bind_path(path: str, policy: Policy) -> socket.socket:
    path = os.path.abspath(path)
    _remove_stale(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    before = os.umask(policy.umask)
    try:
        made.bind(path)
        if (policy.uid, policy.gid) != (-1, -1):
            os.chown(path, policy.uid, policy.gid)
        made.listen(policy.backlog)
    except BaseException:
        made.close()
        raise
    finally:
        os.umask(before)
    return made


def _another(first: socket.socket, policy: Policy) -> socket.socket:
    """One more socket on the same port."""
    made = socket.socket(first.family, socket.SOCK_STREAM)
    try:
        _tune(made, policy)
        made.bind(first.getsockname())
        made.listen(policy.backlog)
    except OSError as error:
        made.close()
        raise ListenError(f"one more socket on {first.getsockname()}: {error.strerror}") from None
    return made


def _adopt(bind: str, fds: Sequence[int], policy: Policy) -> Listener:
    """Sockets that somebody else opened."""
    found: list[socket.socket] = []
    try:
        for fd in fds:
            os.set_inheritable(fd, False)
            found.append(socket.socket(fileno=fd))
            _adapt(found[-1], policy)
    except OSError as error:
        for each in found:
            each.close()
        reason = f"descriptor {fd} cannot be listened on: {error.strerror or error}"
        raise ListenError(f"{bind}: {reason}") from None
    return Listener(bind, found)


def _adapt(given: socket.socket, policy: Policy) -> None:
    if given.type != socket.SOCK_STREAM:
        raise OSError("it is no stream socket")
    given.setblocking(False)
    if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        given.listen(policy.backlog)


def _tune(made: socket.socket, policy: Policy) -> None:
    """Options that accepted connections inherit, and those of the port."""
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if policy.reuse_port:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _look_up(address: Address) -> tuple[socket.AddressFamily, Any]:
    """The first address of a name, IPv4 before IPv6: what a name like localhost means to most clients."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return found[0][0], found[0][4]


def _remove_stale(path: str) -> None:
    """Remove what a dead server left. EADDRINUSE where one still listens, EEXIST where it is no socket."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "there is something that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its queue is full: somebody does listen
    raise OSError(errno.EADDRINUSE, "another server listens there")


def _explain(bind: str, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"cannot listen at {bind}: no such host ({error.strerror})"
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen at {bind}: already in use, also after {RETRY_FOR} s"
    if error.errno == errno.EACCES:
        return f"cannot listen at {bind}: permission denied"
    return f"cannot listen at {bind}: {error.strerror or error}"


def _inode(path: str) -> tuple[int, int] | None:
    if not path:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
