"""Feeds one message to a parser in three ways: whole, octet by octet, with more behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from canter.errors import ProtocolError
from canter.http._http1 import Connection, Limits, Request

NEXT = b"GET /behind HTTP/1.1\r\nHost: behind\r\n\r\n"  # what follows where there is trailing data

SETTINGS = {
    "limit_request_line": "request_line",
    "limit_request_fields": "fields",
    "limit_request_field_size": "field_size",
    "limit_request_body": "body",
}


def limits_of(settings: Mapping[str, int]) -> Limits:
    """Limits of settings by Gunicorn's names; a head that is limited by nothing else has room."""
    if 0 in settings.values():
        return Limits(head=1 << 20, **{SETTINGS[name]: value for name, value in settings.items()})
    return Limits(**{SETTINGS[name]: value for name, value in settings.items()})


@dataclass
class Outcome:
    """What came of one message."""

    request: Request | None = None
    body: bytes = b""
    status: int | None = None  # of the refusal
    in_body: bool = False  # it was refused inside the body
    detail: str = ""
    pieces: int = 0  # bytes objects the body came in

    @property
    def summary(self) -> tuple[Any, ...]:
        return self.status, self.in_body, self.body, self.request and self.request.head


def feed(connection: Connection, data: bytes, size: int) -> Outcome:
    """Feed `data` in pieces of `size` until one message is complete or refused; then the rest at once."""
    outcome = Outcome()
    try:
        for begin in range(0, len(data), size):
            connection.feed(data[begin : begin + size])
            if step(connection, outcome):
                connection.feed(data[begin + size :] or b"\r\n")
                break
    except ProtocolError as error:
        outcome.status, outcome.detail, outcome.in_body = (
            error.status,
            str(error),
            outcome.request is not None,
        )
    return outcome


def step(connection: Connection, outcome: Outcome) -> bool:
    """Take what is there; true where the message is complete."""
    if outcome.request is None:
        outcome.request = connection.next_request()
    if outcome.request is None:
        return False
    while octets := connection.next_body():
        outcome.body += octets
        outcome.pieces += 1
    return connection.body_done


def three_ways(data: bytes, settings: Mapping[str, int] | None = None) -> Outcome:
    """Feed whole, octet by octet, and with trailing data: all three must come to the same."""
    limits = limits_of(settings or {})
    whole = feed(Connection(limits), data, len(data))
    assert feed(Connection(limits), data, 1).summary == whole.summary
    behind = Connection(limits)
    assert feed(behind, data + NEXT, len(data + NEXT)).summary == whole.summary
    if whole.request is not None and whole.status is None:
        follower = behind.next_request()
        assert follower is not None
        assert follower.path == "/behind"
    return whole
