"""python autobahn.py URL CASE ...: what kosoku says of the server at URL, and of `websockets`' own.

A process of its own, and an environment (tests/pins/kosoku.txt), since kosoku puts stand-ins
for other packages among the modules.
The output is JSON: {"server": {CASE: [of the messages, of the close]}, "reference": ...}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys

from kosoku import FailureError, run_fuzzingclient
from websockets.asyncio.server import ServerConnection, serve

Verdicts = dict[str, tuple[str, str]]


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def verdicts(url: str, cases: list[str]) -> Verdicts:
    try:
        results = await run_fuzzingclient(url, cases, concurrency=4)
    except FailureError as error:
        results = error.results
    return {each.case_id: (each.behavior.value, each.behavior_close.value) for each in results}


async def main(url: str, *cases: str) -> dict[str, Verdicts]:
    logging.disable()  # the reference logs each case that breaks the protocol
    async with serve(echo, "127.0.0.1", 0, max_size=None, ping_interval=None) as reference:
        port = reference.sockets[0].getsockname()[1]
        return {
            "server": await verdicts(url, [*cases]),
            "reference": await verdicts(f"ws://127.0.0.1:{port}", [*cases]),
        }


print(json.dumps(asyncio.run(main(*sys.argv[1:]))), flush=True)
os._exit(0)  # kosoku's own threads may abort an interpreter that ends in order
