"""Each kind of value: what it takes from text and from Python, and how it refuses."""

from __future__ import annotations

import grp
import os
import pwd
import re

import pytest

from canter import kinds
from canter.kinds import Address, Kind, Shortened, WorkerCount, parse_address

GOOD: list[tuple[Kind[object], object, object]] = [
    (kinds.integer(), "10", 10),
    (kinds.integer(), " 0x10 ", 16),
    (kinds.integer(), 7, 7),
    (kinds.SECONDS, "1.5", 1.5),
    (kinds.SECONDS, "30", 30),
    (kinds.SECONDS, 2.0, 2),
    (kinds.OCTETS, "64k", 65536),
    (kinds.OCTETS, "10M", 10 << 20),
    (kinds.OCTETS, "1 GiB", 1 << 30),
    (kinds.OCTETS, 5, 5),
    (kinds.SWITCH, True, True),
    (kinds.SWITCH, "Yes", True),
    (kinds.SWITCH, "off", False),
    (kinds.TEXT, " a ", "a"),
    (kinds.choice("auto", "on"), "AUTO", "auto"),
    (kinds.UMASK, "022", 0o22),
    (kinds.UMASK, "0o27", 0o27),
    (kinds.UMASK, "18", 18),
    (kinds.UMASK, 0o77, 0o77),
    (kinds.USER, pwd.getpwuid(os.geteuid()).pw_name, os.geteuid()),
    (kinds.USER, "12", 12),
    (kinds.GROUP, grp.getgrgid(0).gr_name, 0),
    (kinds.WORKERS, "4", 4),
    (kinds.WORKERS, "2-8", WorkerCount(2, 8)),
    (kinds.WORKERS, 3, 3),
    (kinds.ADDRESSES, "127.0.0.1:1", ["127.0.0.1:1"]),
    (kinds.ADDRESSES, ("127.0.0.1:1", "unix:/a"), ["127.0.0.1:1", "unix:/a"]),
    (kinds.VARIABLES, ["A=1=2"], ["A=1=2"]),
    (kinds.PATH_LIMITS, ["/a/*=1.5"], [("/a/*", 1.5)]),
    (kinds.PATH_LIMITS, [("/a", 3)], [("/a", 3)]),
    (kinds.NETWORKS, "10.0.0.0/8, ::1,*", ["10.0.0.0/8", "::1", "*"]),
    (kinds.NETWORKS, [], []),
    (kinds.NAMES, "script_name,Remote_User", ["SCRIPT_NAME", "REMOTE_USER"]),
    (kinds.HEADERS, {"x-proto": "https"}, {"X-PROTO": "https"}),
    (kinds.optional(kinds.SECONDS), None, None),
    (kinds.optional(kinds.SECONDS), "5", 5),
]

BAD: list[tuple[Kind[object], object, str]] = [
    (kinds.integer(), "ten", "a whole number, 0 or more, got 'ten'"),
    (kinds.integer(), True, "a whole number"),
    (kinds.integer(1), 0, "a whole number, 1 or more, got 0"),
    (kinds.integer(), 1.5, "a whole number"),
    (kinds.SECONDS, "-1", "seconds, 0 or more"),
    (kinds.SECONDS, "nan", "seconds, 0 or more"),
    (kinds.SECONDS, "inf", "seconds, 0 or more"),
    (kinds.SECONDS, None, "seconds, 0 or more"),
    (kinds.OCTETS, "10X", "a number of octets"),
    (kinds.OCTETS, -1, "a number of octets"),
    (kinds.SWITCH, "maybe", "true or false"),
    (kinds.SWITCH, 1, "true or false"),
    (kinds.TEXT, 5, "text, got 5"),
    (kinds.choice("auto", "on"), "off", "one of auto, on, got 'off'"),
    (kinds.UMASK, "0999", "a file mode mask"),
    (kinds.UMASK, 0o1000, "a file mode mask"),
    (kinds.USER, "no-such-user-here", "no such user: 'no-such-user-here'"),
    (kinds.GROUP, "no-such-group-here", "no such group: 'no-such-group-here'"),
    (kinds.WORKERS, "8-2", "a number, auto, or a range such as 2-8, got '8-2'"),
    (kinds.WORKERS, "0-2", "a number, auto, or a range"),
    (kinds.WORKERS, -1, "a number, auto, or a range"),
    (kinds.WORKERS, "many", "a number, auto, or a range"),
    (kinds.WORKER_CLASS, "", "the name of a worker class"),
    (kinds.ADDRESSES, {}, "a list"),
    (kinds.VARIABLES, ["A"], "NAME=VALUE"),
    (kinds.VARIABLES, ["=1"], "NAME=VALUE"),
    (kinds.PATH_LIMITS, ["/a"], "/PATTERN=SECONDS"),
    (kinds.PATH_LIMITS, ["a=3"], "/PATTERN=SECONDS"),
    (kinds.PATH_LIMITS, ["/a=x"], "seconds"),
    (kinds.NETWORKS, "10.0.0.1/8", "an IP address, a network or *: 10.0.0.1/8 has host bits set"),
    (kinds.NETWORKS, "localhost", "an IP address, a network or *"),
    (kinds.HEADERS, "x", "a table of header names and values"),
]


