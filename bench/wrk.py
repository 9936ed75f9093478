"""`wrk`, the C load generator: run it and read what it prints.

The cost of a request is measured under `wrk`, not under our own generator: it takes
less of the machine, and everybody has it.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: http://127.0.0.1/start",
    "Cookie: session=3f9a1c7be25d4806; theme=light; consent=yes",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Priority: u=0, i",
)
"""What a browser sends; with Host that makes twelve."""


class WrkFailed(RuntimeError):
    """wrk is not there or printed something else."""


@dataclass(frozen=True)
class Counts:
    """What one run of wrk says."""

    requests: int
    seconds: float
    errors: int
    p50: float
    """Median latency in seconds."""

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def run(
    url: str,
    *,
    seconds: float,
    connections: int = 32,
    headers: tuple[str, ...] = BROWSER,
    body: int = 0,
    cpu: int | None = None,
) -> Counts:
    """Load `url` with one thread; `body` octets are posted where there are any."""
    command = ["taskset", "-c", str(cpu)] if cpu is not None else []
    command += ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    command += ["--timeout", "30s"]
    for header in headers:
        command += ["-H", header]
    with tempfile.TemporaryDirectory() as folder:
        if body:
            script = Path(folder) / "post.lua"
            script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {body})\n')
            command += ["-s", str(script)]
        try:
            done = subprocess.run(
                [*command, url], capture_output=True, text=True, timeout=seconds + 60, check=True
            )
        except FileNotFoundError as error:
            raise WrkFailed(f"{error.filename} is not installed (Debian: apt-get install wrk)") from None
        except subprocess.CalledProcessError as error:
            raise WrkFailed(error.stderr.strip() or error.stdout.strip()) from None
    return read(done.stdout)


_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def read(text: str) -> Counts:
    """Read wrk's report."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", text)
    if total is None:
        raise WrkFailed(f"wrk printed {text[:200]!r}")
    socket_errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s|m)\b", text)
    errors = sum(map(int, socket_errors.groups())) if socket_errors else 0
    return Counts(
        requests=int(total[1]),
        seconds=float(total[2]) * _UNITS[total[3]],
        errors=errors + (int(refused[1]) if refused else 0),
        p50=float(median[1]) * _UNITS[median[2]] if median else 0.0,
    )
