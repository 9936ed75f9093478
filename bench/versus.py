"""The benchmark of the benchmark: our generator held against `wrk`, in turns.

``python -m canter.bench.versus`` finds what each generator can do against the raw
epoll loop, slows that loop down to 70 % of the slower one, and then lets both load it
with 32 connections. Two generators that measure the same thing now see the same rate
and the same median latency: they have to agree within 10 %.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from statistics import median

from canter.bench import load, wrk
from canter.bench.measure import LOAD_CPU, SERVER_CPU, build_raw, workplace
from canter.bench.server import Server, free_port

AGREE = 0.10
SHARE = 0.70
Seen = tuple[float, float]
"""Rate and median latency."""


def ours(url: str, seconds: float) -> Seen:
    headers = [header.partition(": ") for header in wrk.BROWSER]
    pairs = tuple((name, value) for name, _, value in headers)
    result = load.run_load(url, headers=pairs, ids=False, duration=seconds, warmup=0.2, cpu=LOAD_CPU)
    return result.rate, result.latency.percentile(50)


def theirs(url: str, seconds: float) -> Seen:
    counts = wrk.run(url, seconds=seconds, cpu=LOAD_CPU)
    return counts.rate, counts.p50


def compare(rounds: int, seconds: float) -> list[tuple[str, Seen, Seen]]:
    """What both see of the raw loop at full speed, then of the slowed one."""
    with workplace() as folder:
        program = build_raw(folder)

        def serve(spin: float) -> tuple[Seen, Seen]:
            port = free_port()
            command = [program, str(port), str(spin)]
            with Server(command, port, cpus={SERVER_CPU}, log=folder / "raw.log"):
                url = f"http://127.0.0.1:{port}/"
                pairs = [_pair(url, seconds, number) for number in range(rounds)]
            return _middle([own for own, _ in pairs]), _middle([other for _, other in pairs])

        full = serve(0)
        capacity = SHARE * min(full[0][0], full[1][0])
        spin = max(0.0, 1e6 / capacity - 1e6 / max(full[0][0], full[1][0]))
        return [("full speed", *full), (f"{spin:.1f} us of work", *serve(spin))]


def _pair(url: str, seconds: float, number: int) -> tuple[Seen, Seen]:
    """Both, another one first each time: neither always finds what the other left."""
    if number % 2:
        other = theirs(url, seconds)
        return ours(url, seconds), other
    return ours(url, seconds), theirs(url, seconds)


def _middle(seen: Sequence[Seen]) -> Seen:
    return median(rate for rate, _ in seen), median(latency for _, latency in seen)


def differences(own: Seen, other: Seen) -> tuple[float, float]:
    """How far apart they are, as shares of the other's figures."""
    return abs(own[0] / other[0] - 1), abs(own[1] / other[1] - 1)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m canter.bench.versus", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args(argv)
    busy = os.getloadavg()[0]
    found = compare(args.rounds, args.seconds)
    for name, own, other in found:
        rate, latency = differences(own, other)
        print(
            f"{name}: ours {own[0]:,.0f}/s, p50 {own[1] * 1e6:.0f} us; "
            f"wrk {other[0]:,.0f}/s, p50 {other[1] * 1e6:.0f} us; apart {rate:.1%}, {latency:.1%}"
        )
    (_, full_own, full_other), (_, own, other) = found
    reached = max(own[0], other[0]) / min(full_own[0], full_other[0])
    print(f"the slowed loop ran at {reached:.0%} of what the slower generator can do")
    if busy > 0.5:
        print(f"the machine was not idle before (load average {busy:.1f}): this tells little")
    agree = max(differences(*found[1][1:])) <= AGREE
    print("they agree within 10 %" if agree else "they do not agree within 10 %")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
