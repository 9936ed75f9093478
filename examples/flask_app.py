"""A Flask application, nothing special about it.

canter --chdir examples flask_app:app
"""

import time
from math import isqrt

from flask import Flask, jsonify, redirect, render_template_string, request, session, url_for

app = Flask(__name__)
app.secret_key = "a secret of this example only"

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Flask</title>
<p>Hello, {{ name }}! You were here {{ visits }} times.</p>
<form method="post" action="{{ url_for('rename') }}">
  <label>Your name <input name="name" value="{{ name }}"></label> <button>Save</button>
</form>
<p><a href="{{ url_for('count', last=10) }}">A streamed answer</a></p>
<p><a href="{{ url_for('about') }}">JSON</a></p>
</html>
"""


@app.get("/")
def index():
    session["visits"] = session.get("visits", 0) + 1
    return render_template_string(PAGE, name=session.get("name", "stranger"), visits=session["visits"])


@app.post("/name")
def rename():
    session["name"] = request.form["name"]
    return redirect(url_for("index"))


@app.get("/count/<int:last>")
def count(last):
    """Sent piece by piece: the length is not known before the last."""
    return app.response_class((f"{number}\n" for number in range(1, last + 1)), mimetype="text/plain")


@app.get("/wait/<int:ms>")
def wait(ms):
    """A call to another service, as a server sees it: time passes, and nothing is computed."""
    time.sleep(ms / 1000)
    return {"waited": ms}


@app.get("/primes/<int:limit>")
def primes(limit):
    """Computing, and nothing else."""
    numbers = range(2, limit)
    found = [number for number in numbers if all(number % by for by in range(2, isqrt(number) + 1))]
    return {"primes": len(found)}


@app.get("/about")
def about():
    return jsonify(method=request.method, url=request.url, multithread=request.is_multithread)
