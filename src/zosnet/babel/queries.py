"""Route requests: what we look for, and what neighbours ask us to look for (reference, section 4.7).

Queries live apart from routes, so that a question can never hide a route. Only a node's whole /64 is asked
for: a longer prefix is answered for, and passed on as, the /64 around it; shorter ones are dropped.

Whoever has said nothing yet isn't asked. A stock node announces itself at once, so that spares only links
that don't speak Babel.
"""

from zosnet.babel.announcements import Announcements
from zosnet.babel.neighbour import Neighbour
from zosnet.babel.node import Node
from zosnet.babel.rate import Bucket
from zosnet.model.prefix import OVERLAY, Prefix
from zosnet.wire.babel import RouteRequest

LIFETIME = 15.0
"""Seconds that a query is remembered, and not asked again. As Mycelium's."""

MAX_GENERATION = 15
"""Times that a request may have been forwarded when it is sent. As Mycelium's."""

CLEANING_INTERVAL = 1.0
"""Seconds between two searches of a full record for what may be forgotten: it is searched whole."""

SUBNET_LENGTH = 64
_NOBODY, _STRANGERS = 0, -1
"""Owners that are no neighbours: this node itself, and packets of others that pass through or come in."""


class Query:
    """A route request in progress. `owner`: the neighbour that it counts against, or one of the two above."""

    __slots__ = ("asked", "expires", "generation", "owner", "prefix")

    def __init__(self, prefix: Prefix, owner: int, generation: int, expires: float) -> None:
        self.prefix = prefix
        self.owner = owner
        self.generation = generation
        """With which it is, or was, sent."""
        self.expires = expires
        self.asked: dict[int, int] = {}
        """Neighbour → the smallest generation that it was asked with."""


class Queries:
    """Queries in progress, at most `limits.queries`; of one neighbour, at most `queries_per_neighbour`.

    A quarter is ours alone: whatever all neighbours together ask, this node can look for its own routes.
    For the same reason the rates of what is asked for them and for packets are bounded apart.
    """

    def __init__(self, node: Node, announcements: Announcements) -> None:
        self._node = node
        self._announcements = announcements
        self._by_prefix: dict[Prefix, Query] = {}
        self._owned: dict[int, int] = {}
        self._cleaned_at = float("-inf")
        self._passed = Bucket(node.limits.passed_requests_per_second, node.now)
        self._needs = Bucket(node.limits.needs_per_second, node.now)

    def __len__(self) -> int:
        return len(self._by_prefix)

    def in_progress(self) -> list[Query]:
        """Those that may still be answered."""
        now = self._node.now
        return [query for query in self._by_prefix.values() if query.expires > now]

    def need(self, destination: int, *, for_others: bool = False) -> None:
        """A packet for this address waits: ask everybody for its /64, unless that was done within 15 s."""
        node = self._node
        prefix = Prefix.of(destination, SUBNET_LENGTH)
        if not OVERLAY.covers(prefix) or node.own.covers(prefix):
            return
        entry = node.table.entries.get(prefix)
        if entry is None or entry.selected is None:
            self._ask(prefix, _STRANGERS if for_others else _NOBODY, 0)

    def receive(self, neighbour: Neighbour, request: RouteRequest) -> None:
        """A neighbour asks for a route, or for all."""
        node = self._node
        if not neighbour.requests.take(node.now):
            node.counters["refused.request_rate"] += 1
        elif request.prefix is None:
            node.send(neighbour.peer, node.own_update())
            self._announcements.dump(neighbour)
        elif request.prefix.length < SUBNET_LENGTH or not OVERLAY.covers(request.prefix):
            node.counters["refused.request_prefix"] += 1
        else:
            self._receive(neighbour, Prefix.of(request.prefix.network, SUBNET_LENGTH), request.generation)

    def _receive(self, neighbour: Neighbour, prefix: Prefix, generation: int) -> None:
        node = self._node
        if node.own.covers(prefix):
            node.send(neighbour.peer, node.own_update())
            return
        entry = node.table.entries.get(prefix)
        if entry is not None and entry.selected is not None:
            if entry.selected.neighbour is not neighbour:
                self._announcements.answer(neighbour, prefix)
        elif generation < MAX_GENERATION:
            self._ask(prefix, neighbour.peer, generation + 1)

    def _ask(self, prefix: Prefix, owner: int, generation: int) -> None:
        """Ask all but `owner`, unless they were asked within 15 s with as small a generation."""
        node = self._node
        query = self._by_prefix.get(prefix)
        if query is None or query.expires <= node.now:
            if query is not None:
                self.end(prefix)
            query = self._open(prefix, owner, generation)
            if query is None:
                return
        elif generation < query.generation:
            if not self._may_ask(owner):
                return
            query.generation = generation
        else:
            return
        request = RouteRequest(prefix, generation)
        for peer, neighbour in node.neighbours.items():
            if (
                peer != owner
                and neighbour.has_spoken
                and not neighbour.is_stalled
                and query.asked.get(peer, generation + 1) > generation
            ):
                query.asked[peer] = generation
                node.send(peer, request)

    def _open(self, prefix: Prefix, owner: int, generation: int) -> Query | None:
        if not self._has_room(owner):
            self._node.counters["refused.query"] += 1
            return None
        if not self._may_ask(owner):
            return None
        self._owned[owner] = self._owned.get(owner, 0) + 1
        query = self._by_prefix[prefix] = Query(prefix, owner, generation, self._node.now + LIFETIME)
        return query

    def _may_ask(self, owner: int) -> bool:
        bucket = self._needs if owner == _NOBODY else self._passed
        if bucket.take(self._node.now):
            return True
        self._node.counters["refused.query_rate"] += 1
        return False

    def _has_room(self, owner: int) -> bool:
        limits, now = self._node.limits, self._node.now
        if len(self._by_prefix) >= limits.queries * 3 // 4 and now - self._cleaned_at >= CLEANING_INTERVAL:
            self._cleaned_at = now
            self.expire()
        size = len(self._by_prefix)
        if owner == _NOBODY:
            return size < limits.queries
        theirs = size - self._owned.get(_NOBODY, 0)
        share = min(limits.queries_per_neighbour, limits.queries // 2)
        return (
            self._owned.get(owner, 0) < share and theirs < limits.queries * 3 // 4 and size < limits.queries
        )

    def greet(self, neighbour: Neighbour) -> None:
        """A neighbour that speaks for the first time may know what we look for."""
        for query in self.in_progress():
            if neighbour.peer not in query.asked and query.owner != neighbour.peer:
                query.asked[neighbour.peer] = query.generation
                self._node.send(neighbour.peer, RouteRequest(query.prefix, query.generation))

    def forget(self, neighbour: Neighbour) -> None:
        """It is gone."""
        for query in self._by_prefix.values():
            query.asked.pop(neighbour.peer, None)

    def end(self, prefix: Prefix) -> None:
        """The route came, or the time is up."""
        query = self._by_prefix.pop(prefix, None)
        if query is not None:
            left = self._owned[query.owner] - 1
            if left:
                self._owned[query.owner] = left
            else:
                del self._owned[query.owner]

    def expire(self) -> None:
        """Forget the queries whose time is up."""
        now = self._node.now
        for query in [query for query in self._by_prefix.values() if query.expires <= now]:
            self.end(query.prefix)
