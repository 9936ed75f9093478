"""The report: as JSON, as a table, and as a page that a real browser shows."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from canter.bench import charts, page, screenshot
from canter.bench.advice import advise
from canter.bench.charts import Bar, Curve
from canter.bench.report import Report
from canter.bench.table import find_knee, show
from tests.bench.samples import BLOCK, FAST, histogram, report, row, swept
from tests.programs import needed

VOID = {"meta"}


def made() -> Report:
    broken = row("fast", "asyncio", 0, 1)
    broken.failure = "it ended with 4: <script>alert(1)</script>"
    found = report(
        FAST,
        swept(row("fast", "sync", 50_000, 0.2), (1, 9000, 0.5), (8, 49_000, 1), (64, 50_000, 9)),
        swept(row("fast", "gthread", 60_000, 0.15), (1, 9000, 0.5), (8, 50_000, 1), (64, 60_000, 2)),
        row("fast", "granian", 40_000, 0.3, errors=7),
        broken,
    )
    found.sweep = "connections"
    found.notes = ["the machine was not idle before"]
    found.scenarios.append(BLOCK)
    found.rows += [row("block", "sync", 60, 900), row("block", "gthread", 1280, 51)]
    found.rows[-2].steady.measured = 100  # type: ignore[union-attr]
    return found


def test_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    made().save(str(path))
    again = Report.load(str(path))
    assert again == made()
    assert page.render(again, advise(again)) == page.render(made(), advise(made()))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{}", "no report of canter-bench"), ("[", "Expecting value"), ('{"canter-bench": 1}', "'scenarios'")],
)
def test_what_is_no_report(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        Report.load(str(path))


def test_terminal() -> None:
    for width in (60, 80, 200):
        out = io.StringIO()
        show(Console(file=out, width=width), made(), advise(made()))
        text = out.getvalue()
        assert "gthread: the knee is at 64 connections" in text
        assert "granian: failed: timeout 7" in text
        assert "canter -k gthread -w 3 shop:app" in text
        assert max(map(len, text.splitlines())) <= width
    assert "60,000" in text
    assert "54,000-66,000" in text


def test_knees() -> None:
    found = swept(row("fast", "sync", 1, 1), (1, 100, 1), (2, 190, 1), (4, 196, 2), (8, 197, 4))
    assert find_knee(found, "connections") == 2
    found = swept(row("fast", "sync", 1, 1), (100, 100, 1), (200, 199, 2), (300, 299, 9), (400, 310, 90))
    assert find_knee(found, "rate") == 200
    assert find_knee(row("fast", "sync", 1, 1), "rate") is None


def test_too_much_is_told_from_the_arrivals_and_not_from_the_rate() -> None:
    """Arrivals are random: of 1,000 a second there may be 860 in a second, and all were answered."""
    found = row("cpu", "sync", 2000, 1)
    assert found.steady is not None
    found.steady.seconds, found.steady.measured, found.steady.latency = 1.0, 850, histogram(1, 860)
    assert (found.steady_rate, found.overloaded) == (1000.0, False)
    found.steady.measured = 700
    assert found.overloaded


class Balance(HTMLParser):
    """Every element that opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    text = page.render(made(), advise(made()))
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "a &lt;processor&gt;" in text
    assert not re.search(r"\b(src|href)=|url\(|@import", text)
    assert text.count("<svg") == 6 + 4
    assert "canter -k gthread -b 127.0.0.1:8000" in text
    assert "600/s was too much for it" not in text
    assert "1,000/s was too much for it, it served 33/s" in text


def test_charts_stay_in_their_box() -> None:
    many = [Bar(f"name {number}", value, "#000", 0, value * 1.2) for number, value in enumerate((1, 50, 1e6))]
    lines = [Curve("a", [(0, 0.001), (50, 1), (99.99, 5000)], "#000", mark=(50, 1))]
    values = [value for _, value in lines[0].points]
    pictures = charts.bars(many, "/s") + charts.curves(
        lines, charts.percentile_axis(), charts.log_axis("ms", values)
    )
    places = [float(text) for text in re.findall(r'(?:x|cx|x1)="([\d.]+)"', pictures)]
    assert all(0 <= place <= charts.WIDTH for place in places)
    assert "nan" not in pictures


@pytest.mark.parametrize("values", [[], [0.0], [5.0], [0.02, 30_000.0]])
def test_axes_of_odd_values(values: list[float]) -> None:
    for axis in (charts.log_axis("", values), charts.linear_axis("", values)):
        assert axis.ticks
        assert all(-0.01 <= axis.place(value) <= 1 for value in values)


PROBE = """<script>
const boxes = [...document.querySelectorAll('svg')].map(each => each.getBoundingClientRect());
const root = document.documentElement;
const texts = [...document.querySelectorAll('svg text')];
const outside = texts.filter(each => { const box = each.getBoundingClientRect(),
  frame = each.ownerSVGElement.getBoundingClientRect();
  return box.left < frame.left - 1 || box.right > frame.right + 1; }).map(each => each.textContent);
document.body.dataset.seen = [boxes.length, boxes.every(box => box.width > 300 && box.height > 30),
  root.scrollWidth <= root.clientWidth, outside.join('|')].join(',');
</script></body>"""


def test_a_browser_shows_it(tmp_path: Path) -> None:
    """All pictures have a size, no text sticks out of one, nothing has to be scrolled sideways."""
    needed("chromium")
    file = tmp_path / "page.html"
    file.write_text(page.render(made(), advise(made())).replace("</body>", PROBE))
    shown = screenshot.dump(file, tmp_path / "profile", "1200,1600")
    assert 'data-seen="10,true,true,"' in shown, shown[-500:]
