"""The harness of the cost tables, as far as it is pure: commands, wrk's report, claims, the table."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from canter.bench import cost, cost_page, wrk
from canter.bench.claims import CLAIMS, Claim, judge, middle, verdicts
from canter.bench.cost import SCENARIOS, claims_table, peer, table
from canter.bench.measure import Wrong, application
from canter.bench.peers import PEERS, Environment
from canter.bench.versus import differences

REPORT = """Running 3s test @ http://127.0.0.1:8765/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   145.77us  103.82us   2.78ms   97.02%
    Req/Sec   133.71k    12.36k  144.27k    83.87%
  Latency Distribution
     50%  119.00us
     99%    1.29ms
  412236 requests in 3.10s, 50.32MB read
  Socket errors: connect 0, read 3, write 0, timeout 2
  Non-2xx or 3xx responses: 7
Requests/sec: 132911.61
"""


def test_wrk_report() -> None:
    counts = wrk.read(REPORT)
    assert (counts.requests, counts.seconds, counts.errors) == (412236, 3.1, 12)
    assert counts.p50 == pytest.approx(119e-6)
    assert counts.rate == pytest.approx(412236 / 3.1)


def test_wrk_that_says_something_else() -> None:
    with pytest.raises(wrk.WrkFailed, match="unable to connect"):
        wrk.read("unable to connect to 127.0.0.1:1")


def test_every_server_of_every_scenario_is_declared_and_every_command_can_be_filled_in() -> None:
    values = dict.fromkeys(("bin", "python", "port", "module", "name", "connections", "keep"), 1)
    for scenario in SCENARIOS.values():
        for name in scenario.servers:
            declared = peer(name)
            assert application(declared, scenario.hello)
            if declared.interface != "raw":
                words = PEERS[name].words(app="m:app", threads=64, workers=3, log="L", **values)
                assert "{" not in "".join(words)


def test_every_claim_is_about_something_that_is_measured() -> None:
    for claim in CLAIMS:
        assert claim.ours in SCENARIOS[claim.scenario].servers
        for name in claim.peers:
            assert name in SCENARIOS[claim.theirs_in or claim.scenario].servers
        assert bool(claim.limit) != bool(claim.peers)


def test_an_environment_knows_what_is_installed() -> None:
    here = Environment(sys.executable)
    assert here.missing(PEERS["canter-sync"]) == []
    assert here.version(PEERS["canter-sync"])
    assert here.missing(PEERS["bjoern"]) == ["bjoern"]


RECORDED = {
    "hello": {
        "canter-sync": [{"us": 10.0, "rate": 1000.0}, {"us": 12.0, "rate": 900.0}, {"us": 50.0}],
        "bjoern": [{"us": 18.0, "rate": 500.0}],
        "granian": [{"us": 9.0, "rate": 700.0}],
    },
    "idle": {"canter-sync": [{"idle_kib": 2.0, "idle_ratio": 1.3}]},
}


def test_medians() -> None:
    rounds = RECORDED["hello"]["canter-sync"]
    assert (middle(rounds, "us"), middle(rounds, "rate"), middle(rounds, "none")) == (12.0, 950.0, None)


@pytest.mark.parametrize(
    ("claim", "against", "ratio", "held"),
    [
        (Claim("", "hello", "canter-sync", ("bjoern", "granian")), "granian", 0.75, False),
        (Claim("", "hello", "canter-sync", ("bjoern",), least=1.5), "bjoern", 1.5, True),
        (Claim("", "hello", "canter-sync", ("bjoern", "granian"), "rate"), "granian", 950 / 700, True),
        (Claim("", "idle", "canter-sync", metric="idle_kib", limit=2.5), "2.5", 1.25, True),
        (Claim("", "idle", "canter-sync", metric="idle_ratio", limit=1.15), "1.15", 1.15 / 1.3, False),
    ],
)
def test_verdicts(claim: Claim, against: str, ratio: float, held: bool) -> None:
    found = judge(claim, RECORDED)
    assert found is not None
    assert (found.against, found.held) == (against, held)
    assert found.ratio == pytest.approx(ratio)


def test_what_was_not_measured_is_not_judged() -> None:
    assert judge(Claim("", "hello", "canter-gevent", ("bjoern",)), RECORDED) is None
    assert judge(Claim("", "hello", "canter-sync", ("peregrine",)), RECORDED) is None
    texts = [verdict.claim.text for verdict in verdicts(RECORDED)]
    assert "hello, sync: fastest native server" in texts
    assert "hello: gunicorn gthread" not in texts


def test_table() -> None:
    text = table(SCENARIOS["hello"], RECORDED["hello"], {"freastal": "it ended with 1"})
    lines = text.splitlines()
    assert lines[0] == "hello, keep-alive"
    assert [line.split()[0] for line in lines[3:6]] == ["granian", "canter-sync", "bjoern"]
    assert lines[5].endswith("18-18    1.50")
    assert lines[-1] == "freastal: out, it ended with 1"
    assert "MISSED    0.75 x, wanted 0.9 (goal 1.1)  hello, sync" in claims_table(verdicts(RECORDED))


def test_a_server_that_answers_wrong_is_out_and_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def once(bench, scenario, server):
        seen.append(server.name)
        if server.name == "raw":
            raise Wrong("/ is answered with 500")
        return {"us": 1.0}

    monkeypatch.setattr(cost, "once", once)
    scenario = SCENARIOS["hello"]
    figures, refused = cost.run(None, scenario, 3)  # type: ignore[arg-type]
    assert refused == {"raw": "/ is answered with 500"}
    assert len(figures["canter-sync"]) == 3
    assert seen.count("raw") == 1
    assert seen[1 : len(scenario.servers)] == list(scenario.servers[1:])


def test_differences() -> None:
    rate, latency = differences((110.0, 0.95), (100.0, 1.0))
    assert rate == pytest.approx(0.1)
    assert latency == pytest.approx(0.05)


def test_the_page_of_figures() -> None:
    """Claims with what they were judged by, then a table a scenario, of several records."""
    machine = {"date": "2026-11-25T20:00:00", "cpu": "X", "cores": 2, "system": "Linux", "python": "CPython"}
    common = {"machine": machine, "seconds": 2.0, "versions": {"canter-sync": "1", "bjoern": "3.2"}}
    rounds = {"canter-sync": [{"us": 8.0}, {"us": 10.0}], "bjoern": [{"us": 12.0}, {"us": 12.0}]}
    hello = {**common, "figures": {"hello": rounds}, "out": {"hello": {"freastal": "it is not there"}}}
    upload = {**common, "figures": {"upload": {"canter-sync": [{"us": 20.0}, {"us": 20.0}]}}, "out": {}}
    made = cost_page.text([hello, upload])
    assert "2 cores, Linux, CPython; 2 rounds of 2 s" in made
    assert "| hello, sync: fastest native server | 0.9 x | 1.1 x | 1.33 x | 9 | bjoern 12 |" in made
    assert "### Hello, keep-alive (`hello`)\n\n| server | CPU us | spread | x ours |" in made
    assert "| bjoern | 12 | 12-12 | 1.33 |\n\n- freastal: out, it is not there" in made
    assert "### 1 MiB upload (`upload`)" in made
    assert made.endswith("Versions: bjoern 3.2.")
    assert cost_page.MARKER in (Path(__file__).parents[2] / cost_page.PAGE).read_text()
