"""The load generator's process: ``python -m canter.bench.load URL`` and, for tests, `run_load`.

The generator always runs in a process of its own, so that neither a test's threads nor
its interpreter lock get into the figures. It talks to this machine only, unless told
otherwise; it retries nothing; and it ends by itself: after its duration or its number
of requests, plus at most its time-out for the answers that are still out.

    result = run_load("http://127.0.0.1:8000/echo", method="POST", body=10_000, check="echo",
                      requests=200_000, connections=64, fresh=0.1, abort=0.05)
    assert not result.errors, result.examples
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from canter.bench.plan import CHECKS, Load, PlanError, Target, parse_url, require_loopback
from canter.bench.result import Result

_TARGET_FIELDS = {each.name for each in fields(Target)} - {"path"}
_SPARE_FILES = 64
T = TypeVar("T")


class LoadFailed(RuntimeError):
    """The generator itself did not come to an end; the text is its standard error."""


def plan(url: str, *, targets: Iterable[Target] = (), **settings: Any) -> Load:
    """The load for `url`. Settings are fields of `Load` and of its first `Target`.

    `targets` are further kinds of request on the same server, by weight; a target for
    one slow answer in fifty is ``Target("/echo?ms=200", check="echo", weight=1 / 49)``.
    """
    address = parse_url(url)
    own = {name: settings.pop(name) for name in list(settings) if name in _TARGET_FIELDS}
    first = Target(path=address.path, **own)
    return Load(address.host, address.port, (first, *targets), **settings)


def run_load(url: str, *, targets: Iterable[Target] = (), **settings: Any) -> Result:
    """Load `url` from a process of its own and wait for the result; settings as for `plan`."""
    return run(plan(url, targets=targets, **settings))


def run(load: Load, progress: Callable[[dict[str, float]], None] | None = None) -> Result:
    """Run a load in a process of its own."""
    process = start(load, progress=progress is not None)
    return finish(process, progress)


def start(load: Load, *, progress: bool = False) -> subprocess.Popen[str]:
    """Start the generator's process; `finish` waits for it. The load is not checked before it starts."""
    command = [sys.executable, "-m", "canter.bench.load", "--plan", *(["--progress"] if progress else [])]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(load.to_json())
    process.stdin.close()
    process.stdin = None
    return process


def finish(
    process: subprocess.Popen[str], progress: Callable[[dict[str, float]], None] | None = None
) -> Result:
    """Wait for a generator that `start` started; it is killed where this is interrupted."""
    assert process.stdout is not None
    assert process.stderr is not None
    notes: list[str] = []
    reader = threading.Thread(target=_read_progress, args=(process.stderr, progress, notes), daemon=True)
    reader.start()
    try:
        with process.stdout:
            output = process.stdout.read()
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        reader.join()
        process.stderr.close()
    if code:
        raise LoadFailed("".join(notes).strip() or f"the load generator ended with {code}")
    return Result.from_json(output)


def _read_progress(
    stream: Iterable[str], progress: Callable[[dict[str, float]], None] | None, notes: list[str]
) -> None:
    for line in stream:
        if progress is not None and line.startswith('{"at"'):
            progress(json.loads(line))
        else:
            notes.append(line)


def command(load: Load) -> str:
    """The command line that sends a load again."""
    first, *rest = load.targets
    host = f"[{load.host}]" if ":" in load.host else load.host
    words = ["python", "-m", "canter.bench.load", f"http://{host}:{load.port}{first.path}"]
    if rest:
        return f"{shlex.join([*words[:3], '--plan'])} <<< {shlex.quote(load.to_json())}"
    for name, value in first.headers:
        words += ["--header", f"{name}: {value}"]
    own = ((each.name, getattr(first, each.name), each.default) for each in fields(Target))
    general = ((each.name, getattr(load, each.name), each.default) for each in fields(Load))
    skipped = ("path", "headers", "weight", "name", "host", "port", "targets", "ids")
    for name, value, default in (*own, *general):
        if name in skipped or value == default:
            continue
        words += [f"--{name.replace('_', '-')}"] if value is True else [f"--{name}", f"{value}"]
    return shlex.join(words if load.ids else [*words, "--no-ids"])


