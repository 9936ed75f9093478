"""The access log: Gunicorn's atoms, lines nobody can forge, and files that fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from canter.errors import ConfigError
from canter.http._http1 import Connection, Limits, Request
from canter.observe.access import AccessLog
from tests.policy import get

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
SECOND = 1_000_000_000


def request_of(head: bytes = get()) -> Request:
    connection = Connection(Limits())
    connection.feed(head)
    request = connection.next_request()
    assert request is not None
    return request


class Log:
    """An access log in a file, and what it complained about."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complaints: list[str] = []

    def open(self, format_: str) -> AccessLog:
        return AccessLog(str(self.path), format_, self.complaints.append)

    def line(self, format_: str, request: Request | None = None, **given: Any) -> str:
        """The line, without its end, of one request."""
        access = self.open(format_)
        facts: dict[str, Any] = {"peer": "1.2.3.4", "status": 200, "body_octets": 5, "duration_ns": 0} | given
        access.record(request, **facts)
        access.close()
        lines = self.path.read_bytes().decode("ascii").splitlines()
        assert not self.complaints
        return lines[-1]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "access.log")


class TestAtoms:
    def test_combined(self, log: Log) -> None:
        request = request_of(get(b"User-Agent: curl/8", b"Referer: http://a/b", target=b"/c?d=e"))
        line = log.line(COMBINED, request)
        assert re.fullmatch(
            rf'1\.2\.3\.4 - - {TIME} "GET /c\?d=e HTTP/1\.1" 200 5 "http://a/b" "curl/8"', line
        )

    @pytest.mark.parametrize(("format_", "text"), [
        ("%(h)s", "1.2.3.4"),
        ("%(l)s", "-"),
        ("%(u)s", "-"),
        ("%(r)s", "POST /a%20b?c=d HTTP/1.1"),
        ("%(s)s", "404"),
        ("%(m)s", "POST"),
        ("%(U)s", "/a b"),
        ("%(q)s", "c=d"),
        ("%(H)s", "HTTP/1.1"),
        ("%(b)s %(B)s", "1234 1234"),
        ("%(f)s", "-"),
        ("%(a)s", "-"),
        ("%(T)s", "3"),
        ("%(M)s", "3007"),
        ("%(D)s", "3007008"),
        ("%(L)s", "3.007008"),
        ("%(p)s", f"<{os.getpid()}>"),
        ("%({x-a}i)s %({X-A}i)s %({y}i)s", "b b -"),
        ("%({set-cookie}o)s %({Content-Type}o)s %({y}o)s", "second text/plain -"),
        ("%({REMOTE_USER}e)s %({wsgi.url_scheme}e)s %({remote_user}e)s %({y}e)s", "joe http joe -"),
        ("%(z)s %({x-a}z)s %()s", "- - -"),
        ("100%% %%(h)s", "100% %(h)s"),
        ("%(s)d %(B)i", "404 1234"),
        ("%(D)012d|%(m)-6s|%(m)6s|%(m).2s|%(s)x|%(T).2f", "000003007008|POST  |  POST|PO|194|3.00"),
        ("%(f)5d", "-"),
        ("plain \u20ac", "plain \u20ac"),
    ])  # fmt: skip
    def test_each(self, tmp_path: Path, format_: str, text: str) -> None:
        path = tmp_path / "access.log"
        access = AccessLog(str(path), format_, pytest.fail)
        request = request_of(get(b"X-A: b", method=b"POST", target=b"/a%20b?c=d"))
        headers = [("Set-Cookie", "first"), ("Content-Type", "text/plain"), ("Set-Cookie", "second")]
        environ = {"REMOTE_USER": "joe", "wsgi.url_scheme": "http"}
        access.record(request, "1.2.3.4", 404, 1234, 3_007_008_009, environ, headers)
        access.close()
        assert path.read_text(encoding="utf-8") == text + "\n"

    @pytest.mark.parametrize(("credentials", "user"), [
        (b"Basic am9lOnNlY3JldA==", "joe"),
        (b"BASIC am9lOnNlY3JldA==", "joe"),
        (b"Basic Og==", "-"),
        (b"Basic am9l", "joe"),
        (b"Basic !!!", "-"),
        (b"Basic /////w==", "-"),
        (b"Basic", "-"),
        (b"Bearer am9lOnNlY3JldA==", "-"),
        (b"Basic YSJiOmM=", 'a\\"b'),
        (b"Basic YQpiOmM=", "a\\x0ab"),
    ])  # fmt: skip
    def test_user(self, log: Log, credentials: bytes, user: str) -> None:
        assert log.line("%(u)s", request_of(get(b"Authorization: " + credentials))) == user

    def test_a_refused_head(self, log: Log) -> None:
        line = log.line(
            COMBINED + " %(m)s %(U)s %(q)s %(H)s %({x}i)s", peer="1.2.3.4", status=400, body_octets=-1
        )
        assert re.fullmatch(rf'1\.2\.3\.4 - - {TIME} "-" 400 - "-" "-" - - - - -', line)

    def test_unknown_facts(self, log: Log) -> None:
        line = log.line("%(h)s %(D)s %({a}e)s %({a}o)s", request_of(), peer=None, duration_ns=-1)
        assert line == "- - - -"
        assert log.line("%(h)s", request_of(), peer="") == "-"

    def test_what_it_needs(self, log: Log) -> None:
        for format_, environ, headers in (
            (COMBINED, False, False),
            ("%({a}e)s", True, False),
            ("%({a}o)s", False, True),
        ):
            access = log.open(format_)
            assert (access.needs_environ, access.needs_headers) == (environ, headers)
            access.close()

    def test_response_fields_of_bytes(self, log: Log) -> None:
        assert log.line("%({x}o)s", response_headers=[(b"X", b"y")]) == "y"

    def test_empty_fields_are_empty(self, log: Log) -> None:
        assert log.line("[%(f)s][%({x}i)s][%(q)s]", request_of(get(b"Referer:", b"X:"))) == "[][][]"

    @pytest.mark.parametrize("format_", ["%(h", "%h", "100%", "%(h)", "%(h)y"])
    def test_formats_that_are_refused(self, log: Log, format_: str) -> None:
        with pytest.raises(ConfigError, match="access_log_format"):
            log.open(format_)

    def test_the_stamp_is_the_local_time(self, tmp_path: Path) -> None:
        program = (
            "import sys, time; from canter.observe.access import AccessLog\n"
            "before = time.time(); log = AccessLog(sys.argv[1], '%(t)s', print)\n"
            "log.record(None, None, 0, 0, 0); log.close(); after = time.time()\n"
            "print([time.strftime('[%d/%b/%Y:%H:%M:%S %z]', time.localtime(t)) for t in (before, after)])\n"
        )
        for zone in ("UTC", "<+0530>-5:30", "<-0930>9:30"):
            path = tmp_path / "stamp"
            path.unlink(missing_ok=True)
            environ = os.environ | {"TZ": zone, "LC_ALL": "C"}
            done = subprocess.run(
                [sys.executable, "-c", program, path], env=environ, capture_output=True, text=True
            )
            assert done.stderr == ""
            assert path.read_text().strip() in done.stdout


