#!/usr/bin/env python3
"""The coverage-guided targets; FUZZ_TARGET names one, the arguments are libFuzzer's options and corpora.

Run by __main__.py, with the compiled rooms built for it. To merge corpora libFuzzer
runs this file again by its path and with its own arguments alone, which is why it is
executable and why the name comes in the environment.
"""

from __future__ import annotations

import os
import sys

import atheris


def differential(data: bytes) -> None:
    from tests.fuzz.differential import compare

    for finding in compare(data):
        if finding.explained is None:
            raise AssertionError(str(finding))


def main() -> None:
    if os.environ["FUZZ_TARGET"] == "parser":
        from tests.fuzz.invariants import check as target
    elif os.environ["FUZZ_TARGET"] == "answers":
        from tests.fuzz.answers import check as target
    else:
        with atheris.instrument_imports(include=["h11"]):
            import h11  # noqa: F401  # instrumented, for the differential
        target = differential
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
