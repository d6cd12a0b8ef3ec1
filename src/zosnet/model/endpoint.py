"""Where a peer can be dialled, and where a local service listens, as people write it."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, NoReturn, Self

from zosnet.model.errors import UsageError

Proto = Literal["tcp", "quic"]

DEFAULT_PORT = 9651
_HIGHEST_PORT = 65535
_HIGHEST_SCOPE = 0xFFFF_FFFF
_PROTOS: Final[dict[str, Proto]] = {"tcp": "tcp", "quic": "quic"}
_NOT_YET = ("tls", "vsock")
_EXAMPLE = f"write it as tcp://host:{DEFAULT_PORT} or quic://[2001:db8::1]:{DEFAULT_PORT}"
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A peer that can be dialled: `<proto>://<host>:<port>`.

    Mycelium's syntax, with host names besides. `host` is an IP address in its canonical text or a
    lower-case DNS name.
    """

    proto: Proto
    host: str
    port: int
    scope: int | None = None
    """The interface index of a link-local address, None elsewhere."""

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
        return cls(known, *_host_port_scope(text, address))

    def __str__(self) -> str:
        return f"{self.proto}://{_join(self.host, self.port, self.scope)}"


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
