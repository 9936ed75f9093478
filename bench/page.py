"""The report as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from canter.bench.advice import Advice
from canter.bench.pictures import of
from canter.bench.report import Report, Row, ScenarioInfo
from canter.bench.table import COLUMNS, cells, circumstances, remarks

STYLE = Path(__file__).with_name("page.css")


def render(report: Report, advice: Sequence[Advice]) -> str:
    """The whole page."""
    name = report.app or "the built-in scenarios"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>canter-bench: {escape(name)}</title><style>{STYLE.read_text()}</style></head><body>",
        f"<h1>Which worker class? {escape(name)}</h1>",
        f'<p class="dim">canter-bench, {escape(_date(report))}</p>',
        _notes(report.notes),
        *(_advice(each) for each in advice),
        *(_scenario(report, scenario) for scenario in report.scenarios),
        _contenders(report),
        _machine(report),
        _METHOD,
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _date(report: Report) -> str:
    """To the minute, in UTC."""
    date, _, clock = str(report.machine.get("date", "")).partition("T")
    return f"{date} {clock[:5]} UTC" if clock else date


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return f'<div class="notes"><b>Before you believe the figures</b>{_list(notes)}</div>'


def _list(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def _advice(advice: Advice) -> str:
    if not advice.choice:
        why = _list([*advice.reasons, *advice.others])
        return f'<div class="advice none">{escape(advice.title)}: <b>no advice</b>{why}</div>'
    return (
        f'<div class="advice">{escape(advice.title)}: <b>{escape(advice.choice)}</b> '
        f"<code>{escape(advice.command)}</code>{_list(advice.reasons)}"
        f"<details><summary>the others, and what would change this</summary>{_list(advice.others)}"
        f"<p>Unless:</p>{_list(advice.unless)}</details></div>"
    )


# -- a scenario --------------------------------------------------------------------------------


def _scenario(report: Report, scenario: ScenarioInfo) -> str:
    rows = sorted(report.of(scenario.name), key=lambda row: (row.failed, -row.rate))
    shown = "".join(f"<div><h3>{escape(each.title)}</h3>{each.svg}</div>" for each in of(report, scenario))
    return (
        f"<h2>{escape(scenario.title)}</h2>"
        f'<p class="dim">{escape(circumstances(report, scenario))}</p>'
        f'<div class="pictures">{shown}</div>'
        f"{_table(rows)}{_commands(rows)}"
    )


def _table(rows: Sequence[Row]) -> str:
    texts = {row.contender: cells(row) for row in rows if not row.failed}
    used = [key for key in COLUMNS if any(key in each for each in texts.values())]
    head = "".join(f"<th>{COLUMNS[key][0]}<small>{COLUMNS[key][1]}</small></th>" for key in used)
    lines = [f"<tr><th></th>{head}</tr>"]
    for number, row in enumerate(rows):
        name = f"<td>{escape(row.contender)}</td>"
        if not row.failed:
            values = "".join(f"<td>{escape(texts[row.contender].get(key, ''))}</td>" for key in used)
            best = ' class="best"' if number == 0 else ""
            lines.append(f"<tr{best}>{name}{values}</tr>")
            name = "<td></td>"
        if said := escape("; ".join(remarks(row))):
            lines.append(
                f'<tr class="failed">{name}<td class="text" colspan="{len(used) or 1}">{said}</td></tr>'
            )
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _commands(rows: Sequence[Row]) -> str:
    """How to repeat each run."""
    entries = "".join(
        f"<dt>{escape(row.contender)}</dt><dd><code>{escape(row.command)}</code></dd>"
        for row in rows
        if row.command
    )
    load = next((row.load_command for row in rows if row.load_command), "")
    if not entries:
        return ""
    sent = f"<dt>load</dt><dd><code>{escape(load)}</code></dd>" if load else ""
    return f"<details><summary>Repeat these runs</summary><dl>{entries}{sent}</dl></details>"


# -- the end of the page ----------------------------------------------------------------------


def _contenders(report: Report) -> str:
    if len(report.contenders) < 2:
        return ""
    entries = "".join(
        f"<dt>{escape(each.name)}</dt><dd><code>{escape(each.flags or each.kind)}</code> "
        f'<span class="dim">{escape(each.version)}</span></dd>'
        for each in report.contenders
    )
    return f"<h2>Who was compared</h2><dl>{entries}</dl>"


def _machine(report: Report) -> str:
    machine = report.machine
    facts = {
        "processor": machine.get("cpu"),
        "cores": f"{machine.get('cores')}, {machine.get('server_cores', 'all')} for the server",
        "system": machine.get("system"),
        "Python": machine.get("python"),
        "load before": ", ".join(f"{value:.2f}" for value in machine.get("load", ())),
        "took": f"{machine['took']:g} s" if machine.get("took") else "",
    }
    entries = "".join(f"<dt>{name}</dt><dd>{escape(str(text))}</dd>" for name, text in facts.items() if text)
    command = f"<p>All of it again: <code>{escape(report.command)}</code></p>" if report.command else ""
    return f"<h2>The machine</h2><dl>{entries}</dl>{command}"


_METHOD = """<h2>How this was measured</h2>
<p>Each server is started afresh for every visit, warmed up, and loaded by a generator in a process of its
own, on a core of its own where the machine has two. Contenders take turns, round after round; figures are
medians over the rounds, thin lines on the bars their spread. Answers a second are those of a closed loop:
as many as the server can do. Latency is that of an open loop: requests arrive at a rate that is the same
for all (half of what the middle one can do), and count from the moment they were meant to leave, so that a
server that stalls cannot hide it. CPU time is user and system time of all the server's processes, memory
their proportional set size. Nothing is retried; every failed request is counted by its kind.</p>"""
