"""The smallest applications there can be: they measure the server and nothing else.

Neither this file nor what it defines imports anything, so the memory of a server that
runs it is the server's own.
"""

HELLO = b"Hello, world!"
WSGI_HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(HELLO)))]
ASGI_HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(HELLO))]


def wsgi(_environ, start_response):  # type: ignore[no-untyped-def]  # types would have to be imported
    start_response("200 OK", WSGI_HEADERS)
    return [HELLO]


async def asgi(scope, receive, send):  # type: ignore[no-untyped-def]  # likewise
    if scope["type"] == "lifespan":
        for step in "startup", "shutdown":
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": ASGI_HEADERS})
    await send({"type": "http.response.body", "body": HELLO})
