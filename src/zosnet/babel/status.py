"""What a Speaker shows of itself: plain values, taken at one moment."""

from dataclasses import dataclass

from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId


@dataclass(frozen=True, slots=True)
class NeighbourStatus:
    """One link as routing sees it. Times are in seconds; `cost` is 65535 while nothing may use the link."""

    peer: int
    cost: int
    static_cost: int
    rtt: float | None
    routes: int
    is_ours: bool
    is_busy: bool
    is_stalled: bool
    is_suspect: bool
    up_for: float
    heard_ago: float


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """One route. `metric` has the cost of the link in it, `advertised` is what the neighbour said."""

    prefix: Prefix
    router_id: RouterId
    next_hop: int
    backup: int | None
    seqno: int
    metric: int
    advertised: int
    expires_in: float


@dataclass(frozen=True, slots=True)
class QueryStatus:
    """A route request in progress. `asked_by` is a neighbour, or None if we need the route ourselves."""

    prefix: Prefix
    asked_by: int | None
    expires_in: float
