"""After how many requests a worker is replaced."""

from __future__ import annotations

from canter.config import Config
from canter.workers.base import recycle_after


def test_jitter_spreads_what_max_requests_says():
    drawn = {recycle_after(Config(max_requests=100, max_requests_jitter=10)) for _ in range(1000)}
    assert drawn == set(range(100, 111))


def test_without_jitter_it_is_exact():
    assert recycle_after(Config(max_requests=100)) == 100


def test_jitter_alone_is_nothing():
    assert recycle_after(Config(max_requests_jitter=10)) == 0
