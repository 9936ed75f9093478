"""Every form of APP_MODULE, and the message of every way to fail."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canter.config import Config
from canter.errors import AppImportError
from canter.gateway import loader

SHOP = """
def application(environ, start_response):
    return []

def create_app(name="plain", *, debug=False):
    made = lambda environ, start_response: []
    made.name, made.debug = name, debug
    return made

class Holder:
    inner = None

holder = Holder()
holder.inner = application
table = {}

def broken():
    return open("/no/such/data/base")

def nothing():
    return None

def leave():
    raise SystemExit("no data base")
"""

FILES = {
    "shop.py": SHOP,
    "only_app.py": "def app(environ, start_response): return []\n",
    "both.py": "application = {}\ndef app(environ, start_response): return []\n",
    "factory.py": "def make_app(): return len\n",
    "factories.py": "def create_app(): return len\ndef make_app(): return len\n",
    "demanding.py": "def create_app(name): return len\n",
    "empty.py": "x = 1\n",
    "inner.py": "import no_such_package.sub\n",
    "syntax.py": "x = = 1\n",
    "leaving.py": "import sys\nsys.exit(3)\n",
    "failing.py": "def connect():\n    raise ConnectionError('no data base')\n\nconnect()\n",
    "package/__init__.py": "",
    "package/web.py": "def app(environ, start_response): return []\n",
    "package/lost.py": "import package.nowhere\n",
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of small applications, on the import path."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    modules = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("shop", "application"),
        ("shop:application", "application"),
        ("shop:holder.inner", "application"),
        ("only_app", "app"),
        ("both", "app"),
        ("package.web", "app"),
        ("package.web:app", "app"),
        ("factory", "len"),
        ("factory:make_app()", "len"),
    ],
)
def test_found(spec: str, name: str) -> None:
    assert loader.load(spec).__name__ == name


def test_a_factory_gets_its_literals() -> None:
    made: Any = loader.load('shop:create_app("prod", debug=True)')
    assert (made.name, made.debug) == ("prod", True)
    assert loader.load("shop:create_app({'a': [1, -2.5, None]})").name == {"a": [1, -2.5, None]}


def test_an_application_object_is_one_already() -> None:
    assert loader.load(len) is len
    with pytest.raises(AppImportError, match="the application given is not callable: it is of type int"):
        loader.load(5)


FORM = "is not of the form module:name, module:object.attribute or module:factory(literals)"

NO_NAME = "has no callable named application, app, create_app, make_app: say which with empty:NAME"
NO_FIT = "does not fit the factory"

TYPED_WRONG = [
    ("no_such_module", "No module named 'no_such_module'"),
    ("no_such_module:app", "No module named 'no_such_module'"),
    ("package.nothing", "No module named 'package.nothing'"),
    ("shop.sub", "No module named 'shop.sub'; 'shop' is not a package"),
    ("shop.py:app", "No module named 'shop.py'; 'shop' is not a package; did you mean 'shop:app'?"),
    ("./shop.py", "'./shop.py' is no name of a module; did you mean 'shop'?"),
    ("package/web.py:app", "'package/web.py' is no name of a module; did you mean 'package.web:app'?"),
    ("", "'' is no name of a module"),
    ("shop:aplication", "module 'shop' has no 'aplication'; did you mean 'application'?"),
    ("shop:zzz", "module 'shop' has no 'zzz'"),
    ("shop:holder.iner", "'holder' of 'shop:holder.iner' has no 'iner'; did you mean 'inner'?"),
    ("shop:table", "'shop:table' is not callable: it is of type dict"),
    ("shop:table()", "the factory of 'shop:table()' is not callable: it is of type dict"),
    ("shop:nothing()", "'shop:nothing()' returned no application: it is None"),
    ("shop:create_app(1, 2)", f"'shop:create_app(1, 2)' {NO_FIT}: too many positional arguments"),
    ("shop:create_app(name)", f"'shop:create_app(name)' {FORM}"),
    ("shop:create_app(**{})", f"'shop:create_app(**{{}})' {FORM}"),
    ("shop:1 + 1", f"'shop:1 + 1' {FORM}"),
    ("shop:", f"'shop:' {FORM}"),
    ("shop:a b", f"'shop:a b' {FORM}"),
    ("empty", f"module 'empty' {NO_NAME}"),
    ("factories", "module 'factories' has several factories: say factories:create_app() or another"),
    ("demanding", f"'demanding:create_app()' {NO_FIT}: missing a required argument: 'name'"),
]


@pytest.mark.parametrize(("spec", "line"), TYPED_WRONG)
def test_what_was_typed_wrong_is_one_line(spec: str, line: str) -> None:
    with pytest.raises(AppImportError) as caught:
        loader.load(spec)
    assert str(caught.value) == line
    assert caught.value.traceback_text == ""
    assert caught.value.exit_code == 4


NO_IMPORT = "cannot be imported"

FAILED_INSIDE = [
    ("inner", f"module 'inner' {NO_IMPORT}: it imports 'no_such_package', which is not found", "inner.py"),
    ("package.lost", f"{NO_IMPORT}: it imports 'package.nowhere', which is not found", "lost.py"),
    ("syntax", f"module 'syntax' {NO_IMPORT}: SyntaxError: invalid syntax (syntax.py, line 1)", "syntax.py"),
    ("leaving", f"module 'leaving' {NO_IMPORT}: it called sys.exit(3)", "leaving.py"),
    ("failing", f"module 'failing' {NO_IMPORT}: ConnectionError: no data base", "in connect"),
    ("shop:broken()", "'shop:broken()' failed: FileNotFoundError: [Errno 2] No such file", "in broken"),
    ("shop:leave()", "'shop:leave()' failed: it called sys.exit('no data base')", "in leave"),
]


@pytest.mark.parametrize(("spec", "line", "place"), FAILED_INSIDE)
def test_what_failed_inside_keeps_its_traceback(spec: str, line: str, place: str) -> None:
    with pytest.raises(AppImportError, match=re.escape(line)) as caught:
        loader.load(spec)
    assert place in caught.value.traceback_text
    assert loader.__file__ not in caught.value.traceback_text, "the traceback is the application's alone"
    assert "importlib" not in caught.value.traceback_text


def test_an_interrupt_is_nobodys_failure(project: Path) -> None:
    (project / "interrupted.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        loader.load("interrupted")


def test_the_place_where_it_is_loaded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    loader.enter(Config(chdir=str(project / "package"), pythonpath=f"lib, {project}"))
    assert Path.cwd() == project / "package"
    assert sys.path[:3] == [str(project), str(project / "package/lib"), str(project / "package")]
    before = sys.path.copy()
    loader.enter(Config(chdir=str(project / "package"), pythonpath=f"lib, {project}"))
    assert sys.path == before


def test_the_environment_in_which_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_MODE", "test")
    loader.set_environment(Config(raw_env=["SHOP_MODE=live=yes"]))
    assert os.environ["SHOP_MODE"] == "live=yes"
