"""Requests from files, and who is compared."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from canter.bench import contenders, scenarios
from canter.bench.plan import PlanError, Target
from canter.bench.scenarios import Options, builtin, own, read_log, read_toml


def test_builtin_scenarios_follow_the_options() -> None:
    found = builtin(Options(block=0.2, polls=500, wait=5.0))
    assert found["block"].targets[0].path == "/block?ms=200"
    assert (found["polls"].rate, found["polls"].connections) == (100.0, 625)
    assert all(name == scenario.name for name, scenario in found.items())


def test_own_requests_with_slow_clients_and_new_connections() -> None:
    found = own((Target("/a"),))
    assert found["slow-clients"].dribblers == 200
    assert found["fresh"].fresh == 1.0
    assert found["own"].targets == (Target("/a"),)


def test_toml(tmp_path: Path) -> None:
    file = tmp_path / "requests.toml"
    file.write_text(
        """
        [[request]]
        path = "/items"
        weight = 3
        headers = { Accept = "text/html", "X-N" = 1 }

        [[request]]
        path = "/items"
        method = "POST"
        body = "a=b"
        status = 201
        """
    )
    first, second = read_toml(str(file))
    assert (first.weight, first.headers, first.status) == (3, (("Accept", "text/html"), ("X-N", "1")), 0)
    assert (second.method, second.content, second.status) == ("POST", "a=b", 201)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[request]]\npath = 'a'", "request 1: path 'a' must begin with '/'"),
        ("[[request]]\npaht = '/a'", "request 1: unknown 'paht'"),
        ("[request]\npath = '/a'", "there is no"),
        ("requests = 1", "unknown 'requests'"),
        ("", "there is no"),
        ("[[request", "Expected"),
    ],
)
def test_toml_mistakes_are_one_line(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "requests.toml"
    file.write_text(text)
    with pytest.raises(PlanError, match=reason):
        read_toml(str(file))


def test_access_log(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    line = '127.0.0.1 - - [25/Nov/2026:10:00:00 +0000] "{} HTTP/1.1" {} 13 "-" "curl"\n'
    logged = [("GET /a?b=1", 200)] * 3 + [("GET /c", 304), ("POST /d", 200), ("GET /missing", 404)]
    file.write_text("".join(line.format(*each) for each in logged) + "not a line\n")
    assert [(target.path, target.weight) for target in read_log(str(file))] == [("/a?b=1", 3), ("/c", 1)]


@pytest.mark.parametrize("reader", [read_toml, read_log])
def test_a_file_that_is_not_there(reader) -> None:
    with pytest.raises(PlanError, match=r"/no/such: No such file"):
        reader("/no/such")


def test_an_access_log_without_requests(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("nothing\n")
    with pytest.raises(PlanError, match="no GET request"):
        read_log(str(tmp_path / "log"))


def test_classes_by_interface() -> None:
    assert [each.name for each in contenders.classes("asgi", 2)] == ["asyncio", "tornado"]
    assert contenders.classes("asgi", 2, ["tornado"])[0].peer.interface == "asgi"
    wsgi = {each.name: each for each in contenders.classes("wsgi", 2)}
    assert (wsgi["sync"].workers, wsgi["gthread"].workers) == (5, 2)
    wanted = "-k gthread -w 2 --keep-alive 30 --threads 64 --worker-connections 10000"
    assert wsgi["gthread"].flags() == wanted
    assert wsgi["asyncio"].peer.interface == "wsgi"
    twins = {each.name: each for each in contenders.twins(2)}
    assert twins["asyncio"].peer.interface == "asgi"


def test_scenarios_and_interfaces_fit() -> None:
    assert scenarios.builtin()["websocket"].websocket


@pytest.mark.parametrize(
    ("text", "kind", "workers", "threads"),
    [
        ("many: -k gthread --threads 32", "gthread", 3, 32),
        ("few: -kgevent -w2", "gevent", 2, 1),
        ("long: --worker-class=sync --workers=7 --env 'A={b}'", "sync", 7, 1),
        ("auto : -w auto", "gthread", 3, 1),
    ],
)
def test_variants(text: str, kind: str, workers: int, threads: int) -> None:
    found = contenders.variant(text, "wsgi", 3)
    assert (found.kind, found.workers, found.threads) == (kind, workers, threads)
    words = found.peer.words(bin="b", port=1, app="a:b")
    assert words[-3:] == ["-b", "127.0.0.1:1", "a:b"]
    assert shlex.split(found.flags()) == shlex.split(text.partition(":")[2])


def test_a_variant_keeps_its_braces() -> None:
    found = contenders.variant("x: --env A={b}", "wsgi", 1)
    assert "A={b}" in found.peer.words(bin="b", port=1, app="a:b")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-k gthread", "is not 'NAME: FLAGS'"),
        ("x: -b 0.0.0.0:80", "leave --bind out"),
        ("x: -k 'gthread", "No closing quotation"),
    ],
)
def test_variants_that_cannot_be(text: str, reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        contenders.variant(text, "wsgi", 1)


def test_peers_by_name_and_by_package() -> None:
    assert [each.name for each in contenders.peers("gunicorn", ("wsgi",), 1)] == [
        "gunicorn-sync",
        "gunicorn-gthread",
        "gunicorn-gevent",
    ]
    assert [each.name for each in contenders.peers("granian", ("wsgi", "asgi"), 1)] == ["granian"]
    assert [each.name for each in contenders.peers("gunicorn-asgi", ("asgi",), 1)] == ["gunicorn-asgi"]
    with pytest.raises(PlanError, match="does not run asgi"):
        contenders.peers("waitress", ("asgi",), 1)
    with pytest.raises(PlanError, match=r"there are .*granian"):
        contenders.peers("nginx", ("wsgi",), 1)


def test_a_worker_class_that_does_not_fit() -> None:
    with pytest.raises(PlanError, match="'gevent' is none of asyncio"):
        contenders.classes("asgi", 1, ["gevent"])
