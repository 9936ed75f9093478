"""The package as import-linter has to see it.

import-linter reads Python files alone, so a compiled room would be a wall to it.
``build/doors`` holds the package with a plain module in the place of each compiled
one: the import and cimport lines of its ``.pyx`` and ``.pxd``, and nothing else.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

# A whole statement: to the closing parenthesis, or to the end of the (continued) line.
IMPORT = re.compile(
    r"^[ \t]*((?:from[ \t]+[\w.]+[ \t]+)?c?import\b(?:[ \t]*\([^)]*\)|(?:[^\n\\#]|\\\n)*))",
    re.MULTILINE,
)


def imports(source: str) -> str:
    """The import statements of Cython code, as Python: a cimport is a door like any other."""
    statements = (re.sub(r"\bcimport\b", "import", found.strip()) for found in IMPORT.findall(source))
    return "".join(f"{statement}\n" for statement in statements)


def make(root: Path, target: Path) -> None:
    """Write the package of the repository at ``root`` to ``target / "canter"``."""
    shutil.rmtree(target, ignore_errors=True)
    places = {root / "core": target / "canter"}
    places |= {root / name: target / "canter" / name for name in ("workers", "bench")}
    for source, place in places.items():
        for path in sorted(source.rglob("*.py")):
            copy = place / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        for path in sorted([*source.rglob("*.pyx"), *source.rglob("*.pxd")]):
            module = (place / path.relative_to(source)).with_suffix(".py")
            with module.open("a", encoding="utf-8") as out:
                out.write(imports(path.read_text(encoding="utf-8")))
