"""The tables of docs/performance.md, out of recorded figures.

``python -m canter.bench.cost_page build/cost.json [MORE.json ...]`` writes what `cost --json`
recorded, the claims first, between the markers of the page. Several records may each hold
some of the scenarios.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from canter.bench.claims import Verdict, verdicts
from canter.bench.cost import SCENARIOS, shown, table_rows
from canter.bench.markers import put

MARKER = "<!-- made by `python -m canter.bench.cost_page`: begin -->"
PAGE = Path("docs/performance.md")


def text(records: Sequence[dict[str, Any]]) -> str:
    """All of it as Markdown."""
    figures = {name: found for record in records for name, found in record["figures"].items()}
    refused = {name: found for record in records for name, found in record["out"].items()}
    versions = {name: version for record in records for name, version in record["versions"].items()}
    parts = [_circumstances(records[0], figures), "### Claims", _claims(figures)]
    for name, scenario in SCENARIOS.items():
        if name in figures:
            parts += [
                f"### {scenario.title[0].upper()}{scenario.title[1:]} (`{name}`)",
                _table(figures[name]),
            ]
            parts += [f"- {server}: out, {why}" for server, why in refused.get(name, {}).items()]
    peers = ", ".join(f"{name} {each}" for name, each in versions.items() if not name.startswith("canter"))
    return "\n\n".join([*parts, f"Versions: {peers}."])


def _circumstances(record: dict[str, Any], figures: dict[str, Any]) -> str:
    machine = record["machine"]
    rounds = sorted({len(each) for servers in figures.values() for each in servers.values()})
    made = f"{rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else str(rounds[0])
    return (
        f"{machine['date'][:10]}, {machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"{machine['python']}; {made} rounds of {record['seconds']:g} s; medians; microseconds a request."
    )


def _claims(figures: dict[str, Any]) -> str:
    found = verdicts(figures)
    return _markdown([["", "at least", "goal", "now", "ours", "theirs"], *map(_claim, found)])


def _claim(verdict: Verdict) -> list[str]:
    claim = verdict.claim
    now = f"{verdict.ratio:.2f} x" if verdict.held else f"**{verdict.ratio:.2f} x, missed**"
    goal = f"{claim.goal:g} x" if claim.goal else ""
    theirs = "" if claim.limit else f"{verdict.against} "
    return [
        claim.text,
        f"{claim.least:g} x",
        goal,
        now,
        shown(verdict.ours),
        f"{theirs}{shown(verdict.theirs)}",
    ]


def _table(figures: dict[str, Any]) -> str:
    return _markdown(table_rows(figures))


def _markdown(rows: list[list[str]]) -> str:
    head, *others = rows
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *others]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(argv: Sequence[str] | None = None) -> int:
    files = sys.argv[1:] if argv is None else list(argv)
    if not files:
        print("error: name the files that cost --json wrote", file=sys.stderr)
        return 2
    records = [json.loads(Path(name).read_text()) for name in files]
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), MARKER, text(records)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
