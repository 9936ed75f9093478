"""The parser does what docs/http-policy.md says of requests, however they are cut."""

from __future__ import annotations

import pytest

from tests.http.feeding import three_ways
from tests.policy import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    outcome = three_ways(case.request, case.settings)
    assert outcome.status == case.status, outcome.detail
    if case.status is not None:
        assert outcome.in_body == case.late
        return
    request = outcome.request
    assert request is not None
    assert request.keep_alive != case.closes
    assert outcome.body == case.body
    assert request.has_body == bool(case.body) or request.chunked
    assert request.expect_continue == case.expects
    environ = request.environ({"SCRIPT_NAME": ""})
    assert {key: environ.get(key) for key in case.environ} == case.environ
    assert not [key for key in case.absent if key in environ]


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
