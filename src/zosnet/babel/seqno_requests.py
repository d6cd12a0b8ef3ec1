"""Seqno requests of neighbours.

Answered, granted or passed on (reference, section 4.8; RFC 8966, section 3.8.1.2). A stock relay says
nothing to a request which it saw within a minute, though it may have the answer by then. So a stock
neighbour that we pass one on to is also asked for its route as it is.
"""

from collections import Counter

from zosnet.babel.announcements import Announcements
from zosnet.babel.metric import INFINITY
from zosnet.babel.neighbour import Neighbour
from zosnet.babel.node import Node
from zosnet.babel.route import Entry, Route
from zosnet.babel.seqno import is_newer, next_after
from zosnet.babel.source import is_feasible
from zosnet.model.prefix import Prefix
from zosnet.wire.babel import RouteRequest, SeqnoRequest

GRANT_INTERVAL = 0.2
"""Seconds between two increments of our own seqno.

Mycelium's 4 s leave a starving neighbour without a route that long.
"""

SUPPRESSION = 2.0
"""Seconds for which a repeated request isn't passed on again.

Mycelium's are 60, longer than anybody waits.
"""

LIFETIME = 15.0
"""Seconds for which those who asked are told when the answer comes by."""

CLEANING_INTERVAL = 1.0
"""Seconds between two searches of a full record for what may be forgotten: it is searched whole."""


class _Passed:
    """A request that was passed on: who asked for it and is to be told, the first of them on its account."""

    __slots__ = ("asked", "expires", "first", "passed_at", "router_id", "seqno")

    def __init__(self, router_id: bytes, seqno: int, first: int) -> None:
        self.router_id = router_id
        self.seqno = seqno
        self.first = first
        self.asked: dict[int, None] = {}
        self.passed_at = self.expires = float("-inf")


