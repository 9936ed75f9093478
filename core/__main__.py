"""``python -m canter``: the same as the command ``canter``."""

import sys

from canter.cli import main

if __name__ == "__main__":
    sys.exit(main())
