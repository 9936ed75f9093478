"""How an example is run and visited here."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from canter.testing import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@contextmanager
def _visit(app: str, folder: str = ".", **settings: Any) -> Iterator[httpx.Client]:
    with (
        serve(app, cwd=EXAMPLES / folder, **settings) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def visit() -> Callable[..., AbstractContextManager[httpx.Client]]:
    """``with visit("hello:app") as client``: a browser at the example, which runs for that long."""
    return _visit


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a guest book with a database and an administrator, ada, of its own."""
    path = tmp_path_factory.mktemp("guestbook") / "guestbook.sqlite3"
    variables = {"GUESTBOOK_DATABASE": str(path), "DJANGO_SUPERUSER_PASSWORD": "correct horse"}
    for command in (
        ["migrate", "-v0"],
        ["createsuperuser", "--noinput", "--username=ada", "--email=ada@a.example"],
    ):
        subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=EXAMPLES / "django_site",
            env=os.environ | variables,
            check=True,
            timeout=100,
        )
    return variables
