"""Flask and Django, used as a visitor uses them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DJANGO = Path(__file__).resolve().parents[2] / "examples" / "django_site"


@pytest.fixture(scope="module")
def flask(visit):
    with visit("flask_app:app") as client:
        yield client


@pytest.fixture(scope="module")
def django(visit, database):
    with visit("guestbook.wsgi", "django_site", env=database, workers=2) as client:
        yield client


def test_flask_remembers(flask) -> None:
    assert "Hello, stranger! You were here 1 times." in flask.get("/").text
    answer = flask.post("/name", data={"name": "<Ada>"})
    assert (answer.status_code, answer.headers["location"]) == (302, "/")
    assert "Hello, &lt;Ada&gt;! You were here 2 times." in flask.get("/").text


def test_flask_streams(flask) -> None:
    answer = flask.get("/count/1000")
    assert answer.text.split() == [str(number) for number in range(1, 1001)]
    assert answer.headers["transfer-encoding"] == "chunked"


def test_flask_json(flask) -> None:
    about = flask.get("/about?a=1").json()
    assert about == {"method": "GET", "url": f"{flask.base_url}/about?a=1", "multithread": False}


def test_flask_errors(flask) -> None:
    assert flask.get("/nowhere").status_code == 404
    assert flask.post("/").status_code == 405
    assert flask.post("/name").status_code == 400


def token(page: str) -> str:
    """The hidden field that Django wants back with a form."""
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found
    return found[1]


def test_django_book(django) -> None:
    page = django.get("/").text
    written = {"name": "Ada", "message": "first <b>line</b>\nsecond", "csrfmiddlewaretoken": token(page)}
    answer = django.post("/", data=written)
    assert (answer.status_code, answer.headers["location"]) == (302, "/")
    assert "first &lt;b&gt;line&lt;/b&gt;<br>second" in django.get("/").text


def test_django_wants_its_token(django) -> None:
    assert django.post("/", data={"name": "Eve", "message": "hi"}).status_code == 403


def test_django_static_files(django) -> None:
    href = re.search(r'<link rel="stylesheet" href="([^"]+)"', django.get("/").text)
    assert href
    answer = django.get(href[1])
    assert answer.headers["content-type"].startswith("text/css")
    assert answer.content == (DJANGO / "guestbook/static/guestbook/book.css").read_bytes()
    assert django.get("/static/nothing.css").status_code == 404


def test_django_admin(django, database) -> None:
    assert django.get("/admin/").headers["location"] == "/admin/login/?next=/admin/"
    page = django.get("/admin/login/").text
    form = {
        "username": "ada",
        "password": database["DJANGO_SUPERUSER_PASSWORD"],
        "next": "/admin/",
        "csrfmiddlewaretoken": token(page),
    }
    assert django.post("/admin/login/", data=form).headers["location"] == "/admin/"
    assert "entries" in django.get("/admin/").text.lower()
    page = django.get("/admin/guestbook/entry/add/").text
    form = {"name": "Grace", "message": "by the admin", "csrfmiddlewaretoken": token(page)}
    assert django.post("/admin/guestbook/entry/add/", data=form).status_code == 302
    assert "by the admin" in django.get("/admin/guestbook/entry/").text
    assert "by the admin" in django.get("/").text
    style = django.get("/static/admin/css/base.css")
    assert len(style.content) == int(style.headers["content-length"]) > 10_000
