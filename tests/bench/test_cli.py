"""``canter-bench`` as a user types it; and that each mistake is one line."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from canter.bench import cli
from canter.bench.__main__ import main as command
from canter.bench.advice import advise
from canter.bench.budget import Budget
from canter.bench.interface import interface
from canter.bench.report import Report
from tests.bench import scripted
from tests.bench.test_page import made


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["compare", "-s", "nothing"], "no scenario 'nothing' without an application; there are fast, block"),
        (["compare", "app:app", "-s", "block"], "no scenario 'block' with an application; there are own"),
        (["compare", "-k", "uvicorn"], "worker class 'uvicorn' is none of sync, gthread"),
        (["compare", "--variant", "x"], "variant 'x' is not 'NAME: FLAGS'"),
        (["compare", "--variant", "sync: -k sync"], "two contenders are called 'sync'"),
        (["compare", "--peer", "nginx"], "peer 'nginx' is not known"),
        (["compare", "--block", "long"], "'long' is no time"),
        (["compare", "app:app", "-H", "X"], "header 'X' is not 'NAME: VALUE'"),
        (["compare", "app:app", "--requests", "/no/such"], "/no/such: No such file or directory"),
        (["compare", "../app.py"], "'../app.py' is not MODULE:APPLICATION"),
        (["check", "ftp://127.0.0.1/"], "'ftp://127.0.0.1/' is not an http:// URL"),
        (["check", "http://192.0.2.1/"], "192.0.2.1 is not this machine"),
        (["compare", "--peer-python", "/no/such/python", "-s", "fast"], "/no/such/python: No such file"),
        (["compare", "--html", "/no/such/page.html"], "/no/such/page.html: there is no such folder"),
        (["check", "http://127.0.0.1/", "--json", "/no/such/a"], "/no/such/a: there is no such folder"),
        (["compare", "--rounds", "0"], "--rounds must be at least 1"),
        (["compare", "-c", "-1"], "--connections must be at least 0"),
        (["show", "/no/such"], "/no/such: No such file or directory"),
    ],
)
def test_mistakes_are_one_line(argv: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 2
    told = capsys.readouterr().err
    assert told.startswith("canter-bench: ")
    assert reason in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(("text", "seconds"), [("50ms", 0.05), ("2s", 2.0), ("1.5", 1.5), ("1m", 60.0)])
def test_times(text: str, seconds: float) -> None:
    assert cli._seconds(text) == seconds


def test_check_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    json, page = tmp_path / "report.json", tmp_path / "report.html"
    with scripted.serve(scripted.Request.echo) as url:
        code = cli.main(
            ["check", f"{url}/a", "-d", "0.3", "-w", "0", "-c", "2", "-r", "50", "--json", str(json)]
        )
    assert code == 0
    report = Report.load(str(json))
    assert report.rows[0].full is not None
    assert report.rows[0].steady is not None
    assert report.rows[0].steady.errors == {}
    assert report.command.startswith(f"canter-bench check {url}/a")
    assert advise(report) == []
    assert cli.main(["show", str(json), "--html", str(page)]) == 0
    assert "<svg" in page.read_text()
    assert url in capsys.readouterr().out


def test_check_of_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with scripted.serve(scripted.Request.echo) as url:
        pass
    assert cli.main(["check", url, "-d", "0.2", "-c", "1"]) == 1
    assert "nothing was answered right: refused" in " ".join(capsys.readouterr().out.split())


def test_a_report_with_a_failed_row_ends_with_1(tmp_path: Path) -> None:
    made().save(str(tmp_path / "report.json"))
    assert cli.main(["show", str(tmp_path / "report.json")]) == 1


@pytest.mark.parametrize(
    ("argv", "rounds"),
    [("compare", 1), ("compare app:app", 2), ("compare -k sync", 2), ("compare -s fast", 2)],
)
def test_quick_fits_into_a_minute(argv: str, rounds: int) -> None:
    args = cli._parser().parse_args([*argv.split(), "--quick"])
    contenders = cli._contenders(args, "wsgi" if args.app else "", 4)
    comparison = cli.Comparison(args.app or "", cli._scenarios(args), contenders)
    cli._hurry(comparison, bool(args.scenario))
    assert comparison.rounds == rounds
    clock = iter((0.0, 1.0))
    budget = Budget(comparison.within, lambda: next(clock))
    assert comparison.within <= 55
    assert 0.3 <= budget.seconds(3.0, comparison.visits()) <= 10


def test_without_its_packages_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    assert command() == 2
    assert capsys.readouterr().err == "canter-bench: no package 'rich': pip install 'canter[bench]'\n"


async def asgi_function(scope, receive, send): ...


async def async_wsgi_function(environ, start_response): ...


def wsgi_function(environ, start_response): ...


def asgi_in_a_function(scope, receive, send):
    return asgi_function(scope, receive, send)


class AsgiObject:
    async def __call__(self, scope, receive, send): ...


class AsgiTwo:
    def __init__(self, scope): ...


def test_interfaces() -> None:
    assert interface(wsgi_function) == "wsgi"
    assert interface(asgi_function) == "asgi"
    assert interface(AsgiObject()) == "asgi"
    assert interface(async_wsgi_function) == "async_wsgi"
    assert interface(AsgiTwo) == "wsgi"
    assert interface(AsgiObject().__call__) == "asgi"
    assert interface(partial(asgi_function)) == "asgi"
    assert interface(partial(async_wsgi_function)) == "async_wsgi"
    assert interface(asgi_in_a_function) == "asgi"
