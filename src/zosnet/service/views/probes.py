"""Echo requests and the way to a node: what is asked, and the outcome of each probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PingRequest", "ProbeLine", "TraceRequest"]


@dataclass(frozen=True, slots=True)
class PingRequest:
    """An echo request to an overlay address, `count` times."""

    destination: str
    count: int = 4
    interval: float = 1.0
    timeout: float = 2.0
    size: int = 56


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Find the nodes on the way to an overlay address."""

    destination: str
    max_hops: int = 16
    timeout: float = 1.0
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class ProbeLine:
    """The outcome of one probe. `hop` is the hop limit that it was sent with."""

    sequence: int
    hop: int
    outcome: Literal["reply", "hop", "unreachable", "too_big", "timeout"]
    source: str | None = None
    rtt_ms: float | None = None
    reason: str = ""
    schema: Literal["zosnet.probe/1"] = "zosnet.probe/1"
