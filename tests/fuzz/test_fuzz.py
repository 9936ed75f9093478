"""The short form of the fuzzing, always the same: what the long form found, and some thousand messages."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.answers import answers
from tests.fuzz.answers import check as check_answer
from tests.fuzz.differential import compare
from tests.fuzz.invariants import check
from tests.fuzz.mutation import messages
from tests.policy import CASES

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
REQUESTS = [case.request for case in CASES] + [path.read_bytes() for path in CORPUS]
MUTATIONS = list(islice(messages(seed=1), 4000))


@pytest.mark.parametrize(
    "octets", [pytest.param(REQUESTS, id="kept"), pytest.param(MUTATIONS, id="mutations")]
)
def test_every_cut_comes_to_the_same(octets: list[bytes]) -> None:
    for message in octets:
        check(message)


@pytest.mark.parametrize(
    "octets", [pytest.param(REQUESTS, id="kept"), pytest.param(MUTATIONS, id="mutations")]
)
def test_every_difference_to_other_parsers_is_explained(octets: list[bytes]) -> None:
    findings = [finding for message in octets for finding in compare(message)]
    assert findings
    assert not [finding for finding in findings if finding.explained is None]


def test_every_answer_is_one_answer() -> None:
    for handed_over in islice(answers(seed=1), 10_000):
        check_answer(handed_over)
