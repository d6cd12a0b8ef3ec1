"""The node itself: how it is, who it is, and what was done to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zosnet.service.views.findings import Finding

__all__ = ["Done", "KeyView", "ReloadReport", "Status"]


@dataclass(frozen=True, slots=True)
class Status:
    """The node at a glance."""

    version: str
    public_key: str
    address: str
    subnet: str
    router_id: str
    tun: str | None
    mtu: int
    listen: list[str]
    started: float
    uptime: float
    peers_linked: int
    peers_wanted: int
    routes: int
    queries: int
    tx_bytes: int
    rx_bytes: int
    findings: list[Finding]
    sessions: dict[str, int]
    """How many there are, by suite."""
    pins: int
    """How many nodes are held to our suite."""
    inbound: Literal["none", "all"] = "none"
    """What may come in unasked, beside what rules allow."""
    refused: int = 0
    """Packets and messages that were not let in."""
    schema: Literal["zosnet.status/1"] = "zosnet.status/1"


@dataclass(frozen=True, slots=True)
class KeyView:
    """Who the node is."""

    public_key: str
    address: str
    subnet: str
    signing_key: str
    schema: Literal["zosnet.key/1"] = "zosnet.key/1"


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What a reload changed, and which differences wait for a restart."""

    changed: list[str]
    needs_restart: list[str]
    schema: Literal["zosnet.reload/1"] = "zosnet.reload/1"


@dataclass(frozen=True, slots=True)
class Done:
    """It is done."""

    schema: Literal["zosnet.done/1"] = "zosnet.done/1"
