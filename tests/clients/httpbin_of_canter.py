"""A pytest plugin for the suite of requests: its fixture `httpbin` is a server that runs already.

Tests that need TLS are deselected, and those that do not visit httpbin: they see nothing of
Canter, and some leave this machine (a name that must not resolve, an address that must not
answer). The report says how many and why. Runs in the environment of that suite.
"""

import os
from collections import defaultdict

import pytest

TLS = "needs TLS, which Canter leaves to a proxy"
ELSEWHERE = "does not visit httpbin: nothing of Canter's takes part"


class Httpbin:
    """What pytest-httpbin's fixture is to that suite: something with a URL."""

    def __init__(self, url):
        self.url = url


@pytest.fixture(scope="session")
def httpbin():
    return Httpbin(os.environ["HTTPBIN_URL"])


def reason(item):
    """Why a test is left out, or None."""
    fixtures = set(item.fixturenames)
    if fixtures & {"httpbin_secure", "httpbin_both", "httpbin_ca_bundle", "nosan_server"}:
        return TLS
    return None if "httpbin" in fixtures else ELSEWHERE


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    left_out = defaultdict(list)
    chosen = []
    for item in items:
        (left_out[why] if (why := reason(item)) else chosen).append(item)
    items[:] = chosen
    config.left_out = left_out
    config.hook.pytest_deselected(items=[item for group in left_out.values() for item in group])


def pytest_terminal_summary(terminalreporter, config):
    for why, items in config.left_out.items():
        named = sorted({item.nodeid.split("::", 1)[1].partition("[")[0] for item in items})
        what = ", ".join(named) if why == TLS else f"{len(named)} tests"
        terminalreporter.write_line(f"left out, {why}: {what}")
