"""HTML to PNG with a headless Chromium: for the pictures of the documentation.

The page is looked at twice: once to learn how high it is, once for the picture.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip
_LIMIT = 120.0
_MEASURE = "<script>document.body.dataset.height = document.documentElement.scrollHeight</script></body>"


class NoPicture(RuntimeError):
    """There is no browser, or it made no picture; the text is one line."""


def browser() -> str:
    """The program; raises NoPicture where there is none."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise NoPicture("there is no chromium (Debian: apt-get install chromium)")
    return found


def png(html: str, target: Path, width: int) -> None:
    """Write what a browser window of this width shows of `html`, all of it."""
    with tempfile.TemporaryDirectory(prefix="canter-bench-") as folder:
        page = Path(folder) / "page.html"
        profile = Path(folder) / "profile"
        page.write_text(html.replace("</body>", _MEASURE), encoding="utf-8")
        shown = dump(page, profile, f"{width},200")
        height = re.search(r'data-height="(\d+)"', shown)
        if height is None:
            raise NoPicture("chromium does not say how high the page is")
        page.write_text(html, encoding="utf-8")
        target.unlink(missing_ok=True)
        _run(page, profile, f"{width},{height[1]}", f"--screenshot={target.absolute()}")
    if not target.exists():
        raise NoPicture(f"chromium did not write {target}")


def dump(page: Path, profile: Path, size: str) -> str:
    """The page's document in a window of that size ("width,height"), after its scripts have run."""
    return _run(page, profile, size, "--dump-dom")


def _run(page: Path, profile: Path, size: str, task: str) -> str:
    command = [browser(), *_FLAGS, f"--user-data-dir={profile}", f"--window-size={size}", task, page.as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=True)
    except subprocess.TimeoutExpired:
        raise NoPicture(f"chromium did not end within {_LIMIT:.0f} s") from None
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:]
        raise NoPicture(f"chromium ended with {error.returncode}: {''.join(last)}") from None
    return done.stdout
