"""No setting is parsed and ignored: each is read somewhere outside its declaration."""

from __future__ import annotations

import re
from pathlib import Path

from canter.config import SETTINGS

ROOT = Path(__file__).parents[2]

# Declared, and not used by any code yet. It may only shrink.
PENDING: set[str] = set()


def _sources() -> str:
    """The text of the server but the declarations and Gunicorn's tables."""
    declared = {"config.py", "gunicorn.py"}
    folders = [ROOT / "core", ROOT / "workers"]
    files = [file for folder in folders for kind in ("*.py", "*.pyx") for file in folder.rglob(kind)]
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.name not in declared)


def _unused() -> set[str]:
    """Settings read neither as ``cfg.name``, nor by what ``Config`` makes of them, nor by a quoted name."""
    found = re.findall(r"\b(?:cfg|config)\.(\w+)|[\"'](\w+)[\"']", _sources())
    used = {attribute or quoted for attribute, quoted in found}
    made_of = {"user": "uid", "group": "gid"}
    return {name for name in SETTINGS if not {name, made_of.get(name)} & used}


def test_every_setting_is_used() -> None:
    unused = _unused()
    assert unused <= PENDING, f"no code uses {sorted(unused - PENDING)}"
    assert unused == PENDING, f"now used, take out of PENDING: {sorted(PENDING - unused)}"
