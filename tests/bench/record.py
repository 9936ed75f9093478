"""Records the comparisons that the rules of the advice are tested with: ``python tests/bench/record.py``.

The built-in scenarios, and requests of the two examples that are real applications: Flask
(tiny answers, a call that waits, computing, a crowd that waits long) and Django (a page with
a query to its database). All are put into one report, ``recorded.json``, without the
histograms that the advice does not look at. Takes some minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
SITE = EXAMPLES / "django_site"
COMMON = "--rounds 2 --duration 0.8 --warmup 0.3"
CROWD = "--rounds 1 --duration 4 --warmup 2.5 --connections 512"
FLASK, DJANGO = "flask_app:app", "guestbook.wsgi:application"
RUNS = {
    "": (EXAMPLES, f"-s fast -s block -s cpu -s polls {COMMON}"),
    "flask, a small answer": (EXAMPLES, f"{FLASK} --path /about {COMMON}"),
    "flask, a call of 50 ms": (EXAMPLES, f"{FLASK} --path /wait/50 {COMMON}"),
    "flask, computing": (EXAMPLES, f"{FLASK} --path /primes/2000 --connections 16 {COMMON}"),
    "flask, 512 that wait for 2 s": (EXAMPLES, f"{FLASK} --path /wait/2000 {CROWD}"),
    "django, a page with a query": (SITE, f"{DJANGO} {COMMON}"),
}
FILL = """
from guestbook.models import Entry
Entry.objects.bulk_create(Entry(name=f'guest {number}', message='was here ' * 9) for number in range(60))
"""
KEPT = {"latency"}
HISTOGRAMS = {"latency", "first", "gap", "late", "lag"}


def compact(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """A result without what the advice does not look at."""
    if result is None:
        return None
    return {name: value for name, value in result.items() if name not in HISTOGRAMS - KEPT} | {"examples": {}}


def record(folder: Path) -> dict[str, Any]:
    """All runs as one report; each of the user's requests becomes a scenario of its own."""
    whole: dict[str, Any] = {}
    for name, (where, words) in RUNS.items():
        target = folder / "report.json"
        target.unlink(missing_ok=True)
        command = [sys.executable, "-m", "canter.bench", "compare", *words.split(), "--json", str(target)]
        code = subprocess.run(
            command, cwd=where, env={**os.environ, **environment(folder)}, check=False
        ).returncode
        assert code in (0, 1), command
        report = json.loads(target.read_text())
        for each in report["rows"]:
            each |= {key: compact(each[key]) for key in ("alone", "full", "steady")}
            each["scenario"] = name or each["scenario"]
        for each in report["scenarios"]:
            each |= {"name": name, "title": name} if name else {}
        if whole:
            whole["rows"] += report["rows"]
            whole["scenarios"] += report["scenarios"]
        else:
            whole = report | {"notes": [], "command": "python tests/bench/record.py"}
    return whole


def environment(folder: Path) -> dict[str, str]:
    return {
        "GUESTBOOK_DATABASE": str(folder / "guestbook.sqlite3"),
        "DJANGO_SETTINGS_MODULE": "guestbook.settings",
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for words in (["migrate", "--verbosity", "0"], ["shell", "-c", FILL]):
            command = [sys.executable, str(SITE / "manage.py"), *words]
            subprocess.run(command, env={**os.environ, **environment(folder)}, check=True)
        report = record(folder)
    report["machine"] = {key: report["machine"][key] for key in ("cores", "server_cores", "python")}
    (HERE / "recorded.json").write_text(json.dumps(report, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
