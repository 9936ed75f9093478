"""The coverage-guided targets: python target.py parser|differential [libFuzzer's options and corpora].

Run by __main__.py, with the compiled rooms built for it.
"""

from __future__ import annotations

import sys

import atheris


def differential(data: bytes) -> None:
    from tests.fuzz.differential import compare

    for finding in compare(data):
        if finding.explained is None:
            raise AssertionError(str(finding))


def main() -> None:
    name = sys.argv.pop(1)
    if name == "parser":
        from tests.fuzz.invariants import check as target
    else:
        with atheris.instrument_imports(include=["h11"]):
            import h11  # noqa: F401  # instrumented, for the differential
        target = differential
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
