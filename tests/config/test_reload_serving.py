"""``--reload`` on a real server: an edit is served, an edit that does not load harms nothing."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from canter.testing import Server, serve

DEADLINE = 30

PAGE = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%s"]
"""


def wait_for_answer(server: Server, text: str) -> None:
    """Ask until the answer is ``text``; every answer on the way must be a good one."""
    deadline = time.monotonic() + DEADLINE
    with httpx.Client(base_url=server.url, timeout=DEADLINE) as client:
        while (answer := client.get("/")).text != text:
            assert answer.status_code == 200
            assert time.monotonic() < deadline, server.log
            time.sleep(0.1)


def test_an_edit_is_served(tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text(PAGE % "one")
    with serve("page:app", cwd=tmp_path, reload=True) as server:
        wait_for_answer(server, "one")
        page.write_text(PAGE % "edited")
        wait_for_answer(server, "edited")
        page.write_text("not python at all")
        server.wait_log("Reload called off")
        wait_for_answer(server, "edited")
        page.write_text(PAGE % "mended")
        wait_for_answer(server, "mended")
        assert f"{page} changed: reloading" in server.log
