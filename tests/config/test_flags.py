"""The command line: spelling, order, repetition, and the line for each mistake."""

from __future__ import annotations

import pytest

from canter.config import SETTINGS
from canter.errors import ConfigError
from canter.flags import Flag, parse


def values(*argv: str) -> dict[str, object]:
    return {flag.name: flag.value for flag in parse(argv).settings}


def test_options_before_and_after_the_application() -> None:
    expected = {"workers": "2", "wsgi_app": "app:app", "threads": "4"}
    assert values("-w", "2", "app:app", "--threads", "4") == expected
    assert values("app:app", "-w2", "--threads=4") == expected
    assert values("--workers", "2", "--threads", "4", "--", "app:app") == expected


def test_a_repeated_option() -> None:
    assert values("-b", ":1", "--bind", ":2", "-w", "1", "-w", "2") == {"bind": [":1", ":2"], "workers": "2"}


def test_switches_and_their_opposite() -> None:
    assert values("-D", "--no-server-header") == {"daemon": True, "server_header": False}


def test_the_spelling_is_kept() -> None:
    assert parse(["--log-file=x"]).settings == (Flag("errorlog", "x", "--log-file"),)


def test_a_short_form_that_is_clear() -> None:
    assert values("--grace", "3") == {"graceful_timeout": "3"}


def test_actions() -> None:
    assert parse(["-h"]).actions == {"help"}
    assert parse(["--help-all"]).actions == {"help_all"}
    assert parse(["--version", "app"]).actions == {"version"}


def test_every_flag_of_every_setting_is_read() -> None:
    for name, setting in SETTINGS.items():
        for flag in setting.flags:
            argv = [flag] if setting.kind.switch else [flag, "1"]
            assert [item.name for item in parse(argv).settings] == [name]


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--workrs", "2"], "unknown option --workrs; did you mean --workers?"),
        (["--zzzzzzzzzz"], "unknown option --zzzzzzzzzz"),
        (["-Z"], "unknown option -Z"),
        (["-w"], "-w needs a value"),
        (["--workers"], "--workers needs a value"),
        (["--daemon=yes"], "--daemon takes no value"),
        (["--max-worker-m", "2"], "--max-worker-m may be --max-worker-memory or --max-worker-memory-hard"),
        (["one", "two"], "one application at a time: got one and two"),
        (["--certfile", "a.pem"], "--certfile: TLS is not built yet: let a proxy in front of Canter encrypt"),
        (["--proxy-protocol"], "--proxy-protocol: the PROXY protocol is not built yet"),
        (["--protocol", "uwsgi"], "--protocol: no protocol but HTTP is spoken"),
        (["-R"], "-R: Gunicorn has this option, Canter has not"),
        (["--statsd-host", "a:1"], "--statsd-host: Gunicorn has this option, Canter has not"),
    ],
)
def test_mistakes(argv: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(argv)
    assert str(caught.value) == line