@pytest.mark.parametrize(("kind", "given", "value"), GOOD)
def test_taken(kind: Kind[object], given: object, value: object) -> None:
    parsed = kind.parse(given)
    assert parsed == value
    assert kind.parse(parsed) == parsed, "a kind must give back its own results"


@pytest.mark.parametrize(("kind", "given", "line"), BAD)
def test_refused(kind: Kind[object], given: object, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        kind.parse(given)
    assert "\n" not in str(caught.value)


def test_auto_is_twice_the_cores_and_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "cores", lambda: 3)
    assert kinds.WORKERS.parse("auto") == 7


ADDRESSES = {
    "127.0.0.1:80": Address("127.0.0.1", 80),
    "LocalHost": Address("localhost", 8000),
    ":80": Address("0.0.0.0", 80),
    "": Address("0.0.0.0", 8000),
    "[::1]:80": Address("::1", 80),
    "[::]": Address("::", 8000),
    "[fe80::1%eth0]:0": Address("fe80::1%eth0", 0),
    "tcp://0.0.0.0:9": Address("0.0.0.0", 9),
    "unix:/run/a.sock": Address(path="/run/a.sock"),
    "unix:///run/a.sock": Address(path="/run/a.sock"),
    "unix:a.sock": Address(path="a.sock"),
    "fd://3": Address(fd=3),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    assert parse_address(text) == ADDRESSES[text]


@pytest.mark.parametrize(
    "text", ["::1:80", "a:b", "a:70000", "[::1", "unix:", "fd://x", "a b:1", "http://a:1", "a:1,b:2"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_address(text)


def test_words_of_a_variable() -> None:
    assert kinds.split_words("a 'b c'") == ["a", "b c"]
    with pytest.raises(ValueError, match="cannot be split into words"):
        kinds.split_words("a 'b")


# -- hooks --


def two(first: object, second: object) -> tuple[object, ...]:
    return first, second


def test_a_hook_has_the_right_number_of_parameters() -> None:
    kind = kinds.hook("server", "worker")
    assert kind.parse(two) is two
    assert kind.parse(None) is None
    with pytest.raises(
        ValueError, match=r"expected a function of \(server, worker\), got one of 1 parameters"
    ):
        kind.parse(lambda server: None)
    with pytest.raises(ValueError, match="expected a function, got 5"):
        kind.parse(5)


def test_a_hook_by_its_dotted_name() -> None:
    assert kinds.hook("path").parse("os.path.basename") is os.path.basename
    with pytest.raises(ValueError, match=r"cannot import 'os\.path\.nothing'"):
        kinds.hook("path").parse("os.path.nothing")
    with pytest.raises(ValueError, match=r"a function or package\.module\.function, got 'basename'"):
        kinds.hook("path").parse("basename")


def test_a_hook_that_leaves_the_last_parameters_out() -> None:
    kind = kinds.hook("worker", "req", "environ", "resp", fewest=2)
    short = kind.parse(two)
    assert isinstance(short, Shortened)
    assert short(1, 2, 3, 4) == (1, 2)
    assert kind.parse(short) is short
    assert short == kind.parse(two), "a reload must not see a change where there is none"
