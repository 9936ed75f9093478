"""What counts as a change of the running program, and that it is noticed."""

from __future__ import annotations

import queue
import sys
from pathlib import Path
from types import ModuleType

import pytest

from canter.config import Config
from canter.observe.reloader import Watched, start_reloader

DEADLINE = 30


def module(path: Path) -> ModuleType:
    made = ModuleType(path.stem)
    made.__file__ = str(path)
    return made


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_module_that_changes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.py", "1"), write(tmp_path / "two.py", "2")
    watched = Watched({"one": module(tmp_path / "one.py"), "two": module(tmp_path / "two.py")}, [])
    assert watched.look() == []
    write(tmp_path / "neighbour.py", "x")
    assert watched.look() == []
    write(tmp_path / "two.py", "22")
    assert watched.look() == [two]
    assert watched.look() == [], "each change is told once"
    (tmp_path / "one.py").unlink()
    assert watched.look() == []
    write(tmp_path / "one.py", "11")
    assert watched.look() == [one]


def test_a_rename_over_it_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "one.py", "1")
    watched = Watched({"one": module(tmp_path / "one.py")}, [])
    write(tmp_path / "one.py.new", "123")
    (tmp_path / "one.py.new").rename(path)
    assert watched.look() == [path]


def test_a_module_imported_later(tmp_path: Path) -> None:
    modules = {"one": module(tmp_path / "one.py")}
    write(tmp_path / "one.py", "1")
    watched = Watched(modules, [])
    write(tmp_path / "late" / "two.py", "2")
    modules["two"] = module(tmp_path / "late" / "two.py")
    watched.take_in()
    assert watched.look() == []
    assert str(tmp_path / "late") in watched.folders()
    path = write(tmp_path / "late" / "two.py", "22")
    assert watched.look() == [path]


def test_extra_files_folders_and_patterns(tmp_path: Path) -> None:
    page = write(tmp_path / "pages" / "deep" / "page.html", "1")
    settings = write(tmp_path / "settings.yaml", "1")
    pattern = str(tmp_path / "*.toml")
    watched = Watched({}, [str(tmp_path / "pages"), settings, pattern])
    assert {str(tmp_path / "pages" / "deep"), str(tmp_path)} <= watched.folders()
    write(tmp_path / "settings.yaml", "12")
    assert watched.look() == [settings]
    new = write(tmp_path / "new.toml", "1")
    assert watched.look() == [new], "a new file that a pattern names is a change"
    Path(page).unlink()
    assert watched.look() == [page], "so is one that is gone"


def test_what_a_link_leads_to_is_watched(tmp_path: Path) -> None:
    write(tmp_path / "real" / "one.py", "1")
    (tmp_path / "one.py").symlink_to(tmp_path / "real" / "one.py")
    assert str(tmp_path / "real") in Watched({"one": module(tmp_path / "one.py")}, []).folders()


def test_odd_modules_are_left_alone(tmp_path: Path) -> None:
    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise ImportError(name)

    zipped = module(tmp_path / "library.zip" / "one.py")
    watched = Watched({"lazy": Lazy("lazy"), "int": 5, "zipped": zipped, "own": sys}, [])
    assert watched.folders() == set()
    assert watched.look() == []


def test_a_change_is_noticed(tmp_path: Path) -> None:
    """The file is written until it is noticed: the thread may begin to watch at any time."""
    file = tmp_path / "watched.txt"
    write(file, "")
    told: queue.Queue[str] = queue.Queue()
    stop = start_reloader(Config(reload_extra_files=[str(file)]), told.put)
    try:
        for turn in range(DEADLINE * 2):
            write(file, "x" * turn)
            try:
                assert told.get(timeout=0.5) == str(file)
                return
            except queue.Empty:
                continue
        pytest.fail("no change was noticed")
    finally:
        stop()
