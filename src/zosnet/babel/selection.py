"""Route selection: the route to use for a prefix, and the one to flip to (RFC 8966, section 3.6).

Only feasible routes are candidates. That alone keeps each originator's incarnation free of loops, and lets
the data plane flip to a feasible backup unasked. Across incarnations (a node restarts with a new router id)
there is one more rule: never back to a router id that was succeeded, nor to one that is known to be older,
while the entry lasts. So along any path of next hops the incarnation never gets older, and as long as it is
the same the feasibility distance falls. Forward is no must: a newer incarnation has to be worth it by its
metric, like anything else, for updates are not signed. The backup always leads to the same incarnation as the
route it stands in for.

A route over a metered link, or over one that doesn't answer, is used only if there is no other, whatever the
metrics: see `is_spared`. Among equals in that the metric decides. A backup over another path comes before one
that shares the path of what it stands in for, and would be lost with it.

A route that is lost isn't replaced by one of the same incarnation that may be lost as well, if another is
there: see `is_doubted`. Nothing that works is left because of a doubt.

A route in use is left for a better one, but not for one over a link that has only just come back: see
`is_fresh`. Of two links to one node a datagram link is preferred as soon as it is no longer, for what flows
in streams inside a stream suffers; back it goes only by the usual margin.
"""

from zosnet.babel.metric import INFINITY, is_worth_switching, margin
from zosnet.babel.neighbour import Neighbour
from zosnet.babel.route import Entry, Route
from zosnet.babel.seqno import SEQNO_MASK
from zosnet.babel.siblings import DATAGRAMS, share_path
from zosnet.babel.source import Source, is_feasible, is_older, is_premature

Choice = tuple[Route | None, Route | None]
"""The selected route, and the one to flip to."""

_Candidates = list[tuple[bool, int, int, Route]]
"""Whether to spare it, its metric, the neighbour's number to break ties, and the route."""


def select(entry: Entry, sources: dict[bytes, Source], latest: float) -> Choice:
    """The selected route and its backup. The current one stays unless another is better by the hysteresis.

    `latest`: see `Node.latest_start`.
    """
    candidates = _candidates(entry, sources, latest)
    if not candidates:
        return None, None
    candidates.sort()
    best = _best(entry.selected, candidates)
    return best, _stand_in(best, candidates)


