"""``canter-bench``, and ``python -m canter.bench``: the command, once its packages are there."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; one line where the extra is not installed."""
    try:
        import rich  # noqa: F401  (used only when there is something to show)

        from canter.bench import cli
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("hdrh", "rich"):
            raise
        print(f"canter-bench: no package {error.name!r}: pip install 'canter[bench]'", file=sys.stderr)
        return 2
    cli.end_on_signals()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
