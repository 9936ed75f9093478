"""demo, what `make serve` serves: every link of its page leads somewhere."""

from __future__ import annotations

import re

import pytest

CONCURRENCY = {"sync": "one request at a time", "gthread": "many requests at a time"}


@pytest.fixture(scope="module", params=CONCURRENCY)
def worker_class(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def demo(visit, database, worker_class):
    settings = {"pythonpath": "django_site", "workers": 2, "threads": 4 if worker_class == "gthread" else 1}
    with visit("demo:app", worker_class=worker_class, env=database, **settings) as client:
        yield client


def test_page(demo, worker_class) -> None:
    page = demo.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert re.search(rf"Answered by process \d+ of canter\S*, {CONCURRENCY[worker_class]}\.", page.text)


def test_links(demo) -> None:
    links = re.findall(r'href="([^":]+)"', demo.get("/").text)
    assert len(links) > 8
    for link in links:
        answer = demo.get(f"/{link.replace('&amp;', '&')}", follow_redirects=True)
        assert (link, answer.status_code) == (link, 200)


def test_mounted_applications_know_where_they_are(demo) -> None:
    assert "SCRIPT_NAME: /environ\n" in demo.get("/environ/a/b").text
    assert "PATH_INFO: /a/b\n" in demo.get("/environ/a/b").text
    assert 'action="/flask/name"' in demo.get("/flask/").text
    page = demo.get("/django/").text
    assert 'href="/django/static/guestbook/book.css"' in page
    assert demo.get("/django/static/guestbook/book.css").status_code == 200
    assert demo.get("/django/admin/").headers["location"] == "/django/admin/login/?next=/django/admin/"


def test_a_name_without_its_slash(demo) -> None:
    answer = demo.get("/hello")
    assert answer.status_code == 308
    assert demo.get("/hello", follow_redirects=True).text == "Hello, world!\n"


def test_no_such_example(demo) -> None:
    assert demo.get("/nothing/here").status_code == 404
