"""``make clients``: the test suite of the `requests` library against httpbin on Canter.

The suite comes from the sdist of the release that `requests.txt` pins and runs in an
environment of its own, `build/clients-venv`; so does httpbin, served there by the Canter
of this tree. What the plugin `httpbin_of_canter` leaves out it says, with the reason.

With arguments, only the worker classes named: ``make clients ARGS=gthread``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

from canter.testing import serve

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build"
HOME = BUILD / "clients-venv"
PYTHON = HOME / "bin" / "python"
PINS = HERE / "requests.txt"
CLASSES = ("sync", "gthread", "asyncio")  # gevent cannot be beside what httpbin pins
# Some tests give up an answer that takes ten seconds; the next ones need not wait for its end.
SETTINGS = {"workers": 4, "loglevel": "info"}


def pip(*arguments: str) -> None:
    subprocess.run([PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def environment() -> Path:
    """Make the environment, unless it is there as pinned; the folder of the suite."""
    stamp, suite = HOME / "pins", HOME / "suite"
    pins = PINS.read_text()
    if not stamp.exists() or stamp.read_text() != pins:
        venv.create(HOME, clear=True, with_pip=True)
        pip("install", "-r", str(PINS))
        pinned = next(line for line in pins.splitlines() if line.startswith("requests"))
        pip("download", "--no-deps", "--no-binary", "requests", "--dest", str(HOME), pinned)
        (sdist,) = HOME.glob("requests-*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(suite, filter="data")
        stamp.write_text(pins)
    (folder,) = suite.iterdir()
    return folder


def passes(worker_class: str, suite: Path) -> bool:
    """Run the suite against one worker class."""
    canter = {"PYTHONPATH": str(BUILD / "layout")}
    threads = 1 if worker_class == "sync" else 4
    with serve(
        "httpbin:app", worker_class, python=str(PYTHON), env=canter, threads=threads, **SETTINGS
    ) as server:
        print(f"--- httpbin on {worker_class}, {server.url}", flush=True)
        options = ["-q", "--no-header", "--timeout=60", "-p", "no:cacheprovider", "--disable-warnings"]
        result = subprocess.run(
            [PYTHON, "-m", "pytest", *options, "-p", "httpbin_of_canter", "tests/test_requests.py"],
            cwd=suite,
            env=os.environ | {"PYTHONPATH": str(HERE), "HTTPBIN_URL": server.url},
            check=False,
        )
        if "[ERROR]" in server.log:
            print(server.log)
            return False
    return result.returncode == 0


def main(classes: list[str]) -> int:
    suite = environment()
    failed = [name for name in classes or CLASSES if not passes(name, suite)]
    print(f"requests suite failed: {', '.join(failed)}" if failed else "requests suite: all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