def may_spread(selected: Route, backup: Route | None) -> bool:
    """Whether flows may be spread over the two: equally good links of one kind to one and the same node.

    Two streams on one path carry more than one, datagram links don't: those must be on two.
    They start to be spread when the two differ by half the margin, and are until they differ by all of it.
    """
    if backup is None:
        return False
    one, other = selected.neighbour, backup.neighbour
    if not _are_twins(one, other) or one.kind != other.kind or one.is_spared != other.is_spared:
        return False
    if one.kind == DATAGRAMS and share_path(one, other):
        return False
    if not (_is_steady(one) and _is_steady(other)):
        return False
    bound = margin(selected.total)
    return abs(selected.total - backup.total) <= (bound if selected.entry.spread else bound // 2)


def tempting(selected: Route, sources: dict[bytes, Source], latest: float) -> Route | None:
    """The shortest route that would be selected instead of this one if only it were feasible."""
    entry = selected.entry
    best, bound = None, selected.total
    for route in entry.routes.values():
        total = route.total
        if total < bound and is_worth_switching(total, selected.total):
            source = sources.get(route.router_id.raw)
            if not is_feasible(route.seqno, route.metric, source) and is_successor(entry, route, latest):
                best, bound = route, total
    return best


def is_successor(entry: Entry, route: Route, latest: float) -> bool:
    """Whether the route leads to no earlier incarnation than the entry knows of.

    Two more are let in, lest a forged start keep the real one out. At metric 0 the next hop is the
    originator, and whatever it calls itself the path ends there. And a start in the future bars none that
    isn't.
    """
    raw, known = route.router_id.raw, entry.router_id
    if known is None or raw == known.raw or route.metric == 0:
        return True
    if is_premature(known.raw, latest) and not is_premature(raw, latest):
        return True
    return raw not in entry.former and not is_older(raw, known.raw)


def backup_for(selected: Route, sources: dict[bytes, Source], latest: float) -> Route | None:
    """The backup of a route that stays selected, after the feasibility distance changed."""
    candidates = _candidates(selected.entry, sources, latest)
    candidates.sort()
    return _stand_in(selected, candidates)


def _best(current: Route | None, candidates: _Candidates) -> Route:
    """The route to use: the current one unless another is better by the hysteresis."""
    nearest = candidates[0][3]
    if nearest is current:
        return nearest
    if current is None or all(route is not current for *_, route in candidates):
        alike = [route for spared, *_, route in candidates if spared == candidates[0][0]]
        steady = min(alike, key=lambda route: route.neighbour.is_fresh)
        same = [route for route in alike if route.router_id.raw == steady.router_id.raw]
        return min(same, key=lambda route: (route.neighbour.is_doubted, route.neighbour.is_fresh))
    for *_, route in candidates:
        if route is current:
            break
        if _may_replace(route, current):
            return route
    return current


def _may_replace(route: Route, current: Route) -> bool:
    """Whether a route that comes before the current one is to replace it."""
    new, old = route.neighbour, current.neighbour
    if new.is_fresh and _is_steady(old):
        return False
    if new.is_doubted and not old.is_doubted:
        return False
    if new.is_spared != old.is_spared or is_worth_switching(route.total, current.total):
        return True
    return new.kind == DATAGRAMS and old.kind != DATAGRAMS and _are_twins(new, old)


def _are_twins(one: Neighbour, other: Neighbour) -> bool:
    return one.node is not None and one.node == other.node


def _is_steady(neighbour: Neighbour) -> bool:
    return not neighbour.is_fresh and not neighbour.is_suspect


def may_stand_in(route: Route, selected: Route, backup: Route) -> bool:
    """Whether a feasible route that just came in, or changed, may be the better one or the better backup.

    Cheap: most that come in are neither.
    """
    one, new = selected.neighbour, route.neighbour
    if (new.is_spared, route.total) < (one.is_spared, selected.total):
        return True
    if may_spread(selected, route):
        return not selected.entry.spread or route.total < backup.total
    if selected.entry.spread:
        return False
    return (*_reserve(selected, route), route.total) < (*_reserve(selected, backup), backup.total)


def _reserve(selected: Route, route: Route) -> tuple[bool, bool, bool]:
    """What is against a route as backup, most important first."""
    neighbour = route.neighbour
    return neighbour.is_spared, neighbour.is_doubted, share_path(selected.neighbour, neighbour)


def _stand_in(selected: Route, candidates: _Candidates) -> Route | None:
    """The other route to the same incarnation to flip to.

    One as good to the same neighbour, over which flows may be spread; else the nearest of those with the
    least against them.
    """
    raw = selected.router_id.raw
    others = [route for *_, route in candidates if route is not selected and route.router_id.raw == raw]
    spread = next((route for route in others if may_spread(selected, route)), None)
    return spread or min(others, key=lambda route: _reserve(selected, route), default=None)


def _candidates(entry: Entry, sources: dict[bytes, Source], latest: float) -> _Candidates:
    candidates: _Candidates = []
    known = entry.router_id.raw if entry.router_id is not None else None
    mixed = False
    for peer, route in entry.routes.items():
        total = route.metric + route.neighbour.cost
        if total >= INFINITY:
            continue
        raw = route.router_id.raw
        source = sources.get(raw)
        if source is not None:  # is_feasible, spelled out: this is the innermost loop
            step = (route.seqno - source.seqno) & SEQNO_MASK
            if route.metric >= source.metric if step == 0 else step >= 0x8000:
                continue
        if raw != known:
            mixed = True
        candidates.append((route.neighbour.is_spared, total, peer, route))
    return _admissible(entry, candidates, latest) if mixed else candidates


def _admissible(entry: Entry, candidates: _Candidates, latest: float) -> _Candidates:
    """Drop what would go back to an earlier incarnation, and starts in the future if there are others."""
    admitted = [candidate for candidate in candidates if is_successor(entry, candidate[3], latest)]
    timely = [candidate for candidate in admitted if not is_premature(candidate[3].router_id.raw, latest)]
    return timely or admitted