class TestForgery:
    @pytest.mark.parametrize(("octets", "written"), [
        (b'a" 200 "', 'a\\" 200 \\"'),
        (b"a\\", "a\\\\"),
        (b'\\"', '\\\\\\"'),
        (b"a\tb", "a\\x09b"),
        (b"\xc3\xa4\xff", "\\xc3\\xa4\\xff"),
        (b"\xc2\x85", "\\xc2\\x85"),
    ])  # fmt: skip
    def test_fields(self, log: Log, octets: bytes, written: str) -> None:
        assert log.line('"%(a)s"', request_of(get(b"User-Agent: " + octets))) == f'"{written}"'

    def test_targets(self, log: Log) -> None:
        request = request_of(get(target=b'/%0d%0aforged%7f%c3"\\'))
        assert log.line("%(U)s", request) == '/\\x0d\\x0aforged\\x7f\\xc3\\"\\\\'
        assert log.line("%(r)s", request) == 'GET /%0d%0aforged%7f%c3\\"\\\\ HTTP/1.1'

    def test_values_of_the_application(self, log: Log) -> None:
        assert log.line("%({a}e)s", environ={"a": "x\ny\u20ac"}) == "x\\x0ay\\\\u20ac"
        assert log.line("%({a}o)s", response_headers=[("A", "x\ny")]) == "x\\x0ay"
        assert log.line("%(a)-8sx", request_of(get(b'User-Agent: "'))) == '\\"       x'

    def test_a_value_whose_str_raises_costs_the_line(self, log: Log) -> None:
        class Rude:
            def __str__(self) -> str:
                raise ZeroDivisionError

        access = log.open("%({a}e)s")
        access.record(None, None, 200, 0, 0, {"a": Rude()})
        assert access.lost == 1
        access.record(None, None, 200, 0, 0, {"a": "b"})
        access.close()
        assert log.path.read_text() == "b\n"
        assert log.complaints == [
            "access log: lines are lost: ZeroDivisionError()",
            "access log: works again, lines lost: 1",
        ]

    def test_a_long_line(self, log: Log) -> None:
        request = request_of(get(b"User-Agent: " + b"\xff" * 8000))
        assert log.line("%(a)s" * 10, request) == "\\xff" * 80_000


