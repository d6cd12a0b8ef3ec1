"""Route selection: the route to use for a prefix, and the one to flip to (RFC 8966, section 3.6).

Only feasible routes are candidates. That alone keeps each originator's incarnation free of loops, and lets
the data plane flip to a feasible backup unasked. Across incarnations (a node restarts with a new router id)
there is one more rule: never back to a router id that was succeeded, nor to one that is known to be older,
while the entry lasts. So along any path of next hops the incarnation never gets older, and as long as it is
the same the feasibility distance falls. Forward is no must: a newer incarnation has to be worth it by its
metric, like anything else, for updates are not signed. The backup always leads to the same incarnation as the
route it stands in for.
"""

from zosnet.babel.metric import INFINITY, is_worth_switching
from zosnet.babel.route import Entry, Route
from zosnet.babel.seqno import SEQNO_MASK
from zosnet.babel.source import Source, is_feasible, is_older, is_premature

Choice = tuple[Route | None, Route | None]
"""The selected route, and the one to flip to."""

_Candidates = list[tuple[int, int, Route]]


def select(entry: Entry, sources: dict[bytes, Source], latest: float) -> Choice:
    """The selected route and its backup. The current one stays unless another is better by the hysteresis.

    `latest`: see `Node.latest_start`.
    """
    candidates = _candidates(entry, sources, latest)
    if not candidates:
        return None, None
    candidates.sort()
    metric, _, best = candidates[0]
    current = entry.selected
    if current is not None and best is not current:
        for total, _, route in candidates:
            if route is current:
                if not is_worth_switching(metric, total):
                    best = current
                break
    return best, _stand_in(best, candidates)


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


def _stand_in(selected: Route, candidates: _Candidates) -> Route | None:
    raw = selected.router_id.raw
    for _, _, route in candidates:
        if route is not selected and route.router_id.raw == raw:
            return route
    return None


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
        candidates.append((total, peer, route))
    return _admissible(entry, candidates, latest) if mixed else candidates


def _admissible(entry: Entry, candidates: _Candidates, latest: float) -> _Candidates:
    """Drop what would go back to an earlier incarnation, and starts in the future if there are others."""
    admitted = [candidate for candidate in candidates if is_successor(entry, candidate[2], latest)]
    timely = [candidate for candidate in admitted if not is_premature(candidate[2].router_id.raw, latest)]
    return timely or admitted
