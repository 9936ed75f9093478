"""``python -m canter.bench.interface APP``: prints which interface an application speaks.

In a process of its own, because loading an application may do anything. Told as the
server itself tells it, so that nothing is measured that it would refuse.
"""

from __future__ import annotations

import sys

from canter.errors import AppImportError
from canter.gateway import loader
from canter.gateway.interface import tell


def interface(app: object) -> str:
    """``asgi``, ``async_wsgi`` or ``wsgi``; the last, too, where the server will say what is wrong."""
    try:
        return tell(app).name.lower()
    except AppImportError:
        return "wsgi"


if __name__ == "__main__":
    sys.path.insert(0, "")
    print(interface(loader.load(sys.argv[1])))
