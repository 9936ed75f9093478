"""What a server behind nginx is asked for: the load's applications, and what environ holds."""

import json

from canter.bench.apps import wsgi


def app(environ, start_response):
    if environ["PATH_INFO"] != "/environ":
        return wsgi(environ, start_response)
    body = json.dumps({key: value for key, value in environ.items() if type(value) is str}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
