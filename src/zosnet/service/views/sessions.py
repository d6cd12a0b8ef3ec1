"""Sessions with other nodes, and who is held to which suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PinView", "Pins", "SessionView", "Sessions"]


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session with another node: how what goes there is encrypted."""

    public_key: str
    address: str
    suite: str
    cipher: str
    state: str
    age: float
    tx_frames: int
    rx_frames: int
    via: str
    max_frame: int | None
    pinned: bool
    """Whether the node is held to our suite."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """All sessions with other nodes."""

    sessions: list[SessionView]
    schema: Literal["zosnet.sessions/1"] = "zosnet.sessions/1"


@dataclass(frozen=True, slots=True)
class PinView:
    """A node that is held to our session suite."""

    public_key: str
    address: str
    since: int
    """Unix time."""
    downgraded: bool
    """Whether it has spoken only Mycelium's suite of late, and was not heard."""


@dataclass(frozen=True, slots=True)
class Pins:
    """All nodes that are held to our session suite."""

    pins: list[PinView]
    schema: Literal["zosnet.pins/1"] = "zosnet.pins/1"
