"""An installed Canter, run with the Python it is installed in, answers a request: `python smoke.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.request import urlopen

import canter
from canter.testing import serve

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

with serve("hello:app", cwd=EXAMPLES) as server, urlopen(server.url, timeout=30) as answer:
    assert answer.status == 200
    assert answer.read() == b"Hello, world!\n"
place = Path(canter.__file__).parent
print(f"canter {canter.__version__} of {place} answers on Python {sys.version.split()[0]}")
