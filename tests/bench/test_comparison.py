"""What docs/benchmarks.md is made of, from a report made by hand and without a load."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from canter.bench import comparison
from canter.bench.advice import advise
from canter.bench.markers import END, put
from canter.bench.report import Report
from canter.bench.scenarios import builtin
from tests.bench.test_page import made
from tests.programs import needed

EMPTY = f"before\n{comparison.BEGIN}\nold\n{END}\nafter\n"
DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def test_the_text_between_the_markers_is_replaced() -> None:
    once = put(EMPTY, comparison.BEGIN, "new")
    assert once == f"before\n{comparison.BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert put(once, comparison.BEGIN, "new") == once
    with pytest.raises(ValueError, match="markers are missing"):
        put("before", comparison.BEGIN, "new")


def test_the_document_has_the_markers() -> None:
    assert put(DOCUMENT.read_text(), comparison.BEGIN, "new").count("new")


def test_the_text_has_all_figures() -> None:
    report = made()
    text = comparison.text(report, advise(report), "pictures")
    assert "| **gthread** | 3 x 64 | 60,000 | 54,000-66,000 |" in text
    assert "| granian | 3 x 64 | 40,000 |" in text
    assert "- asyncio: it ended with 4: <script>" in text
    assert "![tiny fast answers: answers a second, latency, CPU time, memory](pictures/fast.png)" in text
    assert "Advice: `canter -k gthread -w 3 shop:app`, because a request needs" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_rounds_are_those_that_were_made() -> None:
    report = made()
    report.rounds = 9
    assert "loads of 1.0 s" in comparison.text(report, advise(report), "pictures")
    for row in report.rows:
        del row.rounds[1:]
    text = comparison.text(report, advise(report), "pictures")
    assert "64 connections; 1 round, loads of 3.0 s; latency at" in text
    assert "9 rounds" not in text


def test_loads_that_were_too_short_for_a_server_tell_nothing_of_it() -> None:
    report = made()
    (slow,) = (row for row in report.of("block") if row.contender == "sync")
    assert slow.full is not None
    slow.alone = slow.full
    slow.full.seconds, slow.full.measured, slow.full.in_flight = 3 * 2.5, 3 * 150, 64
    assert not slow.hurried
    slow.full.measured = 3 * 75
    text = comparison.text(report, advise(report), "pictures")
    assert "- sync: loads of 2.5 s are too short for it: it needs 2.1 s to answer each client once" in text
    assert "| **sync** | 3 x 64 | 60 |" not in text


def test_a_poster_has_four_pictures() -> None:
    report = made()
    assert [comparison.poster(report, each).count("<svg") for each in report.scenarios] == [4, 4]


def test_scenarios_and_peers_exist() -> None:
    assert set(comparison.SCENARIOS) <= set(builtin())
    words = comparison.command("5m", 2, sys.executable, Path("docs"))
    end = "--least 2.5s --polls 1000 --poll-time 0.5s --rounds 2 --within 5m --json docs/comparison.json"
    assert " ".join(words).endswith(end)
    assert "--peer" not in comparison.command("5m", 2, "/no/such/python", Path("docs"))


@pytest.mark.timeout(400)  # four starts of a browser
def test_a_recorded_report_becomes_pictures_and_text(tmp_path: Path) -> None:
    needed("chromium")
    (tmp_path / "benchmarks.md").write_text(EMPTY)
    (report := made()).save(str(tmp_path / "report.json"))
    assert comparison.main(["--show", str(tmp_path / "report.json"), "--docs", str(tmp_path)]) == 0
    for scenario in report.scenarios:
        picture = (tmp_path / "pictures" / f"{scenario.name}.png").read_bytes()
        width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
        assert width == 1080
        assert 300 < height < 1500
        assert len(picture) < 150_000
    assert "<svg" in (tmp_path / "pictures" / "comparison.html").read_text()
    assert "| **gthread** | 3 x 64 | 60,000" in (tmp_path / "benchmarks.md").read_text()
    assert Report.load(str(tmp_path / "report.json")) == report


def test_what_would_stop_it_at_the_end_stops_it_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("canter.bench.screenshot.browser", lambda: "chromium")
    (tmp_path / "benchmarks.md").write_text("no markers\n")
    assert comparison.main(["--docs", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "comparison: the markers are missing\n"
