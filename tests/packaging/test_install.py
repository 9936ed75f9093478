"""Canter as its users install it: from the source tree, editable, from the wheel, from the sdist.

Each goes into a virtual environment of its own, in which nothing else is installed
but this one's build tools, and must answer a request there. The source tree is a copy,
together with what is already compiled; the sdist is compiled from scratch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "tests/packaging/smoke.py"
FOLDERS = ("core", "workers", "bench")


def run(*command: object, cwd: Path | None = None, **environ: str) -> str:
    """What the command prints, which must succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def pip(*arguments: object, environment: Path | None = None) -> str:
    """pip of this environment, for another where one is given. No build isolation: no index is asked."""
    where = ["--python", python_of(environment)] if environment else []
    command, *rest = arguments
    return run(sys.executable, "-m", "pip", *where, command, "--quiet", "--no-build-isolation", *rest)


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def copy_distribution(name: str, target: Path) -> None:
    """Copy an installed distribution, ages included: a newer Cython would compile everything again."""
    for file in metadata.files(name) or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            copy = target / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file.locate(), copy)


def answers(environment: Path, cwd: Path) -> Path:
    """Canter of that environment answers a request, its command is there; where it lies."""
    said = run(python_of(environment), "-W", "error", SMOKE, cwd=cwd)
    assert "answers on Python" in said
    assert run(environment / "bin" / "canter", "--version", cwd=cwd).startswith("canter ")
    return Path(said.split(" of ")[1].split(" answers ")[0])


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A new virtual environment that holds the build tools alone."""
    folder = tmp_path / "venv"
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in ("setuptools", "Cython"):
        copy_distribution(name, packages)
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository: its sources, and the compiled rooms so far."""
    folder = tmp_path_factory.mktemp("tree") / "canter"
    folder.mkdir()
    for name in (
        "pyproject.toml",
        "setup.py",
        "MANIFEST.in",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
    ):
        shutil.copy2(ROOT / name, folder)
    ignored = shutil.ignore_patterns("__pycache__", "*.sqlite3")
    for name in (*FOLDERS, "tests", "examples", "docs", ".ci"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for compiled in (*(ROOT / "build").glob("lib.*"), *(ROOT / "build").glob("temp.*")):
        shutil.copytree(compiled, folder / "build" / compiled.name)
    return folder


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "setup.py", "-q", "sdist", "--dist-dir", folder, cwd=tree)
    (archive,) = folder.glob("canter-*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", folder, tree)
    (archive,) = folder.glob("canter-*.whl")
    return archive


def sources(*suffixes: str) -> set[str]:
    """Sources of the package with these suffixes, by their place in the repository."""
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in suffixes)
    return {path.relative_to(ROOT).as_posix() for path in found}


def in_package(source: str) -> str:
    """The place in the package of a source of the repository."""
    return f"canter/{source.removeprefix('core/')}"


def test_content_of_the_sdist(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert sources(".py", ".pyx", ".pxd", ".pyi", ".h") <= names
    assert {"core/py.typed", "examples/hello.py", "tests/packaging/smoke.py", "Makefile", ".ci/run"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc")) or name.startswith("build")]
    assert not [name for name in names if name.startswith("core/") and name.endswith(".c")]


def test_content_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {in_package(source) for source in sources(".py", ".pxd", ".pyi", ".h")} <= names
    assert "canter/py.typed" in names
    compiled = {name.partition(".")[0] for name in names if name.endswith(".so")}
    assert compiled == {in_package(source).removesuffix(".pyx") for source in sources(".pyx")}
    assert {name.partition("/")[0] for name in names} == {"canter", wheel.name.split("-cp")[0] + ".dist-info"}


def test_sdist(sdist: Path, environment: Path, tmp_path: Path) -> None:
    pip("install", sdist, environment=environment)
    assert answers(environment, tmp_path).is_relative_to(environment)


def test_wheel(wheel: Path, environment: Path, tmp_path: Path) -> None:
    pip("install", wheel, environment=environment)
    assert answers(environment, tmp_path).is_relative_to(environment)


def test_plain(tree: Path, environment: Path, tmp_path: Path) -> None:
    pip("install", tree, environment=environment)
    assert answers(environment, tmp_path).is_relative_to(environment)


def test_editable(tree: Path, environment: Path, tmp_path: Path) -> None:
    pip("install", "--editable", tree, environment=environment)
    assert answers(environment, tmp_path) == tree / "core"
    show = "import canter.workers, canter.bench; print(canter.workers.__file__, canter.bench.__file__)"
    places = run(python_of(environment), "-c", show, cwd=tmp_path).split()
    assert places == [str(tree / "workers/__init__.py"), str(tree / "bench/__init__.py")]


def test_no_compiler(tree: Path, tmp_path: Path) -> None:
    """What pip shows at the end says what to install."""
    command = [
        sys.executable,
        "setup.py",
        "-q",
        "build_ext",
        "--build-lib",
        tmp_path,
        "--build-temp",
        tmp_path,
    ]
    done = subprocess.run(
        [str(word) for word in command],
        cwd=tree,
        env=os.environ | {"CC": "/nowhere/cc"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert "apt install gcc libc6-dev python3-dev" in done.stderr.splitlines()[-1]
