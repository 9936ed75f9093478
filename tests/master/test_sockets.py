"""Listening: every form of bind, what is inherited, and one clear line for each failure."""

from __future__ import annotations

import os
import re
import select
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from canter.master import sockets
from canter.master.sockets import (
    Listener,
    ListenError,
    Policy,
    adjust,
    for_seat,
    grow,
    held_back,
    open_all,
    stop_deferring,
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "RETRY_FOR", 0.0)


@pytest.fixture
def opened() -> Iterator[list[Listener]]:
    """Listeners to close at the end."""
    kept: list[Listener] = []
    yield kept
    for listener in kept:
        listener.close()


def is_listening(address: object, family: int = socket.AF_INET) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        return client.connect_ex(address) == 0  # type: ignore[arg-type]


def test_port_zero_shows_the_real_port(opened: list[Listener]) -> None:
    opened += open_all(["127.0.0.1:0"], Policy(), 2)
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", opened[0].url)
    assert is_listening(opened[0].sockets[0].getsockname())
    assert len(opened[0].sockets) == 1
    assert for_seat(opened, 5, 6) == opened[0].sockets


def test_an_empty_host_means_everywhere(opened: list[Listener]) -> None:
    opened += open_all([":0"], Policy(), 1)
    assert opened[0].url.startswith("http://0.0.0.0:")


def test_ipv6(opened: list[Listener]) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    opened += open_all(["[::1]:0"], Policy(), 1)
    assert opened[0].url.startswith("http://[::1]:")


def test_accepted_connections_do_not_wait_for_more(opened: list[Listener]) -> None:
    opened += open_all(["127.0.0.1:0"], Policy(), 1)
    assert opened[0].sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not opened[0].sockets[0].getblocking()
    assert not opened[0].sockets[0].get_inheritable()


def test_a_unix_socket_has_the_mode_of_the_umask_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    (listener,) = open_all([f"unix:{path}"], Policy(umask=0o027, uid=os.getuid(), gid=os.getgid()), 1)
    assert listener.url == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert is_listening(str(path), socket.AF_UNIX)
    listener.close()
    assert not path.exists()


def test_a_unix_socket_may_stay(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    (listener,) = open_all([f"unix:{path}"], Policy(), 1)
    listener.close(unlink=False)
    assert path.exists()


def test_a_stale_unix_socket_is_replaced(tmp_path: Path, opened: list[Listener]) -> None:
    path = tmp_path / "socket"
    open_all([f"unix:{path}"], Policy(), 1)[0].close(unlink=False)
    opened += open_all([f"unix:{path}"], Policy(), 1)
    assert is_listening(str(path), socket.AF_UNIX)


def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path, opened: list[Listener]) -> None:
    path = tmp_path / "socket"
    opened += open_all([f"unix:{path}"], Policy(), 1)
    with pytest.raises(ListenError, match="already in use"):
        open_all([f"unix:{path}"], Policy(), 1)
    assert is_listening(str(path), socket.AF_UNIX)


def test_a_file_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="no socket"):
        open_all([f"unix:{path}"], Policy(), 1)
    assert path.read_text() == "data"


def test_a_unix_socket_of_a_later_server_is_not_removed(tmp_path: Path, opened: list[Listener]) -> None:
    path = tmp_path / "socket"
    (old,) = open_all([f"unix:{path}"], Policy(), 1)
    path.unlink()
    opened += open_all([f"unix:{path}"], Policy(), 1)
    old.close()
    assert path.exists()


def test_a_port_in_use(opened: list[Listener]) -> None:
    opened += open_all(["127.0.0.1:0"], Policy(), 1)
    port = opened[0].sockets[0].getsockname()[1]
    with pytest.raises(ListenError, match=rf"^cannot listen at 127\.0\.0\.1:{port}: already in use"):
        open_all([f"127.0.0.1:{port}"], Policy(), 1)


def test_a_port_that_is_freed_is_taken(monkeypatch: pytest.MonkeyPatch, opened: list[Listener]) -> None:
    (old,) = open_all(["127.0.0.1:0"], Policy(), 1)
    port = old.sockets[0].getsockname()[1]
    monkeypatch.setattr(sockets, "RETRY_FOR", 30.0)
    monkeypatch.setattr(sockets.time, "sleep", lambda _: old.close())
    opened += open_all([f"127.0.0.1:{port}"], Policy(), 1)
    assert opened[0].url.endswith(f":{port}")


