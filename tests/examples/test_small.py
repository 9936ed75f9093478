"""hello, environ_dump, form_get and form_post, visited over a real socket."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest


@pytest.fixture(scope="module")
def hello(visit):
    with visit("hello:app") as client:
        yield client


@pytest.fixture(scope="module")
def get_form(visit):
    with visit("form_get:app") as client:
        yield client


@pytest.fixture(scope="module")
def post_form(visit):
    with visit("form_post:app") as client:
        yield client


def elements(page: str) -> set[str]:
    """Names of all elements of a page."""
    names: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: names.add(tag)
    parser.feed(page)
    return names


def test_hello(hello) -> None:
    answer = hello.get("/")
    assert (answer.status_code, answer.reason_phrase) == (200, "OK")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.text == "Hello, world!\n"


def test_hello_head(hello) -> None:
    answer = hello.head("/")
    assert answer.status_code == 200
    assert answer.headers["content-length"] == "14"
    assert answer.content == b""


def test_environ(visit) -> None:
    with visit("environ_dump:app") as client:
        answer = client.post("/caf%C3%A9?x=1&y=%20", content=b"abc", headers={"X-Colour": "bay"})
        url = client.base_url
    environ = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert environ["REQUEST_METHOD"] == "POST"
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/café"
    assert environ["QUERY_STRING"] == "x=1&y=%20"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["CONTENT_LENGTH"] == "3"
    assert environ["HTTP_X_COLOUR"] == "bay"
    assert environ["HTTP_HOST"] == f"{url.host}:{url.port}"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (url.host, str(url.port))
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["wsgi.version"] == "(1, 0)"
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.input_terminated"] == "True"


def test_get_form_empty(get_form) -> None:
    page = get_form.get("/").text
    assert "<p>Age: <b></b></p>" in page
    assert " checked" not in page


def test_get_form(get_form) -> None:
    page = get_form.get("/", params={"age": "7", "hobbies": ["software", "horses"]}).text
    assert "<p>Age: <b>7</b></p>" in page
    assert "<p>Hobbies: <b>software, horses</b></p>" in page
    assert page.count(" checked") == 2


def test_get_form_shows_text_as_text(get_form) -> None:
    params = {"age": "\"'><script>alert(1)</script>", "hobbies": "<img src=x>"}
    page = get_form.get("/", params=params).text
    assert "&lt;script&gt;" in page
    assert not elements(page) & {"script", "img"}


def test_post_form_empty(post_form) -> None:
    assert "<p>Name: <b></b></p>" in post_form.get("/").text


def test_post_form(post_form) -> None:
    page = post_form.post("/", data={"name": "Ada", "message": "two lines\nof ünïcödé"}).text
    assert "<p>Name: <b>Ada</b></p>" in page
    assert "<p>Message: <b>two lines\nof ünïcödé</b></p>" in page


def test_post_form_in_chunks(post_form) -> None:
    """A body whose length nobody has declared ends all the same."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    page = post_form.post("/", content=iter([b"name=A", b"da", b"&message=hi"]), headers=headers).text
    assert "<p>Name: <b>Ada</b></p>" in page


def test_post_form_shows_text_as_text(post_form) -> None:
    page = post_form.post("/", data={"name": '"><script>', "message": "</textarea><img>"}).text
    assert "&quot;&gt;&lt;script&gt;" in page
    assert not elements(page) & {"script", "img"}


def test_post_form_too_long(post_form) -> None:
    assert post_form.post("/", data={"message": "x" * 70_000}).status_code == 413
    assert post_form.get("/").status_code == 200
