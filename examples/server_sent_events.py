"""Server-sent events with asynchronous WSGI: the time, once a second, to any number of clients.

    canter -k asyncio server_sent_events:app
    curl --no-buffer http://127.0.0.1:8000/

The result is an async generator: each piece is sent before the next is asked for. When
the client has left, the generator is cancelled where it waits, and closed. A client that
vanished without a word (its cable was pulled) is noticed only when something is sent to
it: what never has news should send a comment (a line that begins with a colon) now and then.
"""

import asyncio
from datetime import datetime, timezone

INTERVAL = 1  # seconds


async def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")])
    return events()


async def events():
    while True:
        yield f"data: {datetime.now(timezone.utc):%H:%M:%S}\n\n".encode()
        await asyncio.sleep(INTERVAL)
