"""The documents lead nowhere that is not there, and name no command that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    inside = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in inside if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "Makefile"], ids=lambda path: path.name)
def test_make_targets(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(
        r"(?:`|^# +|^)(?:[A-Z]+=\S+ )*make ([a-z]+)", document.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(named) <= targets


def test_version() -> None:
    """One version: of the package, of the distribution and of the newest changes."""
    import canter

    project = re.search(
        r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    changes = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert project
    assert changes
    assert project[1] == changes[1] == canter.__version__