class TestFile:
    def test_lines_wait_for_flush(self, log: Log) -> None:
        access = log.open("%(s)s")
        for status in (200, 404):
            access.record(None, None, status, 0, 0)
        assert (log.path.read_text(), access.buffered_size) == ("", 8)
        access.flush()
        assert (log.path.read_text(), access.buffered_size) == ("200\n404\n", 0)
        access.flush()
        access.close()

    def test_a_full_buffer_does_not(self, log: Log) -> None:
        access = log.open("%(s)s")
        for _ in range(70_000 // 4):
            access.record(None, None, 200, 0, 0)
        assert access.buffered_size < 70_000
        access.close()
        assert log.path.read_text() == "200\n" * (70_000 // 4)

    def test_appends(self, log: Log) -> None:
        log.path.write_text("before\n")
        assert log.line("%(s)s") == "200"
        assert log.path.read_text() == "before\n200\n"

    def test_a_path_that_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot write"):
            AccessLog(str(tmp_path / "missing" / "access.log"), "%(s)s", print)

    def test_reopen(self, log: Log) -> None:
        access = log.open("%(s)s")
        access.record(None, None, 200, 0, 0)
        log.path.rename(log.path.with_suffix(".1"))
        access.reopen()
        access.record(None, None, 404, 0, 0)
        access.close()
        assert log.path.with_suffix(".1").read_text() == "200\n"
        assert log.path.read_text() == "404\n"

    def test_reopen_that_fails_goes_on_in_the_old_file(self, tmp_path: Path) -> None:
        folder = tmp_path / "logs"
        folder.mkdir()
        log = Log(folder / "access.log")
        access = log.open("%(s)s")
        folder.rename(tmp_path / "moved")
        access.reopen()
        access.record(None, None, 200, 0, 0)
        access.close()
        assert (tmp_path / "moved" / "access.log").read_text() == "200\n"
        assert len(log.complaints) == 1

    def test_chown(self, log: Log) -> None:
        access = log.open("%(s)s")
        access.chown(os.getuid(), os.getgid())
        assert not log.complaints
        access.close()


@pytest.fixture
def stdout() -> Iterator[Callable[[int], None]]:
    """Put another descriptor in the place of standard output; it comes back afterwards."""
    saved = os.dup(1)

    def replace(fd: int) -> None:
        os.dup2(fd, 1)
        os.close(fd)

    yield replace
    os.dup2(saved, 1)
    os.close(saved)


class TestFailures:
    """A log that can't be written loses lines: it neither raises nor waits, and says so once."""

    def test_a_closed_descriptor(self, stdout: Callable[[int], None]) -> None:
        complaints: list[str] = []
        read, write = os.pipe()
        os.close(read)
        stdout(write)
        access = AccessLog("-", "%(s)s", complaints.append)
        for _ in range(3):
            access.record(None, None, 200, 0, 0)
            access.flush()
        assert complaints == ["access log: lines are lost: Broken pipe"]
        assert (access.lost, access.buffered_size) == (3, 0)
        read, write = os.pipe()
        stdout(write)
        access.record(None, None, 404, 0, 0)
        access.flush()
        assert os.read(read, 100) == b"404\n"
        assert complaints[1:] == ["access log: works again, lines lost: 3"]
        assert access.lost == 0
        os.close(read)

    def test_a_full_disk(self, stdout: Callable[[int], None]) -> None:
        complaints: list[str] = []
        stdout(os.open("/dev/full", os.O_WRONLY))
        access = AccessLog("-", "%(s)s", complaints.append)
        access.record(None, None, 200, 0, 0)
        access.flush()
        assert complaints == ["access log: lines are lost: No space left on device"]
        access.close()

    def test_a_pipe_whose_reader_sleeps(self, stdout: Callable[[int], None]) -> None:
        complaints: list[str] = []
        read, write = os.pipe()
        stdout(write)
        access = AccessLog("-", "%(r)s", complaints.append)
        request = request_of(get(target=b"/" + b"a" * 1000))
        total = 0
        while not access.lost:  # as many as the pipe and the buffer hold
            access.record(request, None, 200, 0, 0)
            total += 1
        assert complaints == ["access log: lines are lost: Resource temporarily unavailable"]
        lost = access.lost
        received = b""
        os.set_blocking(read, False)
        access.record(request, None, 200, 0, 0)
        for _ in range(10_000):
            try:
                received += os.read(read, 1 << 16)
            except BlockingIOError:
                pass
            access.flush()
        lines = received.splitlines(keepends=True)
        assert set(lines) == {b"GET /" + b"a" * 1000 + b" HTTP/1.1\n"}
        assert len(lines) + lost == total + 1
        assert complaints[1:] == [f"access log: works again, lines lost: {lost}"]
        os.close(read)

    def test_a_torn_line_ends_before_the_next(self, stdout: Callable[[int], None]) -> None:
        read, write = os.pipe()
        os.set_blocking(read, False)
        stdout(write)
        complaints: list[str] = []
        access = AccessLog("-", "%(a)s", complaints.append)
        request = request_of(get(b"User-Agent: " + b"\xff" * 8000))
        while not access.lost:  # lines of many pieces: the pipe fills up inside one
            access.record(request, None, 200, 0, 0)
        received = b""
        for _ in range(10_000):
            try:
                received += os.read(read, 1 << 16)
            except BlockingIOError:
                pass
            access.flush()
        access.record(None, None, 200, 0, 0)
        access.flush()
        received += os.read(read, 1 << 16)
        assert received.endswith(b"\n-\n")
        os.close(read)

    def test_a_complaint_that_fails(self, stdout: Callable[[int], None]) -> None:
        def complain(text: str) -> None:
            raise OSError(text)

        stdout(os.open("/dev/full", os.O_WRONLY))
        access = AccessLog("-", "%(s)s", complain)
        access.record(None, None, 200, 0, 0)
        access.flush()
        assert access.lost == 1
