"""What a trusted proxy says of the client: scheme, address, SCRIPT_NAME.

**Strategy.** A worker makes one `Proxies` of its settings. For a request that has
any field of interest (`Request.forwarded`, or `Proxies.always`) and whose peer is
trusted, `Proxies.read` turns the field lines into a `Forwarded`. From any other peer
the same lines are plain fields: this module is never asked.

The meanings of `forwarded_allow_ips`, `secure_scheme_headers` and
`forwarder_headers` are Gunicorn's. Beyond Gunicorn, X-Forwarded-For and Forwarded
(RFC 7239) give the client's address: the right-most one that is not itself a known
proxy, because whatever stands left of it may have been written by the client.
Fields that contradict each other are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from canter.errors import BadRequest
from canter.http._http1 import FORWARDING

Client = tuple[str, int]  # address, port (0: not said)
Line = tuple[bytes, bytes]  # lower-case name, value


class Forwarded(NamedTuple):
    """What a trusted peer says; None where it says nothing."""

    scheme: str | None
    client: Client | None
    script_name: str | None
    fields: dict[str, str]  # environ keys of the forwarder headers


class Proxies:
    """The peers that are believed, and the fields they are believed in.

    `allow`: addresses, networks ("10.0.0.0/8"), or "*" for every peer.
    `forwarder_headers`: names with "_" that are not dropped; "*" for all of them.
    `secure_scheme_headers`: name -> the exact value that means https.
    """

    def __init__(
        self, allow: Iterable[str], forwarder_headers: Iterable[str], secure_scheme_headers: Mapping[str, str]
    ) -> None:
        members = list(allow)
        self.everyone = "*" in members
        self.networks = [ip_network(member) for member in members if member != "*"]
        self.forwarders = {name.lower().encode("latin-1") for name in forwarder_headers}
        self.schemes = {
            name.lower().encode("latin-1"): value.encode("latin-1")
            for name, value in secure_scheme_headers.items()
        }
        # Request.forwarded tells of the usual names alone: with others each request must be read.
        self.always = any(name not in FORWARDING and b"_" not in name for name in self.schemes)

    def trusts(self, peer: str) -> bool:
        """Whether that address is believed; one that is no IP address (a Unix socket) always is."""
        if self.everyone:
            return True
        address = parse_address(peer)
        return address is None or self.is_proxy(address)

    def is_proxy(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.networks)

    def read(self, lines: Iterable[Line]) -> Forwarded:
        """Read the field lines, hidden ones too, of a peer that is trusted.

        Raises BadRequest for lines that contradict each other.
        """
        lines = list(lines)
        fields = dict(self._forwarder_fields(lines))
        script_name = fields.get("HTTP_SCRIPT_NAME")
        return Forwarded(
            self._scheme(lines), self._client(lines), script_name and script_name.rstrip("/"), fields
        )

    def _scheme(self, lines: list[Line]) -> str | None:
        schemes = {
            "https" if value == self.schemes[name] else "http"
            for name, value in lines
            if name in self.schemes
        }
        if len(schemes) > 1:
            raise BadRequest("the fields of the peer contradict each other: http and https")
        return schemes.pop() if schemes else None

    def _forwarder_fields(self, lines: list[Line]) -> Iterator[tuple[str, str]]:
        seen: dict[bytes, bytes] = {}
        for name, value in lines:
            if b"_" in name and (name in self.forwarders or b"*" in self.forwarders):
                if seen.setdefault(name, value) != value:
                    raise BadRequest(f"the peer says {name.decode()} twice, differently")
                yield "HTTP_" + name.decode("ascii").upper().replace("-", "_"), value.decode("latin-1")

    def _client(self, lines: list[Line]) -> Client | None:
        listed = self._nearest(_listed_nodes(lines))
        forwarded = self._nearest(_forwarded_nodes(lines))
        if listed and forwarded and listed[0] != forwarded[0]:
            raise BadRequest("X-Forwarded-For and Forwarded name different clients")
        return listed or forwarded

    def _nearest(self, nodes: list[str]) -> Client | None:
        """The first node, from the right, that is no known proxy; else the left-most one.

        What can't be read as an address ends the walk: it may hide anything.
        """
        client = None
        for node in reversed(nodes):
            parsed = _node(node)
            if parsed is None:
                break
            address, port = parsed
            client = str(address), port
            if not self.is_proxy(address):
                break
        return client


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address, an IPv4 one where it is only mapped into IPv6; None: the text is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


# Nodes: "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]", "[2001:db8::1]:80", and a bare "2001:db8::1".
_BRACKETED = re.compile(r"\[([^]]*)\](?::([0-9]{1,5}))?")
_DOTTED = re.compile(r"([0-9.]+)(?::([0-9]{1,5}))?")
_PAIR = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(\"[^\"]*\"|[^\"\s]+)")


def _node(text: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    match = _BRACKETED.fullmatch(text) or _DOTTED.fullmatch(text)
    address = parse_address(match[1] if match else text)
    if address is None:
        return None
    port = int(match[2] or 0) if match else 0
    return address, port if port <= 65535 else 0


def _joined(lines: list[Line], name: bytes) -> str:
    return ",".join(value.decode("latin-1") for found, value in lines if found == name)


def _listed_nodes(lines: list[Line]) -> list[str]:
    """The items of X-Forwarded-For."""
    return [item.strip(" \t") for item in _joined(lines, b"x-forwarded-for").split(",")]


def _forwarded_nodes(lines: list[Line]) -> list[str]:
    """What Forwarded says after for=, "" for an element that has none (RFC 7239 4).

    Nothing that the grammar escapes in a quoted string belongs into a node: a
    backslash is refused with the rest that is no list of pairs, for a client could
    hide what a proxy appended behind it.
    """
    nodes = []
    for element in _outside_quotes(_joined(lines, b"forwarded"), ","):
        said = ""
        for pair in _outside_quotes(element, ";"):
            match = _PAIR.fullmatch(pair.strip(" \t"))
            if match is None and pair.strip(" \t"):
                raise BadRequest(f"Forwarded is no list of pairs: {pair[:60]!r}")
            if match and match[1].lower() == "for":
                if said:
                    raise BadRequest("an element of Forwarded has more than one for=")
                said = match[2].strip('"')
        nodes.append(said)
    return nodes


def _outside_quotes(text: str, separator: str) -> list[str]:
    """Split at the separators that stand outside quoted strings."""
    if "\\" in text or text.count('"') % 2:
        raise BadRequest(f"Forwarded has an escape or half a quoted string: {text[:60]!r}")
    parts = [""]
    for number, piece in enumerate(text.split('"')):
        if number % 2:
            parts[-1] += f'"{piece}"'
            continue
        first, *others = piece.split(separator)
        parts[-1] += first
        parts.extend(others)
    return parts
