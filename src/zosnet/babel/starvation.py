"""Starvation: routes exist, or did a moment ago, but none is feasible (RFC 8966, section 3.8.2.1).

The cure is a newer seqno, and every neighbour with a route is asked to pass the request on. A stock
originator answers at most once in four seconds and stock relays drop a repetition for a minute, so one that
stays unanswered is repeated, but ever less often, and stock neighbours are then also asked for their route
as it is, and for the seqno after the wanted one: a request that a stock relay passed on into a dead link
makes it deaf to that seqno, yet it remembers whom to tell when it comes.
"""

from collections import deque

from zosnet.babel.node import Node
from zosnet.babel.route import Entry
from zosnet.babel.selection import is_successor
from zosnet.babel.seqno import is_newer, next_after
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import RouteRequest, SeqnoRequest

HOP_COUNT = 64

RETRIES = (1.0, 4.5, 15.0, 61.0)
"""Seconds from one request to the next; the last one is repeated. A guess, around the 4 s and 60 s above."""


_Want = tuple[Entry, int, bool]
"""An entry, a neighbour to ask, and whether to ask nobody else."""


class Starvation:
    """Prefixes that want a newer seqno."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._awaited: deque[_Want] = deque()
        """What packets wait for."""
        self._wanted: deque[_Want] = deque()

    @property
    def is_pending(self) -> bool:
        """Whether `send` has something to do."""
        return bool(self._awaited or self._wanted)

    def want(self, entry: Entry, peer: int = 0) -> None:
        """Ask for a newer seqno: all that have a route, and `peer`, which has just withdrawn its own.

        Not again while a request is on its way; `retry` repeats it.
        """
        if entry.attempts == 0:
            self._ask(entry, peer)

    def tempt(self, entry: Entry, peer: int) -> None:
        """Ask one neighbour, whose route isn't feasible and would be shorter (RFC 8966, section 3.8.2.2)."""
        if entry.attempts == 0:
            self._ask(entry, peer, alone=True)

    def include(self, entry: Entry, peer: int) -> None:
        """A neighbour gained a route while we starve, not a feasible one either: ask there, without waiting.

        Earlier requests found no way through it. The rhythm of the repetitions stays as it is.
        """
        if entry.attempts:
            self._put(entry, peer, alone=True)

    def retry(self, entry: Entry) -> None:
        """Its time has come: ask again. While some route is in use, only until the last of RETRIES."""
        if entry.attempts and self._node.now >= entry.retry_at:
            if entry.selected is not None and entry.attempts >= len(RETRIES):
                self.end(entry)
            else:
                self._ask(entry, 0)

    def restore_backup(self, entry: Entry) -> None:
        """Ask those whose route would be feasible if only it had the seqno that we advertise."""
        node = self._node
        for peer, route in entry.routes.items():
            raw = route.router_id.raw
            source = node.sources.of(entry.prefix).get(raw)
            if source is None or entry.router_id is None or entry.router_id.raw != raw:
                continue
            if (
                route.metric < source.metric
                and is_newer(source.seqno, route.seqno)
                and not route.neighbour.is_stalled
            ):
                node.send(peer, SeqnoRequest(entry.prefix, route.router_id, source.seqno, HOP_COUNT))

    def end(self, entry: Entry) -> None:
        """A feasible route came."""
        entry.attempts = 0
        entry.retry_at = float("inf")

    def send_awaited(self, budget: int) -> int:
        """Make up to about `budget` requests, of those that packets wait for; what is left of it."""
        return self._send(self._awaited, budget)

    def send(self, budget: int) -> None:
        """Make up to about `budget` requests, first those that packets wait for.

        A neighbour passes on only so many a second, and may drop the rest.
        """
        self._send(self._wanted, self.send_awaited(budget))

    def _send(self, wants: deque[_Want], budget: int) -> int:
        node = self._node
        while wants and budget > 0:
            entry, peer, alone = wants.popleft()
            router_id = self._router_id(entry)
            if router_id is None or entry.attempts == 0:
                continue
            source = node.sources.of(entry.prefix).get(router_id.raw)
            seqno = 1 if source is None else next_after(source.seqno)
            request = SeqnoRequest(entry.prefix, router_id, seqno, HOP_COUNT)
            is_repeated = entry.attempts > 1
            holders = [peer] if alone else [*entry.routes, *([peer] if peer not in entry.routes else [])]
            for holder in holders:
                if holder in node.neighbours and not node.neighbours[holder].is_stalled:
                    node.send(holder, request)
                    if is_repeated and not node.neighbours[holder].is_ours:
                        node.send(holder, request._replace(seqno=next_after(seqno)))
                        node.send(holder, RouteRequest(entry.prefix, 0))
                    budget -= 1
        return budget

    def _ask(self, entry: Entry, peer: int, *, alone: bool = False) -> None:
        wait = RETRIES[min(entry.attempts, len(RETRIES) - 1)]
        entry.attempts += 1
        entry.retry_at = self._node.now + wait
        self._node.agenda.put(entry, entry.retry_at)
        self._put(entry, peer, alone=alone)

    def _put(self, entry: Entry, peer: int, *, alone: bool) -> None:
        wants = self._awaited if entry.is_in_use(self._node.now) else self._wanted
        wants.append((entry, peer, alone))

    def _router_id(self, entry: Entry) -> RouterId | None:
        """The originator to ask.

        The one we had, if anybody still leads to it, else that of the shortest route.
        """
        known = entry.router_id
        latest = self._node.latest_start
        routes = [route for route in entry.routes.values() if is_successor(entry, route, latest)]
        if not routes or (known is not None and any(route.router_id.raw == known.raw for route in routes)):
            return known
        return min(routes, key=lambda route: route.total).router_id
