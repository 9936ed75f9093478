"""environ: every key of PEP 3333 and its type, and what a proxy may say of the client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canter import __version__
from canter.testing import Server
from tests.policy import get
from tests.wire.conftest import Family
from tests.wire.dialogue import Client, Tail, ask

PROXY = "127.0.0.1"
pytestmark = pytest.mark.wsgi
STRANGER = "127.0.0.2"  # not in --forwarded-allow-ips


def environ_of(client: Client, *fields: bytes, **line: bytes) -> dict[str, tuple[str, str]]:
    """Key -> (type, text) as the application sees them."""
    told = json.loads(client.ask(ask("environ", None, *fields, **line)).body)
    return {key: tuple(value) for key, value in told.items()}


class TestKeys:
    def test_every_key(self, server: Server) -> None:
        with Client(server) as client:
            found = environ_of(client, b"Content-Type: a/b", b"X-A: b", b"Content-Length: 0")
        text = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/bare/environ",
            "QUERY_STRING": "",
            "RAW_URI": "/bare/environ",
            "CONTENT_TYPE": "a/b",
            "CONTENT_LENGTH": "0",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(server.port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_SOFTWARE": f"canter/{__version__}",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": str(client.port),
            "HTTP_HOST": "example.com",
            "HTTP_X_A": "b",
            "wsgi.url_scheme": "http",
        }
        assert {key: found.pop(key) for key in text} == {key: ("str", value) for key, value in text.items()}
        values = {
            "wsgi.version": ("tuple", "(1, 0)"),
            "wsgi.run_once": ("bool", "False"),
            "wsgi.multiprocess": ("bool", "False"),
            "wsgi.input_terminated": ("bool", "True"),
        }
        assert {key: found.pop(key) for key in values} == values
        assert found.pop("wsgi.multithread")[0] == "bool"
        for key in ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper", "wsgi.early_hints"):
            assert found.pop(key)
        assert found.pop("canter.client_disconnected")
        assert not found

    def test_multithread_and_multiprocess(self, worker: Family) -> None:
        """They are what the worker class and the number of workers say."""
        with Client(worker.server()) as client:
            multithread = worker.worker_class not in ("sync", "asyncio-awaited")
            assert environ_of(client)["wsgi.multithread"][1] == str(multithread)
        with worker.fresh(workers=2) as server, Client(server) as client:
            assert environ_of(client)["wsgi.multiprocess"] == ("bool", "True")

    def test_what_is_not_sent_is_not_there(self, server: Server) -> None:
        with Client(server) as client:
            found = environ_of(client, version=b"HTTP/1.0")
        assert (
            not {"CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & found.keys()
        )
        assert found["SERVER_PROTOCOL"] == ("str", "HTTP/1.0")

    @pytest.mark.parametrize("method", [b"GET", b"POST"])
    def test_checked(self, server: Server, tail: Tail, method: bytes) -> None:
        """wsgiref.validate has no objection."""
        with Client(server) as client:
            request = ask(
                "environ", None, b"Content-Length: 0", b"Content-Type: a/b", how="checked", method=method
            )
            assert client.ask(request).status == 200
        assert not tail.lines("ERROR")

    def test_nothing_of_one_request_is_seen_by_the_next(self, server: Server) -> None:
        with Client(server) as client:
            assert environ_of(client, b"X-Once: 1", b"Cookie: a=b")["HTTP_X_ONCE"] == ("str", "1")
            assert not {"HTTP_X_ONCE", "HTTP_COOKIE"} & environ_of(client).keys()

    def test_errors(self, server: Server, tail: Tail) -> None:
        with Client(server) as client:
            assert (
                client.ask(ask("complains", {"lines": ["one\ntwo", " and a half\n", "three"]})).status == 200
            )
        for line in ("one", "two and a half", "three"):
            assert len(tail.wait(f"[ERROR] {line}")) == 1


class TestScriptName:
    def test_it_is_cut_from_the_path(self, worker: Family) -> None:
        server = worker.server(script_name="/mount")
        for target, path in (
            (b"/mount/a/b?c", "/a/b"),
            (b"/mount", ""),
            (b"/mount/", "/"),
            (b"/%6dount/x", "/x"),
        ):
            with Client(server) as client:
                told = json.loads(client.ask(get(target=target)).body)["environ"]
                assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/mount", path)

    @pytest.mark.parametrize("target", [b"/", b"/other", b"/mounted", b"/moun"])
    def test_what_is_not_below_it_is_refused(self, worker: Family, target: bytes) -> None:
        server = worker.server(script_name="/mount")
        with Client(server) as client:
            answer = client.ask(get(target=target))
            assert (answer.status, answer.closes) == (400, True)
            client.expect_end("fin")
            assert len(worker.tail(server).wait(f"400 to {client.name}")) == 1
            assert not worker.tail(server).lines(f"called {client.name}")


class TestForwarded:
    """Fields that name the client count only from peers in --forwarded-allow-ips."""

    FIELDS = (
        b"X-Forwarded-For: 198.51.100.7",
        b"X-Forwarded-Proto: https",
        b"SCRIPT_NAME: /mount",
        b"X-Forwarded-Host: outside.example",
    )

    def told(
        self, server: Server, source: str, *fields: bytes, target: bytes = b"/mount/a"
    ) -> dict[str, str]:
        with Client(server, source) as client:
            return json.loads(client.ask(get(*fields, target=target)).body)["environ"]  # type: ignore[no-any-return]

    def test_from_a_proxy(self, server: Server) -> None:
        told = self.told(server, PROXY, *self.FIELDS)
        assert told["wsgi.url_scheme"] == "https"
        assert told["REMOTE_ADDR"] == "198.51.100.7"
        assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/mount", "/a")
        assert told["HTTP_HOST"] == "example.com"
        assert told["HTTP_X_FORWARDED_FOR"] == "198.51.100.7"

    def test_from_a_stranger(self, server: Server) -> None:
        told = self.told(server, STRANGER, *self.FIELDS)
        assert told["wsgi.url_scheme"] == "http"
        assert told["REMOTE_ADDR"] == STRANGER
        assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("", "/mount/a")
        assert "HTTP_SCRIPT_NAME" not in told
        assert told["HTTP_X_FORWARDED_FOR"] == "198.51.100.7"

    def test_the_forwarded_field(self, server: Server) -> None:
        field = b'Forwarded: for="[2001:db8::7]:4711";proto=https'
        assert self.told(server, PROXY, field)["REMOTE_ADDR"] == "2001:db8::7"
        assert self.told(server, STRANGER, field)["REMOTE_ADDR"] == STRANGER

    def test_the_nearest_client_counts(self, server: Server) -> None:
        """What stands left of it may have been written by the client."""
        told = self.told(server, PROXY, b"X-Forwarded-For: 203.0.113.1, 198.51.100.7, 127.0.0.1")
        assert told["REMOTE_ADDR"] == "198.51.100.7"

    @pytest.mark.parametrize(
        "fields",
        [
            (b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off"),
            (b"X-Forwarded-For: 198.51.100.7", b"Forwarded: for=198.51.100.8"),
            (b"SCRIPT_NAME: /a", b"SCRIPT_NAME: /b"),
            (b"SCRIPT_NAME: /elsewhere",),
        ],
    )
    def test_contradictions_are_refused(self, server: Server, tail: Tail, fields: tuple[bytes, ...]) -> None:
        with Client(server, PROXY) as client:
            answer = client.ask(get(*fields))
            assert (answer.status, answer.closes) == (400, True)
            client.expect_end("fin")
            assert len(tail.wait(f"400 to {client.name}")) == 1
            assert not tail.lines("called")
        with Client(server, STRANGER) as client:
            assert client.ask(get(*fields)).status == 200

    def test_everybody(self, worker: Family) -> None:
        server = worker.server(forwarded_allow_ips="*")
        assert self.told(server, STRANGER, *self.FIELDS[:1])["REMOTE_ADDR"] == "198.51.100.7"

    def test_other_fields_by_setting(self, worker: Family) -> None:
        settings: dict[str, Any] = {
            "forwarder_headers": ["REMOTE_USER"],
            "secure_scheme_headers": {"X-SECURE": "yes"},
        }
        server = worker.server(**settings)
        fields = b"REMOTE_USER: ada", b"X-Secure: yes", b"X-Forwarded-Proto: https"
        told = self.told(server, PROXY, *fields)
        assert (told["HTTP_REMOTE_USER"], told["wsgi.url_scheme"]) == ("ada", "https")
        told = self.told(server, PROXY, fields[2])
        assert told["wsgi.url_scheme"] == "http"
        told = self.told(server, STRANGER, *fields)
        assert "HTTP_REMOTE_USER" not in told
