"""Where a peer can be dialled, and where a local service listens, as people write it."""

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, NoReturn, Self

from zosnet.model.errors import UsageError
from zosnet.model.keys import PublicKey

Proto = Literal["tcp", "quic", "udp"]

DEFAULT_PORT = 9651
DEFAULT_UDP_PORT = 9652
MOST_WEIGHT = 4000
"""The largest weight that a link may be given: less than what a metered link costs."""
_HIGHEST_PORT = 65535
_HIGHEST_SCOPE = 0xFFFF_FFFF
_PROTOS: Final[dict[str, Proto]] = {"tcp": "tcp", "quic": "quic", "udp": "udp"}
_NOT_YET = ("tls", "vsock")
_EXAMPLE = f"write it as tcp://host:{DEFAULT_PORT} or quic://[2001:db8::1]:{DEFAULT_PORT} or udp://host"
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A peer that can be dialled: `<proto>://<host>:<port>`, and what is wanted of the link to it.

    Mycelium's syntax, with host names besides. `host` is an IP address in its canonical text or a
    lower-case DNS name. `udp://` also takes the key that the node there must have, before an `@`, and needs
    no port. All take `?weight=N` and `?metered`, joined by `&`.

    Two endpoints are equal when they are the same place, whatever is wanted there: so a peer is found again
    by its place alone. `wishes` compares the rest.
    """

    proto: Proto
    host: str
    port: int
    scope: int | None = None
    """The interface index of a link-local address, None elsewhere."""
    key: PublicKey | None = field(default=None, compare=False)
    """Whom the link must lead to."""
    weight: int = field(default=0, compare=False)
    """Milliseconds to add to what the link costs."""
    metered: bool = field(default=False, compare=False)
    """Whether the link is to be spared: see docs/guide/links.md."""

    @property
    def place(self) -> str:
        """The endpoint without what is wanted of it: how people and programs name a peer."""
        return f"{self.proto}://{_join(self.host, self.port, self.scope)}"

    @property
    def wishes(self) -> tuple[PublicKey | None, int, bool]:
        """What is wanted beside the place."""
        return self.key, self.weight, self.metered

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an endpoint; the protocol's case doesn't matter.

        Raises UsageError, with the remedy, for anything that cannot be dialled.
        """
        proto, separator, address = text.strip().partition("://")
        if not separator:
            _refuse(text, "the protocol is missing")
        known = _PROTOS.get(proto.lower())
        if known is None:
            if proto.lower() in _NOT_YET:
                raise UsageError(f"{text!r}: {proto}:// is not supported yet", remedy="use tcp:// or quic://")
            _refuse(text, f"the protocol {proto!r} is unknown")
        address, question, query = address.partition("?")
        weight, metered = _wishes(text, query) if question else (0, False)
        key, at, address = address.rpartition("@")
        if known == "udp":
            address = _with_port(address)
        elif at:
            _refuse(text, "a key belongs to udp://")
        host, port, scope = _host_port_scope(text, address)
        return cls(known, host, port, scope, _key(text, key) if at else None, weight, metered)

    def __str__(self) -> str:
        key = f"{self.key.hex}@" if self.key is not None else ""
        wishes = [*([f"weight={self.weight}"] if self.weight else []), *(["metered"] if self.metered else [])]
        query = "?" + "&".join(wishes) if wishes else ""
        return f"{self.proto}://{key}{_join(self.host, self.port, self.scope)}{query}"


@dataclass(frozen=True, slots=True, order=True)
class ListenAddress:
    """Where a local service listens: an IP address, or `localhost`, and a port (0: any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "127.0.0.1:8989" or "[::1]:8989". Raises UsageError for anything else."""
        try:
            host, port = _split(text.strip(), lowest_port=0)
            literal = "127.0.0.1" if host == "localhost" else _literal(host)
            if literal is None:
                raise ValueError(f"{host!r} is not an IP address")
        except ValueError as reason:
            raise UsageError(
                f"{text!r} is no address to listen at: {reason}",
                remedy="write it as 127.0.0.1:8989 or [::1]:8989",
            ) from None
        return cls(literal, port)

    def __str__(self) -> str:
        return _join(self.host, self.port, None)


def _refuse(text: str, why: str) -> NoReturn:
    raise UsageError(f"{text!r} is not an endpoint: {why}", remedy=_EXAMPLE)


def _key(text: str, key: str) -> PublicKey:
    try:
        return PublicKey.parse(key)
    except UsageError:
        _refuse(text, "before the @ stands a key of 64 hexadecimal digits")


def _with_port(address: str) -> str:
    """`address`, with the usual port of udp:// where it names none."""
    bare = address.endswith("]") or ":" not in address
    return f"{address}:{DEFAULT_UDP_PORT}" if bare else address


def _wishes(text: str, query: str) -> tuple[int, bool]:
    """Weight and `metered` out of what stands behind the question mark."""
    given: dict[str, str] = {}
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if name not in {"weight", "metered"} or name in given:
            _refuse(text, f"behind the ? stand weight=N and metered, not {item!r}")
        given[name] = value
    weight, metered = given.get("weight", "0"), given.get("metered", "false") or "true"
    if not (weight.isascii() and weight.isdigit() and len(weight) <= 5 and int(weight) <= MOST_WEIGHT):
        _refuse(text, f"a weight is a whole number from 0 to {MOST_WEIGHT}, not {weight!r}")
    if metered not in {"true", "false"}:
        _refuse(text, f"metered is true or false, not {metered!r}")
    return int(weight), metered == "true"


def _join(host: str, port: int, scope: int | None) -> str:
    zone = "" if scope is None else f"%{scope}"
    return f"[{host}{zone}]:{port}" if ":" in host else f"{host}:{port}"


def _split(address: str, *, lowest_port: int) -> tuple[str, int]:
    """Part a host from its port; brackets around IPv6 are taken off. Raises ValueError with the reason."""
    host, colon, port = address.rpartition(":")
    if not colon or not port:
        raise ValueError("the port is missing")
    if not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise ValueError(f"{port!r} is not a port")
    if not lowest_port <= int(port) <= _HIGHEST_PORT:
        raise ValueError(f"{port!r} is not a port from {lowest_port} to {_HIGHEST_PORT}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError("brackets are for IPv6 addresses")
    elif ":" in host:
        raise ValueError("an IPv6 address belongs in brackets")
    return host, int(port)


def _host_port_scope(text: str, address: str) -> tuple[str, int, int | None]:
    try:
        host, port = _split(address, lowest_port=1)
    except ValueError as reason:
        _refuse(text, str(reason))
    host, percent, zone = host.partition("%")
    literal = _literal(host)
    if percent:
        if literal is None or ":" not in literal or not IPv6Address(literal).is_link_local:
            _refuse(text, "a zone belongs to a link-local address")
        if not (zone.isascii() and zone.isdigit() and len(zone) <= 10 and 0 < int(zone) <= _HIGHEST_SCOPE):
            _refuse(text, "the zone must be an interface's number, as `ip link` shows it")
        return literal, port, int(zone)
    return literal or _dns_name(text, host), port, None


def _literal(host: str) -> str | None:
    try:
        return str(IPv6Address(host) if ":" in host else IPv4Address(host))
    except ValueError:
        return None


def _dns_name(text: str, host: str) -> str:
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        _refuse(text, f"{host!r} is neither an IP address nor a host name")
    if labels[-1].isdigit():
        _refuse(text, f"{host!r} is not an IPv4 address")
    return name
