"""Peers, and the links to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PeerRequest", "PeerView", "Peers"]


@dataclass(frozen=True, slots=True)
class PeerView:
    """One peer: what is wanted of it, and the link to it while there is one."""

    endpoint: str
    kind: Literal["static", "inbound", "discovered"]
    state: Literal["alive", "connecting", "dead"]
    discovered: float
    """Seconds since the peer became known."""
    last_linked: float | None
    """Seconds since the last link to it came up."""
    failures: int
    last_error: str
    retry_in: float | None
    link: int | None = None
    local: str | None = None
    remote: str | None = None
    public_key: str | None = None
    address: str | None = None
    cost: int | None = None
    rtt_ms: float | None = None
    stalled: bool = False
    busy: bool = False
    tx_bytes: int = 0
    rx_bytes: int = 0
    tx_packets: int = 0
    rx_packets: int = 0
    queued_bytes: int = 0
    dropped: int = 0
    weight: int = 0
    """Milliseconds that the operator adds to the cost."""
    metered: bool = False
    """Whether the link is spared, at the wish of either end."""
    loss: float | None = None
    """Share of datagrams lost in the worse direction; None where it isn't measured."""
    max_datagram: int | None = None
    """Bytes of the largest datagram that the link carries; None on streams."""
    authenticated: bool = False
    """Whether the link itself proved the peer's key."""
    settling: bool = False
    """Whether the link is back after a failure, and routes that work don't return to it yet."""
    suite: str | None = None
    """The suite of the session with the peer, None without one."""


@dataclass(frozen=True, slots=True)
class Peers:
    """All peers."""

    peers: list[PeerView]
    schema: Literal["zosnet.peers/1"] = "zosnet.peers/1"


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """A peer to add."""

    endpoint: str
