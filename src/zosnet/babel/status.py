"""What a Speaker shows of itself: plain values, taken at one moment."""

from dataclasses import dataclass

from zosnet.babel.neighbour import Neighbour
from zosnet.babel.route import Route
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId


@dataclass(frozen=True, slots=True)
class NeighbourStatus:
    """One link as routing sees it. Times are in seconds; `cost` is 65535 while nothing may use the link."""

    peer: int
    cost: int
    static_cost: int
    rtt: float | None
    loss: float | None
    weight: int
    is_metered: bool
    routes: int
    is_ours: bool
    is_busy: bool
    is_stalled: bool
    is_suspect: bool
    is_fresh: bool
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
    is_spread: bool = False


@dataclass(frozen=True, slots=True)
class QueryStatus:
    """A route request in progress. `asked_by` is a neighbour, or None if we need the route ourselves."""

    prefix: Prefix
    asked_by: int | None
    expires_in: float


def neighbour_status(neighbour: Neighbour, now: float) -> NeighbourStatus:
    """What to show of a link."""
    return NeighbourStatus(
        peer=neighbour.peer,
        cost=neighbour.cost,
        static_cost=neighbour.link.static,
        rtt=neighbour.link.rtt,
        loss=neighbour.link.loss,
        weight=neighbour.weight,
        is_metered=neighbour.metered or neighbour.far_metered,
        routes=len(neighbour.routes),
        is_ours=neighbour.is_ours,
        is_busy=neighbour.is_busy,
        is_stalled=neighbour.is_stalled,
        is_suspect=neighbour.is_suspect,
        is_fresh=neighbour.is_fresh,
        up_for=now - neighbour.since,
        heard_ago=now - neighbour.heard_at,
    )


def route_status(route: Route, now: float) -> RouteStatus:
    """What to show of a route; only the selected one has a backup."""
    entry = route.entry
    backup = entry.backup if route is entry.selected else None
    return RouteStatus(
        prefix=entry.prefix,
        router_id=route.router_id,
        next_hop=route.neighbour.peer,
        backup=backup.neighbour.peer if backup is not None else None,
        seqno=route.seqno,
        metric=route.total,
        advertised=route.metric,
        expires_in=route.expires - now,
        is_spread=entry.spread and route is entry.selected,
    )