@pytest.mark.parametrize(
    ("bind", "line"),
    [
        ("256.1.1.1.nowhere.invalid:80", "no such host"),
        ("192.0.2.1:0", "Cannot assign requested address"),
        ("fd://987", "descriptor 987 cannot be listened on: Bad file descriptor"),
        ("unix:/nonexistent/folder/socket", "No such file or directory"),
        ("unix:/" + "x" * 200, "AF_UNIX path too long"),
    ],
)
def test_other_failures(bind: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_names(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if "invalid" in bind:
        monkeypatch.setattr(sockets.socket, "getaddrinfo", no_names)
    with pytest.raises(ListenError) as caught:
        open_all([bind], Policy(), 1)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_when_one_fails_the_others_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with pytest.raises(ListenError):
        open_all([f"unix:{path}", "192.0.2.1:0"], Policy(), 1)
    assert not path.exists()


def test_a_given_descriptor(opened: list[Listener]) -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        fd = os.dup(given.fileno())
    opened += open_all([f"fd://{fd}"], Policy(), 1)
    assert is_listening(opened[0].sockets[0].getsockname())


def test_a_descriptor_of_another_kind(opened: list[Listener]) -> None:
    fd = os.dup(socket.socket(type=socket.SOCK_DGRAM).detach())
    with pytest.raises(ListenError, match="no stream socket"):
        open_all([f"fd://{fd}"], Policy(), 1)


def test_activated_sockets_replace_bind(opened: list[Listener]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        fd = os.dup(given.fileno())
    opened += open_all(["127.0.0.1:0"], Policy(), 1, activated=[fd])
    assert [listener.bind for listener in opened] == [f"fd://{fd}"]
    assert is_listening(opened[0].sockets[0].getsockname())


def test_inherited_sockets_are_matched_by_bind_and_others_closed(opened: list[Listener]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as kept, socket.create_server(("127.0.0.1", 0)) as gone:
        inherited = {"127.0.0.1:0": [os.dup(kept.fileno())], "127.0.0.1:1": [os.dup(gone.fileno())]}
        url = f"http://127.0.0.1:{kept.getsockname()[1]}"
    opened += open_all(["127.0.0.1:0", "[::ffff:127.0.0.1]:0"], Policy(), 1, inherited)
    assert opened[0].url == url
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(inherited["127.0.0.1:1"][0])


def test_reuse_port_gives_each_seat_a_socket(opened: list[Listener], tmp_path: Path) -> None:
    policy = Policy(reuse_port=True)
    opened += open_all(["127.0.0.1:0", f"unix:{tmp_path}/socket"], policy, 3)
    tcp, unix = opened
    assert len({each.getsockname() for each in tcp.sockets}) == 1
    assert (len(tcp.sockets), len(unix.sockets)) == (3, 1)
    assert for_seat(opened, 2, 3) == [tcp.sockets[2], unix.sockets[0]]
    assert for_seat(opened, 0, 2) == [tcp.sockets[0], tcp.sockets[2], unix.sockets[0]]
    grow(opened, policy, 5)
    assert len(tcp.sockets) == 5
    grow(opened, policy, 1)
    assert len(tcp.sockets) == 5


@pytest.mark.skipif(not hasattr(socket, "TCP_DEFER_ACCEPT"), reason="this system cannot defer")
def test_a_connection_is_held_back_until_it_says_something(opened: list[Listener], tmp_path: Path) -> None:
    """On ports of our own, unless it is not wanted; a change is applied to sockets that are open."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        fd = os.dup(given.fileno())
    opened += open_all(["127.0.0.1:0", f"unix:{tmp_path}/socket", f"fd://{fd}"], Policy(), 1)
    ours, _, theirs = (listener.sockets[0] for listener in opened)
    assert is_deferring(ours)
    assert not is_deferring(theirs)
    with socket.create_connection(ours.getsockname()) as client:
        client.sendall(b"G")
        assert select.select([ours], [], [], 30)[0]
        ours.accept()[0].close()
    adjust(opened, Policy(defer_accept=False))
    assert not is_deferring(ours)
    with socket.create_connection(ours.getsockname()):
        assert select.select([ours], [], [], 30)[0]


@pytest.mark.skipif(not hasattr(socket, "TCP_DEFER_ACCEPT"), reason="this system cannot defer")
def test_what_is_held_back_when_that_ends(opened: list[Listener], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        given.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        fd = os.dup(given.fileno())
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + str(tmp_path))
    binds = ["127.0.0.1:0", f"unix:{tmp_path}/socket", f"fd://{fd}", f"fd://{abstract.detach()}"]
    opened += open_all(binds, Policy(), 1)
    ours, theirs = opened[0].sockets[0], opened[2].sockets[0]
    with socket.create_connection(ours.getsockname()):
        assert stop_deferring(opened) == opened[:1]
        assert is_deferring(theirs)
        assert select.select([ours], [], [], 30)[0]  # as soon as the kernel asks the client again
        assert held_back(opened[:1]) == 0
    assert stop_deferring(opened) == []


def is_deferring(listening: socket.socket) -> bool:
    return listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0
