"""``make clients``: the test suite of the `requests` library against httpbin on Canter.

The suite comes from the sdist of the release that `tests/pins/requests.txt` pins and runs in
an environment apart, which `make` builds; so does httpbin, served there by the Canter of this
tree. What the plugin `httpbin_of_canter` leaves out it says, with the reason.

With arguments, only the worker classes named: ``make clients ARGS=gthread``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from canter.testing import serve
from tests import apart

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PINS = ROOT / "tests" / "pins" / "requests.txt"
HOME = apart.home("requests")
PYTHON = apart.python("requests")
CLASSES = ("sync", "gthread", "asyncio")  # gevent cannot be beside what httpbin pins
# Some tests give up an answer that takes ten seconds; the next ones need not wait for its end.
SETTINGS = {"workers": 4, "loglevel": "info"}


def suite() -> Path:
    """The folder of the suite; fetched first, where it is not there. A new environment has none."""
    folder = HOME / "suite"
    if not folder.exists():
        pinned = next(line for line in PINS.read_text().splitlines() if line.startswith("requests"))
        command = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps"]
        command += ["--no-binary", "requests", "--dest", str(HOME), pinned]
        subprocess.run(command, check=True, timeout=300)
        unpack(next(HOME.glob("requests-*.tar.gz")), folder)
    return next(folder.iterdir())


def unpack(sdist: Path, folder: Path) -> None:
    """All at once: a folder that is there is complete."""
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # older 3.10 and 3.11 have none
    begun = folder.with_suffix(".begun")
    with tarfile.open(sdist) as archive:
        archive.extractall(begun, **safe)
    begun.rename(folder)


def passes(worker_class: str, tests: Path) -> bool:
    """Run the suite against one worker class."""
    canter = {"PYTHONPATH": str(ROOT / "build" / "layout")}
    threads = 1 if worker_class == "sync" else 4
    with serve("httpbin:app", worker_class, python=PYTHON, env=canter, threads=threads, **SETTINGS) as server:
        print(f"--- httpbin on {worker_class}, {server.url}", flush=True)
        options = ["-q", "--no-header", "--timeout=60", "-p", "no:cacheprovider", "--disable-warnings"]
        result = subprocess.run(
            [PYTHON, "-m", "pytest", *options, "-p", "httpbin_of_canter", "tests/test_requests.py"],
            cwd=tests,
            env=os.environ | {"PYTHONPATH": str(HERE), "HTTPBIN_URL": server.url},
            check=False,
        )
        if "[ERROR]" in server.log:
            print(server.log)
            return False
    return result.returncode == 0


def main(classes: list[str]) -> int:
    tests = suite()
    failed = [name for name in classes or CLASSES if not passes(name, tests)]
    print(f"requests suite failed: {', '.join(failed)}" if failed else "requests suite: all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
