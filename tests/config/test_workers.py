"""Worker classes by name: the master's check imports nothing, the worker's resolve does."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from urllib.request import urlopen

import pytest

from canter import workers
from canter.errors import ConfigError
from canter.testing import serve

OWN = """
from canter import Worker

class Own(Worker):
    pass

class Alien:
    pass
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_workers.py").write_text(OWN)
    (tmp_path / "broken_workers.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["own_workers:Own", "own_workers.Own"])
def test_a_class_of_ones_own(project: Path, name: str) -> None:
    workers.check(name)
    assert workers.resolve(name).__name__ == "Own"


def test_the_class_itself(project: Path) -> None:
    own = workers.resolve("own_workers:Own")
    workers.check(own)
    assert workers.resolve(own) is own


def test_an_entry_point(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("own", "own_workers:Own", workers.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == "canter.workers" else [])
    workers.check("own")
    assert workers.resolve("own").__name__ == "Own"
    with pytest.raises(ConfigError, match="unknown worker class 'ownn'; did you mean own"):
        workers.check("ownn")


def test_an_entry_point_of_an_installed_package(tmp_path: Path) -> None:
    """As another package brings it: a server runs on its class."""
    (tmp_path / "brought.py").write_text(
        "from canter import Worker\n"
        "class Brought(Worker):\n"
        "    def setup(self):\n"
        "        self.log.info('brought along')\n"
    )
    info = tmp_path / "brought-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[canter.workers]\nbrought = brought:Brought\n")
    with serve("canter.bench.hello:wsgi", "brought", env={"PYTHONPATH": str(tmp_path)}) as server:
        with urlopen(server.url, timeout=60) as answer:
            assert answer.read() == b"Hello, world!"
        server.wait_log("brought along")


UNKNOWN = [
    ("gevnt", "unknown worker class 'gevnt'; did you mean gevent?"),
    ("zzz", "unknown worker class 'zzz'; there are sync, gthread, gevent, eventlet, asyncio, tornado"),
    ("no_such_package:Own", "worker class no_such_package:Own: no module named 'no_such_package'"),
]


@pytest.mark.parametrize(("name", "line"), UNKNOWN)
def test_what_the_master_can_know(name: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        workers.check(name)
    assert str(caught.value) == line


NO_CLASS = [
    ("own_workers:Alien", "is not a subclass of canter.Worker"),
    (
        "own_workers:Nobody",
        "cannot be imported: AttributeError: module 'own_workers' has no attribute 'Nobody'",
    ),
    ("broken_workers:Own", "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
]


@pytest.mark.parametrize(("name", "line"), NO_CLASS)
def test_what_only_the_worker_can_know(project: Path, name: str, line: str) -> None:
    workers.check(name)
    with pytest.raises(ConfigError) as caught:
        workers.resolve(name)
    assert str(caught.value) == f"worker class {name} {line}"


def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"gevent needs a package: pip install 'canter\[gevent\]'"):
        workers.check("gevent")


CHECK = """
import sys
from canter import workers
try:
    workers.check('gevent')
except Exception:
    pass
print([name for name in ('gevent', 'canter.workers.gevent', 'canter.workers.base') if name in sys.modules])
"""


def test_a_check_loads_no_worker() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
