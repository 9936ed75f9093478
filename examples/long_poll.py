"""Long polling with asynchronous WSGI: `GET /` waits for news, `POST /` brings them.

    canter -k asyncio long_poll:app
    curl http://127.0.0.1:8000/ & curl -d 'It rains' http://127.0.0.1:8000/

A request that waits costs a few KiB and no thread. With several workers each process
has its own `waiting`: news then have to come through something that all of them hear,
such as Redis or PostgreSQL's LISTEN.
"""

import asyncio

PATIENCE = 25  # seconds; less than most proxies wait for an answer

waiting = set()  # a future for each client that waits


async def app(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        news = environ["wsgi.input"].read()  # received already: this never waits
        for client in waiting:
            client.set_result(news)
        told = len(waiting)
        waiting.clear()
        return answer(start_response, "200 OK", b"told %d\n" % told)
    client = asyncio.get_running_loop().create_future()
    waiting.add(client)
    try:
        news = await asyncio.wait_for(client, PATIENCE)
    except asyncio.TimeoutError:
        return answer(start_response, "204 No Content", b"")
    finally:
        waiting.discard(client)
    return answer(start_response, "200 OK", news)


def answer(start_response, status, body):
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
    return [body]
