"""What is believed of a trusted proxy, and what is refused."""

from __future__ import annotations

import pytest

from canter.errors import BadRequest
from canter.http._http1 import FORWARDING, Connection, Limits, Request
from canter.http.forwarded import Client, Forwarded, Proxies
from tests.policy import get

SECURE = {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}
DEFAULT = ("127.0.0.1", "::1")


def proxies(*allow: str, headers: tuple[str, ...] = ("SCRIPT_NAME", "PATH_INFO")) -> Proxies:
    return Proxies(allow or DEFAULT, headers, SECURE)


def request_of(*lines: bytes) -> Request:
    connection = Connection(Limits())
    connection.feed(get(*lines))
    request = connection.next_request()
    assert request is not None
    return request


def read(*lines: bytes, by: Proxies | None = None) -> Forwarded:
    request = request_of(*lines)
    return (by or proxies()).read(request.raw_headers(hidden=True))


class TestTrust:
    @pytest.mark.parametrize(("allow", "peer", "trusted"), [
        (DEFAULT, "127.0.0.1", True),
        (DEFAULT, "::1", True),
        (DEFAULT, "::ffff:127.0.0.1", True),
        (DEFAULT, "127.0.0.2", False),
        (DEFAULT, "10.0.0.1", False),
        (DEFAULT, "", True),  # a Unix socket
        (("*",), "203.0.113.9", True),
        (("*",), "", True),
        (("10.0.0.0/8",), "10.200.3.4", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("2001:db8::/32",), "2001:db8::5", True),
        (("2001:db8::/32",), "2001:db9::5", False),
        (("2001:db8::/32",), "10.0.0.1", False),
        ((), "127.0.0.1", False),
    ])  # fmt: skip
    def test_trusts(self, allow: tuple[str, ...], peer: str, trusted: bool) -> None:
        assert Proxies(allow, (), SECURE).trusts(peer) == trusted

    def test_requests_without_fields_of_interest_need_not_be_read(self) -> None:
        assert not request_of(b"Cookie: a", b"X-Real-IP: 1.2.3.4").forwarded
        for name in FORWARDING:
            assert request_of(name + b": x").forwarded
        assert request_of(b"SCRIPT_NAME: /a").forwarded
        assert not proxies().always
        assert Proxies(DEFAULT, (), {"X-TLS": "yes"}).always
        assert not Proxies(DEFAULT, (), {"X_TLS": "yes"}).always


