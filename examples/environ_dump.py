"""What the server tells the application about a request: one line for each variable.

canter --chdir examples environ_dump:app
"""


def app(environ, start_response):
    lines = (f"{name}: {value}\n" for name, value in sorted(environ.items()))
    body = "".join(lines).encode("utf-8", "backslashreplace")
    start_response(
        "200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    )
    return [body]
