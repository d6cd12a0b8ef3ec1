"""The routing table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["QueryView", "RouteView", "Routes"]


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route. `metric` None is infinity: the key is known, the way is not."""

    prefix: str
    public_key: str
    address: str
    next_hop: str
    link: int
    metric: int | None
    seqno: int
    expires_in: float
    backup: str | None = None
    """The peer whose link takes over the moment `link` fails."""
    backup_link: int | None = None
    spread: bool = False
    """Whether flows are spread over both."""


@dataclass(frozen=True, slots=True)
class QueryView:
    """A prefix that neighbours were asked for."""

    prefix: str
    expires_in: float


@dataclass(frozen=True, slots=True)
class Routes:
    """The routing table: routes in use, feasible others, and questions on the way."""

    selected: list[RouteView]
    fallback: list[RouteView]
    queried: list[QueryView]
    schema: Literal["zosnet.routes/1"] = "zosnet.routes/1"