class SeqnoRequests:
    """Requests on record, at most `limits.seqno_requests`."""

    def __init__(self, node: Node, announcements: Announcements) -> None:
        self._node = node
        self._announcements = announcements
        # Looked up, never searched: strangers decide how many seqnos of one prefix are on record.
        self._by_prefix: dict[Prefix, dict[tuple[bytes, int], _Passed]] = {}
        self._size = 0
        self._held: Counter[int] = Counter()
        self._cleaned_at = float("-inf")
        self._granted_at = float("-inf")
        self.grant_at: float | None = None
        """When our own seqno grows next; None if nobody waits for that."""

    def __len__(self) -> int:
        return self._size

    def receive(self, neighbour: Neighbour, request: SeqnoRequest) -> None:
        """A neighbour wants a route with a newer seqno."""
        node = self._node
        if not neighbour.seqno_requests.take(node.now):
            node.counters["refused.seqno_request_rate"] += 1
        elif request.router_id.raw == node.router_id.raw:
            self._receive_own(neighbour, request)
        else:
            self._receive_foreign(neighbour, request)

    def _receive_own(self, neighbour: Neighbour, request: SeqnoRequest) -> None:
        node = self._node
        if not node.own.covers(request.prefix):
            return
        if is_newer(request.seqno, node.seqno):
            if self.grant_at is None:
                self.grant_at = max(node.now, self._granted_at + GRANT_INTERVAL)
                self.grant()
        else:
            node.send(neighbour.peer, node.own_update())

    def grant(self) -> None:
        """Increment our own seqno and tell everybody, if that is due."""
        node = self._node
        if self.grant_at is not None and self.grant_at <= node.now:
            self.grant_at = None
            self._granted_at = node.now
            node.seqno = next_after(node.seqno)
            node.announce_own()

    def _receive_foreign(self, neighbour: Neighbour, request: SeqnoRequest) -> None:
        entry = self._node.table.entries.get(request.prefix)
        if entry is None:
            return
        route = entry.selected
        if route is not None and self._satisfies(route, request):
            if route.neighbour is not neighbour:
                self._announcements.answer(neighbour, request.prefix)
            return
        if request.hop_count >= 2:
            self._pass_on(neighbour, entry, request)

    @staticmethod
    def _satisfies(route: Route, request: SeqnoRequest) -> bool:
        if route.router_id.raw != request.router_id.raw:
            return True
        return not is_newer(request.seqno, route.seqno)

    def _pass_on(self, neighbour: Neighbour, entry: Entry, request: SeqnoRequest) -> None:
        node = self._node
        target = self._target(neighbour, entry)
        if target is None:
            return
        passed = self._record(request, neighbour.peer)
        if passed is None:
            node.counters["refused.seqno_request"] += 1
            return
        passed.asked[neighbour.peer] = None
        if node.now - passed.passed_at < SUPPRESSION:
            return
        passed.passed_at = node.now
        passed.expires = node.now + LIFETIME
        node.send(target.peer, request._replace(hop_count=request.hop_count - 1))
        if not target.is_ours:
            node.send(target.peer, RouteRequest(request.prefix, 0))

    def _target(self, asking: Neighbour, entry: Entry) -> Neighbour | None:
        """The one to ask: our next hop, else a feasible route's, else anybody's with a route."""
        selected = entry.selected
        if selected is not None and selected.neighbour is not asking and selected.total != INFINITY:
            return selected.neighbour
        sources = self._node.sources.of(entry.prefix)
        best: tuple[bool, int, int] | None = None
        for peer, route in entry.routes.items():
            if route.neighbour is asking or route.total == INFINITY:
                continue
            feasible = is_feasible(route.seqno, route.metric, sources.get(route.router_id.raw))
            rank = (not feasible, route.total, peer)
            best = rank if best is None else min(best, rank)
        return None if best is None else self._node.neighbours[best[2]]

    def _record(self, request: SeqnoRequest, peer: int) -> _Passed | None:
        key = request.router_id.raw, request.seqno
        passed = self._by_prefix.get(request.prefix, {}).get(key)
        if passed is None and self._has_room(peer):
            passed = _Passed(*key, first=peer)
            self._by_prefix.setdefault(request.prefix, {})[key] = passed
            self._size += 1
            self._held[peer] += 1
        return passed

    def _has_room(self, peer: int) -> bool:
        if self._is_open_to(peer):
            return True
        now = self._node.now
        if now - self._cleaned_at >= CLEANING_INTERVAL:
            self._cleaned_at = now
            self.expire()
        return self._is_open_to(peer)

    def _is_open_to(self, peer: int) -> bool:
        """Whoever floods fills half of the record; two of them two thirds, and others still find room."""
        return self._held[peer] < self._node.limits.seqno_requests - self._size

    def _forget(self, passed: _Passed) -> None:
        self._size -= 1
        self._held[passed.first] -= 1
        if not self._held[passed.first]:
            del self._held[passed.first]

    def answer(self, entry: Entry) -> None:
        """The selected route of a prefix changed: tell those who waited for its seqno."""
        waiting = self._by_prefix.get(entry.prefix)
        route = entry.selected
        if waiting is None or route is None:
            return
        for key, passed in list(waiting.items()):
            if passed.router_id == route.router_id.raw and not is_newer(passed.seqno, route.seqno):
                del waiting[key]
                self._forget(passed)
                for peer in passed.asked:
                    neighbour = self._node.neighbours.get(peer)
                    if neighbour is not None and neighbour is not route.neighbour:
                        self._announcements.answer(neighbour, entry.prefix)
        if not waiting:
            del self._by_prefix[entry.prefix]

    def expire(self) -> None:
        """Forget the requests whose time is up."""
        now = self._node.now
        for prefix, known in list(self._by_prefix.items()):
            kept = {key: passed for key, passed in known.items() if passed.expires > now}
            for key in known.keys() - kept.keys():
                self._forget(known[key])
            if kept:
                self._by_prefix[prefix] = kept
            else:
                del self._by_prefix[prefix]
