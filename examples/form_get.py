"""A form sent with GET: its fields come in the query string.

canter --chdir examples form_get:app
"""

from html import escape
from urllib.parse import parse_qs

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>A GET form</title>
<form method="get">
  <p><label>Age <input name="age" value="{age}"></label></p>
  <p>
    <label><input type="checkbox" name="hobbies" value="software"{software}> Software</label>
    <label><input type="checkbox" name="hobbies" value="horses"{horses}> Horses</label>
  </p>
  <p><button>Send</button></p>
</form>
<p>Age: <b>{age}</b></p>
<p>Hobbies: <b>{hobbies}</b></p>
</html>
"""


def app(environ, start_response):
    fields = parse_qs(environ["QUERY_STRING"])
    hobbies = fields.get("hobbies", [])
    page = PAGE.format(
        # What a visitor sends is text, never markup.
        age=escape(fields.get("age", [""])[0]),
        hobbies=escape(", ".join(hobbies)),
        software=" checked" if "software" in hobbies else "",
        horses=" checked" if "horses" in hobbies else "",
    )
    body = page.encode()
    start_response(
        "200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
    )
    return [body]
