"""``make lint``: every static check. All of them run, whichever fails.

With arguments, only the checks named: ``make lint ARGS='types doors'``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import doors

ROOT = Path(__file__).resolve().parents[2]
DOORS = ROOT / "build" / "doors"
LAYOUT = ROOT / "build" / "layout"


def compiled() -> list[str]:
    """The compiled modules: each must have a ``.pyi``, and stubtest holds it to the truth."""
    sources = sorted((ROOT / "core").rglob("*.pyx"))
    return [".".join(("canter", *path.relative_to(ROOT / "core").with_suffix("").parts)) for path in sources]


def checks() -> dict[str, list[str]]:
    """Name of each check -> its command, a tool of this environment and its arguments."""
    stubtest = [
        "stubtest",
        "--mypy-config-file",
        "pyproject.toml",
        "--allowlist",
        "tests/lint/stubtest-allowed.txt",
    ]
    return {
        "style": ["ruff", "check", "--quiet"],
        "format": ["ruff", "format", "--check", "--quiet"],
        "types": ["mypy"],
        "doors": ["lint-imports"],
        "cython": ["cython-lint", "core"],
        "stubs": [*stubtest, *compiled()],
    }


def passes(name: str, command: list[str]) -> bool:
    """Run one check at the root of the repository; show what it says where it fails."""
    begun = time.monotonic()
    environ = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(DOORS if name == "doors" else LAYOUT),
        "MYPYPATH": str(LAYOUT),
    }
    result = subprocess.run(
        command, cwd=ROOT, env=environ, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if result.returncode:
        print(result.stdout.decode(errors="replace"))
    verdict = "FAILED" if result.returncode else "ok"
    print(f"lint {name}: {verdict} ({time.monotonic() - begun:.0f} s)", flush=True)
    return not result.returncode


def main(names: list[str]) -> int:
    todo = checks()
    if unknown := [name for name in names if name not in todo]:
        print(f"no such check: {', '.join(unknown)}; there are: {', '.join(todo)}", file=sys.stderr)
        return 2
    doors.make(ROOT, DOORS)
    failed = [name for name in names or todo if not passes(name, todo[name])]
    print(f"lint failed: {', '.join(failed)}" if failed else "lint: all clean")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