class TestScheme:
    @pytest.mark.parametrize(("lines", "scheme"), [
        ([], None),
        ([b"X-Forwarded-Proto: https"], "https"),
        ([b"x-forwarded-proto:https"], "https"),
        ([b"X-Forwarded-Protocol: ssl"], "https"),
        ([b"X-Forwarded-SSL: on"], "https"),
        ([b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: on"], "https"),
        ([b"X-Forwarded-Proto: http"], "http"),
        ([b"X-Forwarded-Proto: HTTPS"], "http"),  # Gunicorn: the exact value
        ([b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: https"], "https"),
        ([b"X-Forwarded-Scheme: https"], None),  # not among the fields that are set
    ])  # fmt: skip
    def test_scheme(self, lines: list[bytes], scheme: str | None) -> None:
        assert read(*lines).scheme == scheme

    @pytest.mark.parametrize("lines", [
        [b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off"],
        [b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http"],
    ])  # fmt: skip
    def test_contradictions(self, lines: list[bytes]) -> None:
        with pytest.raises(BadRequest, match="contradict"):
            read(*lines)

    def test_own_fields(self) -> None:
        by = Proxies(DEFAULT, (), {"X-TLS": "yes", "X_TLS": "yes"})
        assert read(b"X-TLS: yes", by=by).scheme == "https"
        assert read(b"X_TLS: no", by=by).scheme == "http"
        assert read(b"X-Forwarded-Proto: https", by=by).scheme is None


class TestClient:
    @pytest.mark.parametrize(("value", "client"), [
        (b"203.0.113.9", ("203.0.113.9", 0)),
        (b"203.0.113.9:4711", ("203.0.113.9", 4711)),
        (b"203.0.113.9:99999", ("203.0.113.9", 0)),
        (b"2001:DB8::9", ("2001:db8::9", 0)),
        (b"[2001:db8::9]:4711", ("2001:db8::9", 4711)),
        (b"[2001:db8::9]", ("2001:db8::9", 0)),
        (b"::ffff:203.0.113.9", ("203.0.113.9", 0)),
        (b"6.6.6.6, 203.0.113.9", ("203.0.113.9", 0)),  # what stands left may be the client's invention
        (b"6.6.6.6, 203.0.113.9, 10.0.0.2, 10.0.0.1", ("203.0.113.9", 0)),
        (b"10.0.0.3,10.0.0.2", ("10.0.0.3", 0)),  # all are proxies: the farthest
        (b"nonsense, 203.0.113.9", ("203.0.113.9", 0)),
        (b"6.6.6.6, nonsense, 10.0.0.1", ("10.0.0.1", 0)),
        (b"6.6.6.6, , 10.0.0.1", ("10.0.0.1", 0)),
        (b"unknown", None),
        (b"", None),
        (b"1.2.3", None),
        (b"1.2.3.4.5", None),
        (b"[1.2.3.4", None),
        (b"203.0.113.9 x", None),
        (b"\xb2.0.0.1", None),
    ])  # fmt: skip
    def test_x_forwarded_for(self, value: bytes, client: Client | None) -> None:
        by = proxies("10.0.0.0/8")
        assert read(b"X-Forwarded-For: " + value, by=by).client == client

    def test_several_lines_are_one_list(self) -> None:
        lines = [b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: 203.0.113.9"]
        assert read(*lines).client == ("203.0.113.9", 0)

    def test_with_everyone_trusted_the_nearest_counts(self) -> None:
        line = b"X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.1"
        assert read(line, by=proxies("*")).client == ("10.0.0.1", 0)
        assert read(line, by=proxies("*", "10.0.0.0/8")).client == ("203.0.113.9", 0)

    @pytest.mark.parametrize(("value", "client"), [
        (b"for=203.0.113.9", ("203.0.113.9", 0)),
        (b"For=203.0.113.9;proto=https;by=10.0.0.1", ("203.0.113.9", 0)),
        (b'proto=https; for="203.0.113.9:4711"', ("203.0.113.9", 4711)),
        (b'for="[2001:db8::9]:4711"', ("2001:db8::9", 4711)),
        (b"for=6.6.6.6, for=203.0.113.9", ("203.0.113.9", 0)),
        (b"for=203.0.113.9, for=10.0.0.2;by=a , for=10.0.0.1", ("203.0.113.9", 0)),
        (b'host="a,b;for=6.6.6.6"; for=203.0.113.9', ("203.0.113.9", 0)),
        (b"for=unknown", None),
        (b"for=_hidden, for=10.0.0.1", ("10.0.0.1", 0)),
        (b"proto=https, for=10.0.0.1", ("10.0.0.1", 0)),
        (b"proto=https", None),
        (b"", None),
    ])  # fmt: skip
    def test_forwarded(self, value: bytes, client: Client | None) -> None:
        assert read(b"Forwarded: " + value, by=proxies("10.0.0.0/8")).client == client

    @pytest.mark.parametrize("value", [
        b'for="6.6.6.6, for=203.0.113.9', b"nonsense", b"for = 203.0.113.9",
        b"a=b;for=1;for=2", b'for="1.2.3.4"x',
    ])  # fmt: skip
    def test_forwarded_that_is_refused(self, value: bytes) -> None:
        with pytest.raises(BadRequest, match="Forwarded"):
            read(b"Forwarded: " + value)

    def test_both(self) -> None:
        assert read(b"Forwarded: for=1.2.3.4", b"X-Forwarded-For: 1.2.3.4").client == ("1.2.3.4", 0)
        assert read(b"Forwarded: for=unknown", b"X-Forwarded-For: 1.2.3.4").client == ("1.2.3.4", 0)
        with pytest.raises(BadRequest, match="different clients"):
            read(b"Forwarded: for=6.6.6.6", b"X-Forwarded-For: 1.2.3.4")

    def test_x_real_ip_is_no_such_field(self) -> None:
        assert read(b"X-Real-IP: 1.2.3.4").client is None


class TestForwarderFields:
    def test_script_name(self) -> None:
        said = read(b"SCRIPT_NAME: /app/", b"Script-Name: /evil")
        assert (said.script_name, said.fields) == ("/app", {"HTTP_SCRIPT_NAME": "/app/"})
        assert read(b"SCRIPT_NAME:").script_name == ""
        assert read(b"Script-Name: /evil").script_name is None

    def test_only_names_that_are_set(self) -> None:
        lines = (b"SCRIPT_NAME: /a", b"REMOTE_USER: b\xe4", b"X_A: c")
        assert read(*lines).fields == {"HTTP_SCRIPT_NAME": "/a"}
        assert read(*lines, by=proxies(headers=("REMOTE_USER",))) == (
            None,
            None,
            None,
            {"HTTP_REMOTE_USER": "b\xe4"},
        )
        assert len(read(*lines, by=proxies(headers=("*",))).fields) == 3

    def test_a_name_twice(self) -> None:
        assert read(b"SCRIPT_NAME: /a", b"script_name: /a").script_name == "/a"
        with pytest.raises(BadRequest, match="twice"):
            read(b"SCRIPT_NAME: /a", b"script_name: /b")

    def test_nothing(self) -> None:
        assert read() == (None, None, None, {})
