"""Messages near the border: the cases of the policy, cut, joined and bent at random."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.policy import CASES

SEEDS = [case.request for case in CASES if len(case.request) < 2000]

# What parsers have stumbled over.
PIECES = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"1", b"a",
    b"-", b"_", b"+", b"%", b'"', b"#", b"?", b"/", b"*", b"@", b"[", b"]", b"\x0b", b"\x7f",
    b"\x80", b"\xff", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Content-Length: 5\r\n",
    b"Content-Length:", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding:", b"chunked",
    b"identity", b"gzip, ", b"Host: a\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n",
    b"X: y\r\n", b" z\r\n", b"HTTP/1.1", b"HTTP/1.0", b"GET ", b"POST ", b"CONNECT ", b"http://a",
    b"7fffffffffffffff", b"ffffffffffffffff", b"99999999999999999999",
]  # fmt: skip


def bend(generator: random.Random, message: bytes) -> bytes:
    """The message with one thing changed."""
    at = generator.randrange(len(message) + 1)
    length = generator.choice((1, 1, 1, 2, 3, 8, 30))
    way = generator.randrange(6)
    if way == 0:
        return message[:at] + message[at + length :]
    if way == 1:
        return message[:at] + generator.choice(PIECES) + message[at:]
    if way == 2:
        return message[:at] + generator.choice(PIECES) + message[at + length :]
    if way == 3:
        return message[:at] + message[at : at + length] * 2 + message[at + length :]
    if way == 4:
        return message[:at] + message[at : at + length].swapcase() + message[at + length :]
    return message[:at] + bytes([generator.randrange(256)]) + message[at + 1 :]


def join(generator: random.Random, one: bytes, other: bytes) -> bytes:
    """The lines of one message up to somewhere, then the other's from somewhere."""
    first, second = one.split(b"\r\n"), other.split(b"\r\n")
    return b"\r\n".join(
        first[: generator.randrange(len(first) + 1)] + second[generator.randrange(len(second)) :]
    )


def messages(seed: int) -> Iterator[bytes]:
    """Messages without an end, always the same for a seed."""
    generator = random.Random(seed)
    while True:
        message = generator.choice(SEEDS)
        if generator.random() < 0.3:
            message = join(generator, message, generator.choice(SEEDS))
        for _ in range(generator.choice((0, 1, 1, 1, 2, 3))):
            message = bend(generator, message)
        yield message