# -- the process ----------------------------------------------------------------------


def generate(load: Load, *, progress: bool = False) -> Result:
    """Run a load in this process."""
    from canter.bench.engine import Generator

    address = require_loopback(load)
    if load.cpu >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {load.cpu})
    raise_file_limit(load.connections + load.idle + load.dribblers)
    gc.set_threshold(100_000)  # connections make the only cycles, and break them when they close

    def tell(values: dict[str, float]) -> None:
        print(json.dumps(values), file=sys.stderr, flush=True)

    async def main() -> Result:
        return await Generator(load, address, tell if progress else None).run()

    return run_loop(main)


def run_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end, on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def raise_file_limit(connections: int) -> None:
    """Allow this process so many connections beside its other files."""
    wanted = connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted > hard != resource.RLIM_INFINITY:
        raise PlanError(f"{wanted} descriptors are needed, but the hard limit is {hard} (ulimit -Hn)")
    if wanted > soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m canter.bench.load",
        description="Send a load to an HTTP server on this machine and print what came of it as JSON.",
    )
    add = parser.add_argument
    add("url", nargs="?", help="http://127.0.0.1:PORT/PATH")
    add("-c", "--connections", type=int, default=32, metavar="N")
    add("-d", "--duration", type=float, default=5.0, metavar="S", help="seconds to measure")
    add("-w", "--warmup", type=float, default=0.0, metavar="S", help="seconds before that")
    add("-n", "--requests", type=int, default=0, metavar="N", help="stop after N requests")
    add("-r", "--rate", type=float, default=0.0, metavar="N", help="N arrivals a second (open loop)")
    add("--arrivals", choices=("even", "poisson"), default="even")
    add("-m", "--method", default="GET")
    add("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'")
    add("-b", "--body", type=int, default=0, metavar="N", help="octets of a generated body")
    add("--content", default="", help="the body itself")
    add("--chunked", action="store_true", help="send the body in chunks")
    add("--timed", action="store_true", help="record the time to the first octet and between pieces")
    add("--check", choices=CHECKS, default="status", help="what a right answer is")
    add("--status", type=int, default=200, help="the right status; 0: any below 400")
    add("--length", type=int, default=0, metavar="N", help="octets of a right body")
    add("--slow", default="", metavar="SHARE:PATH", help="send this share of requests to PATH instead")
    add("--fresh", type=float, default=0.0, metavar="SHARE", help="of requests that close their connection")
    add("--abort", type=float, default=0.0, metavar="SHARE", help="of requests whose client leaves early")
    add("--idle", type=int, default=0, metavar="N", help="idle connections beside the load")
    add("--dribblers", type=int, default=0, metavar="N", help="slow clients beside the load")
    add("--timeout", type=float, default=30.0, metavar="S")
    add("--no-ids", dest="ids", action="store_false", help="send no X-Request-Id")
    add("--seed", type=int, default=1)
    add("--cpu", type=int, default=-1, metavar="N", help="core to run on")
    add("--allow-remote", action="store_true", help="load a server that is not this machine")
    add("--progress", action="store_true", help="a line of JSON on standard error now and then")
    add("--plan", action="store_true", help="read the whole load as JSON from standard input")
    return parser


def _load_of(args: argparse.Namespace) -> Load:
    """The load that the command line describes."""
    settings = {each.name: getattr(args, each.name) for each in fields(Load) if hasattr(args, each.name)}
    headers = [header.partition(":") for header in args.header]
    own = {name: getattr(args, name) for name in ("method", "body", "content", "chunked", "check", "timed")}
    own |= {"status": args.status, "length": args.length}
    own["headers"] = tuple((name.strip(), value.strip()) for name, _, value in headers)
    targets = []
    if args.slow:
        share, _, path = args.slow.partition(":")
        own["weight"] = 1 - float(share)
        targets.append(Target(path, **{**own, "weight": float(share)}))
    return plan(args.url, targets=targets, **own, **settings)


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        if args.plan:
            load = Load.from_json(sys.stdin.read())
        elif args.url:
            load = _load_of(args)
        else:
            parser.error("a URL is needed")
        result = generate(load, progress=args.progress)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result.to_dict()) if args.plan else json.dumps(result.to_dict(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
