"""``make comparison``: the comparison of docs/benchmarks.md, made again from nothing.

Runs ``canter-bench compare`` over the scenarios that tell most, with every worker class and
the peers that are installed (``make peers``); then writes the report, the page and a picture
a scenario into docs/pictures, and the tables between the markers of docs/benchmarks.md.
``--show FILE`` does the latter alone, from a recorded report. It ends in time by itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from canter.bench import cli, page, pictures, screenshot
from canter.bench.advice import Advice, advise
from canter.bench.markers import put
from canter.bench.peers import PEERS, Environment
from canter.bench.report import Report, Row, ScenarioInfo
from canter.bench.scenarios import builtin
from canter.bench.table import cells, circumstances, remarks

SCENARIOS = ("fast", "block", "cpu", "polls")
"""In the order in which they are told."""
_FIRST = "polls"
"""Measured before the others: what its time-outs take is known then, when the rest of the time is shared."""
COMPARED = (
    "gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent", "uvicorn", "granian", "uwsgi", "freastal",
)  # fmt: skip
"""As many as there is time for, with loads that tell something."""
WITHIN = "10.5m"
_LOADS = ("--least", "2.5s", "--polls", "1000", "--poll-time", "0.5s")
"""Loads long enough for what they measure, and time for two rounds."""
PEERS_PYTHON = "build/peers-venv/bin/python"
BEGIN = "<!-- made by `make comparison`: begin -->"
_WIDTH = 1080
_COLUMNS = {
    "rate": "answers/s",
    "spread": "min-max",
    "p50": "p50 ms",
    "p99": "p99 ms",
    "late": "woken late, p99 ms",
    "gap": "between pieces, p99 ms",
    "cpu": "CPU us",
    "memory": "memory MiB",
}


def command(within: str, rounds: int, python: str, folder: Path) -> list[str]:
    """The command line, with the peers that are there."""
    words = ["compare"]
    for name in sorted(SCENARIOS, key=lambda name: name != _FIRST):
        words += ["-s", name]
    if Path(python).exists():
        home = Environment(python)
        for name in COMPARED:
            if home.missing(PEERS[name]):
                print(f"{name} is not installed in {python}", file=sys.stderr)
            else:
                words += ["--peer", name]
        words += ["--peer-python", python]
    else:
        print(f"there is no {python}: no peers are compared (make peers)", file=sys.stderr)
    words += [*_LOADS, "--rounds", f"{rounds}", "--within", within]
    return [*words, "--json", f"{folder}/comparison.json"]


# -- what goes into the documentation ------------------------------------------------------------


def text(report: Report, advice: Sequence[Advice], folder: str) -> str:
    """The Markdown between the markers."""
    parts = [_circumstances(report)]
    if report.notes:
        parts.append("**Before you believe the figures:**")
        parts.append("\n".join(f"- {note}" for note in report.notes))
    for scenario, found in zip(report.scenarios, advice, strict=True):
        parts += [
            f"### {scenario.title[:1].upper()}{scenario.title[1:]}",
            f"{circumstances(report, scenario)}.",
            _table(report, scenario),
            *_remarks(report.of(scenario.name)),
            f"![{scenario.title}: answers a second, latency, CPU time, memory]({folder}/{scenario.name}.png)",
            _advice(found),
        ]
    return "\n\n".join(parts)


def _circumstances(report: Report) -> str:
    machine = report.machine
    facts = (
        f"{machine.get('date', '')[:10]}",
        f"{machine.get('cpu', 'a processor')}",
        f"{machine.get('cores')} cores ({machine.get('server_cores')} for the server, one for the load)",
        f"{machine.get('system')}",
        f"{machine.get('python')}",
    )
    lines = [f"{', '.join(facts)}.", f"```\n{report.command}\n```"]
    versions = [f"{each.name} {each.version}" for each in report.contenders if not each.ours]
    if versions:
        lines.insert(1, f"Peers: {', '.join(versions)}.")
    return "\n\n".join(lines)


def _table(report: Report, scenario: ScenarioInfo) -> str:
    rows = [row for row in report.of(scenario.name) if not (row.failed or row.hopeless or row.hurried)]
    rows.sort(key=lambda row: -row.rate)
    texts = {row.contender: cells(row) for row in rows}
    used = [key for key in _COLUMNS if any(key in each for each in texts.values())]
    lines = [
        "| | processes x threads | " + " | ".join(_COLUMNS[key] for key in used) + " |",
        "|---|--:|" + "--:|" * len(used),
    ]
    for name, found in texts.items():
        one = report.contender(name)
        shown = f"**{name}**" if one.ours else name
        values = [found.get(key, "") for key in used]
        lines.append(f"| {shown} | {one.workers} x {one.threads} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def _remarks(rows: Sequence[Row]) -> list[str]:
    lines = [f"- {row.contender}: {said}" for row in rows for said in remarks(row)]
    return ["\n".join(lines)] if lines else []


def _advice(advice: Advice) -> str:
    if not advice.choice:
        return f"Advice: none; {advice.reasons[0]}."
    return f"Advice: `{advice.command}`, because {'; '.join(advice.reasons)}."


def poster(report: Report, scenario: ScenarioInfo) -> str:
    """The four most telling pictures of one scenario as a page of their own."""
    named = {each.name: each for each in pictures.of(report, scenario)}
    time = next((name for name in ("late", "gap", "latency") if name in named), "")
    chosen = [named[name] for name in ("rate", time, "cpu", "memory") if name in named]
    shown = "".join(f"<div><h3>{escape(each.title)}</h3>{each.svg}</div>" for each in chosen)
    own = "body { padding: 4px 16px 12px } .pictures { grid-template-columns: 1fr 1fr }"
    style = f"{page.STYLE.read_text()}\n{own}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><style>{style}</style></head>'
        f'<body><div class="pictures">{shown}</div></body></html>'
    )


def write(report: Report, document: Path, folder: Path) -> None:
    """The pictures, the page and the document."""
    order = {name: number for number, name in enumerate(SCENARIOS)}
    report.scenarios.sort(key=lambda scenario: order.get(scenario.name, len(order)))
    for name in builtin():
        (folder / f"{name}.png").unlink(missing_ok=True)  # of a report with other scenarios
    for scenario in report.scenarios:
        screenshot.png(poster(report, scenario), folder / f"{scenario.name}.png", _WIDTH)
    advice = advise(report)
    (folder / "comparison.html").write_text(page.render(report, advice), encoding="utf-8")
    made = text(report, advice, folder.name)
    document.write_text(put(document.read_text(encoding="utf-8"), BEGIN, made), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m canter.bench.comparison", description=__doc__)
    parser.add_argument("--within", default=WITHIN, metavar="TIME", help=f"for everything ({WITHIN})")
    parser.add_argument("--rounds", type=int, default=2, metavar="N")
    parser.add_argument("--peer-python", default=PEERS_PYTHON, metavar="PYTHON")
    parser.add_argument("--show", default="", metavar="FILE", help="only show this recorded report")
    parser.add_argument("--docs", type=Path, default=Path("docs"), metavar="FOLDER")
    args = parser.parse_args(argv)
    document, folder = args.docs / "benchmarks.md", args.docs / "pictures"
    folder.mkdir(exist_ok=True)
    try:
        screenshot.browser()
        put(document.read_text(encoding="utf-8"), BEGIN, "")  # what would stop it at the end, stops it here
        if not args.show:
            words = command(args.within, args.rounds, args.peer_python, folder)
            if cli.main(words) not in (0, 1):
                return 2
        write(Report.load(args.show or f"{folder}/comparison.json"), document, folder)
    except (screenshot.NoPicture, ValueError, OSError) as error:
        print(f"comparison: {error}", file=sys.stderr)
        return 2
    print(f"written: {document} and {folder}")
    return 0


if __name__ == "__main__":
    cli.end_on_signals()
    sys.exit(main())
