"""A form sent with POST: its fields come in the body.

canter --chdir examples form_post:app
"""

from html import escape
from urllib.parse import parse_qs

LONGEST = 64 * 1024  # a form this small is read at once; larger things go to upload.py

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>A POST form</title>
<form method="post">
  <p><label>Name <input name="name" value="{name}"></label></p>
  <p><label>Message <textarea name="message">{message}</textarea></label></p>
  <p><button>Send</button></p>
</form>
<p>Name: <b>{name}</b></p>
<p>Message: <b>{message}</b></p>
</html>
"""


def app(environ, start_response):
    fields = {}
    if environ["REQUEST_METHOD"] == "POST":
        # The input ends where the body ends, also where the client did not say how long it is.
        data = environ["wsgi.input"].read(LONGEST + 1)
        if len(data) > LONGEST:
            return answer(start_response, "413 Content Too Large", "This form is too long.\n")
        fields = parse_qs(data.decode("utf-8", "replace"))
    shown = {name: escape(fields.get(name, [""])[0]) for name in ("name", "message")}
    return answer(start_response, "200 OK", PAGE.format(**shown))


def answer(start_response, status, text):
    body = text.encode()
    start_response(status, [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
