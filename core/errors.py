"""Every error Canter raises on purpose, and what each one means to the outside.

One family, so that one place can turn an error into an answer. The class carries
the meaning: a `ProtocolError` the status it is answered with, a boot error the
exit code of the process. `str(error)` is the detail for the log; it never goes to
the client. This module imports nothing of the house.
"""

from __future__ import annotations

from typing import ClassVar


class CanterError(Exception):
    """Root of the family."""


class ProtocolError(CanterError):
    """A request that is refused: answered with `status`, then the connection closes.

    Only the subclasses are raised. `str(error)` says what was wrong with the
    request; it may quote octets of the peer and is meant for the log alone.
    """

    status: ClassVar[int]
    reason: ClassVar[str]  # the phrase of the status line
    fields: ClassVar[tuple[tuple[str, str], ...]] = ()  # more fields of the answer


class BadRequest(ProtocolError):
    """The request can't be read in exactly one way."""

    status = 400
    reason = "Bad Request"


class RequestTimeout(ProtocolError):
    """The head or the body did not arrive in time."""

    status = 408
    reason = "Request Timeout"


class ContentTooLarge(ProtocolError):
    """The body is larger than `limit_request_body`."""

    status = 413
    reason = "Content Too Large"


class UriTooLong(ProtocolError):
    """The request line is longer than `limit_request_line`."""

    status = 414
    reason = "URI Too Long"


class ExpectationFailed(ProtocolError):
    """The request expects something other than `100-continue`."""

    status = 417
    reason = "Expectation Failed"


class FieldsTooLarge(ProtocolError):
    """The head has too many fields, one too long, or is too long as a whole."""

    status = 431
    reason = "Request Header Fields Too Large"


class NotImplementedByServer(ProtocolError):
    """CONNECT, or a transfer coding other than `chunked`."""

    status = 501
    reason = "Not Implemented"


class Overloaded(ProtocolError):
    """The server has no room for this request now."""

    status = 503
    reason = "Service Unavailable"
    fields = (("Retry-After", "1"),)


class DeadlineExceeded(ProtocolError):
    """The application did not answer before the request's deadline."""

    status = 504
    reason = "Gateway Timeout"


class VersionNotSupported(ProtocolError):
    """A major version of HTTP above 1, said in the text of HTTP/1."""

    status = 505
    reason = "HTTP Version Not Supported"


class ClientDisconnected(CanterError, OSError):
    """The peer vanished, in a body or while an answer was written."""


class ClientStalled(ClientDisconnected):
    """The peer is there, but took nothing of its answer for the write time-out."""


class ResponseError(CanterError):
    """The application's answer can't be put on the wire; the client gets a 500.

    The message is for the application's author: what was found, and what to
    write instead.
    """


class ConfigError(CanterError):
    """A setting is wrong: one clear line, no traceback."""

    exit_code: ClassVar[int] = 2


class WorkerBootError(CanterError):
    """A worker failed before it was ready."""

    exit_code: ClassVar[int] = 3


class AppImportError(CanterError):
    """The application failed to load.

    `traceback_text` holds the application's own traceback, or nothing where the
    failure is the user's typing (no such module, no such attribute).
    """

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, traceback_text: str = "") -> None:
        super().__init__(message)
        self.traceback_text = traceback_text
