"""Build of the compiled rooms.

Every ``.pyx`` below ``core/`` becomes the extension of the same place in the
package ``canter``. Cython does not know setuptools' ``package-dir``, so the
mapped layout is first made as a folder of symbolic links (``build/layout``) and
given to Cython as its include path.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parent
LAYOUT = Path("build/layout")


def make_layout() -> None:
    """Show ``core/``, ``workers/`` and ``bench/`` as the package ``canter``."""
    package = ROOT / LAYOUT / "canter"
    package.mkdir(parents=True, exist_ok=True)
    wanted = {entry.name: entry for entry in (ROOT / "core").iterdir() if entry.name != "__pycache__"}
    wanted |= {name: ROOT / name for name in ("workers", "bench")}
    for link in package.iterdir():
        if link.is_symlink() and link.name not in wanted:
            link.unlink()
    for name, target in wanted.items():
        link = package / name
        if not link.is_symlink() or link.resolve() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def extensions() -> list[Extension]:
    headers = [str(path) for path in sorted((Path("core")).rglob("*.h"))]
    found = []
    for source in sorted(Path("core").rglob("*.pyx")):
        name = ".".join(("canter", *source.relative_to("core").with_suffix("").parts))
        found.append(
            Extension(
                name,
                [source.as_posix()],
                include_dirs=["core"],
                depends=[*headers, *(str(path) for path in sorted(Path("core").rglob("*.pxd")))],
                extra_compile_args=["-O3", "-fno-strict-aliasing"],
            )
        )
    return found


class Build(build_ext):
    """Hands the mapped layout to Cython, and says what to install where there is no compiler."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.inplace or self.editable_mode:
            # Where a plain build compiles: an editable install and `make build` do not each begin anew.
            build = self.distribution.get_command_class("build")(self.distribution)
            build.ensure_finalized()
            self.build_lib, self.build_temp = build.build_lib, build.build_temp
        # Not with setup(options=...): an editable install forgets those.
        self.cython_include_dirs = [LAYOUT.as_posix()]
        self.cython_c_in_temp = True

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except CompileError as error:
            need = "a C compiler and Python.h (Debian, Ubuntu: apt install gcc libc6-dev python3-dev)"
            raise CompileError(f"{error}; the compiled rooms of canter need {need}") from error


make_layout()
setup(cmdclass={"build_ext": Build}, ext_modules=extensions())
