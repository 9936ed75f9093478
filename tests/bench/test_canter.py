"""``canter-bench compare`` with a real Canter, under two classes and a variant."""

from __future__ import annotations

from pathlib import Path

import pytest

from canter.bench import cli
from canter.bench.report import Report

SHOP = """
def app(environ, start_response):
    body = environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


def test_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bench_shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    argv = "compare bench_shop:app -k sync,gthread --path /items -d 0.3 -w 0.1 --rounds 2"
    argv += " --json r.json --html r.html"
    assert cli.main([*argv.split(), "--variant", "closing: -k sync -w 2 --keep-alive 0"]) == 0
    report = Report.load("r.json")
    rows = {row.contender: row for row in report.rows}
    assert set(rows) == {"sync", "gthread", "closing"}
    for row in rows.values():
        assert row.failure == ""
        assert row.rate > 0
        assert row.alone is not None
        assert row.errors.keys() <= {"timeout", "unsent"}, row.full
    assert rows["gthread"].middle("queue_ms") is not None
    assert rows["gthread"].middle("busy") is not None
    assert "-k gthread -w" in rows["gthread"].command
    assert "bench_shop:app" in Path("r.html").read_text()
    assert "your requests: " in capsys.readouterr().out


def test_an_application_that_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bench_broken.py").write_text("import bench_nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", "bench_broken:app", "-k", "sync", "--rounds", "1", "-d", "0.2"]) == 1
    assert "bench_nothing_of_that_name" in capsys.readouterr().out
