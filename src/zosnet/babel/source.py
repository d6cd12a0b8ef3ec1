"""Sources: the best distance this node ever advertised for each (prefix, router id), and what is feasible.

This table is what keeps Babel free of loops (RFC 8966, sections 2.4 and 3.5.1): whoever forwards to a
neighbour does so on a distance strictly better than its own feasibility distance, so along any path of next
hops (backups included) the feasibility distance strictly falls. It is kept per originator, though, so after a
restart with a new router id the routes to the old and the new incarnation could form a loop together. Hence
incarnations are ordered: see `is_older` and `is_premature`.

The table also pins keys. A /64 holds 57 bits of a hash, so two keys may own the same one; while any source of
a prefix is remembered, only its key is believed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from zosnet.babel.seqno import SEQNO_MASK
from zosnet.model.prefix import Prefix

if TYPE_CHECKING:
    from zosnet.babel.route import Route

LIFETIME = 1800.0
"""Seconds that a source is kept after it was last advertised.

As Mycelium's; RFC 8966 suggests three minutes.
"""

PRESSED_LIFETIME = 60.0
"""The same when the table is full and nobody has a route for the prefix.

Ten times the hold of a retraction.
"""

ORDERED_ZONE = 0x8000
"""The zone bit which promises that the six random bytes of a router id grow from start to start.

`incarnation`.
"""

SESSION_ZONE = 0x4000
"""The zone bit which says that the node speaks zosnet's own session suite."""

InUse = Callable[[Prefix, bytes], bool]
"""Whether there is a route to this prefix and router id."""

_PRESSED_INTERVAL = 10.0
_KEY = 32
_RANDOM = slice(34, 40)
_START = slice(34, 38)


def incarnation(epoch_seconds: int, entropy: bytes) -> bytes:
    """The `random` of a router id whose zone has ORDERED_ZONE: start time (4 bytes) ‖ 2 bytes of `entropy`.

    A node whose clock went back since its last start is believed as soon as its former routes are gone.
    """
    return (epoch_seconds & 0xFFFFFFFF).to_bytes(4, "big") + entropy[:2]


def is_ordered(router_id: bytes) -> bool:
    """Whether the router id (40 bytes) carries ORDERED_ZONE."""
    return router_id[32] & 0x80 != 0


def is_older(a: bytes, b: bytes) -> bool:
    """Whether router id `a` is known to be of an earlier start than `b` of the same key.

    Stock ids have no order.
    """
    return is_ordered(a) and is_ordered(b) and a[_RANDOM] < b[_RANDOM]


def is_premature(router_id: bytes, latest: float) -> bool:
    """Whether the router id claims a start after `latest`, in seconds since the epoch."""
    return is_ordered(router_id) and int.from_bytes(router_id[_START], "big") > latest


class Source:
    """A feasibility distance: the smallest (by newest seqno, then metric) ever advertised."""

    __slots__ = ("metric", "owner", "refreshed", "seqno")

    def __init__(self, seqno: int, metric: int, owner: int, now: float) -> None:
        self.seqno = seqno
        self.metric = metric
        self.owner = owner
        self.refreshed = now


def is_feasible(seqno: int, metric: int, source: Source | None) -> bool:
    """Whether a finite route at (seqno, metric) can never close a loop.

    It is better than what we ever advertised.
    """
    if source is None:
        return True
    step = (seqno - source.seqno) & SEQNO_MASK
    return metric < source.metric if step == 0 else step < 0x8000


_NONE: dict[bytes, Source] = {}


class SourceTable:
    """Sources by prefix and router id (as 40 bytes).

    Bounded: `has_room` is asked before a new one is let in.
    """

    def __init__(self, limit: int, per_neighbour: int, per_prefix: int) -> None:
        self._limit = limit
        self._per_neighbour = per_neighbour
        self._per_prefix = per_prefix
        self._by_prefix: dict[Prefix, dict[bytes, Source]] = {}
        self._owned: dict[int, int] = {}
        self._size = 0
        self._pressed_at = float("-inf")

    def __len__(self) -> int:
        return self._size

    def of(self, prefix: Prefix) -> dict[bytes, Source]:
        """The sources of `prefix` by router id. Not to be changed."""
        return self._by_prefix.get(prefix, _NONE)

    def refuses_key(self, prefix: Prefix, router_id: bytes) -> bool:
        """Whether `prefix` is remembered with another key than this router id's."""
        known = self._by_prefix.get(prefix)
        return known is not None and next(iter(known))[:_KEY] != router_id[:_KEY]

    def has_room(self, owner: int, now: float, in_use: InUse, *, share: float = 1.0) -> bool:
        """Whether one more source, brought by neighbour `owner`, fits in `share`; idle ones make room."""
        limit = self._limit * share
        if self._owned.get(owner, 0) >= self._per_neighbour:
            return False
        if self._size >= limit and now - self._pressed_at >= _PRESSED_INTERVAL:
            self._pressed_at = now
            self._collect(now - PRESSED_LIFETIME, in_use)
        return self._size < limit

    def advertise(self, route: "Route", metric: int, now: float) -> bool:
        """Record that `route` is about to be advertised at `metric`; whether that moved the distance."""
        prefix, router_id, seqno = route.entry.prefix, route.router_id.raw, route.seqno
        known = self._by_prefix.get(prefix)
        if known is None:
            known = self._by_prefix[prefix] = {}
        source = known.get(router_id)
        if source is None:
            if len(known) >= self._per_prefix:
                oldest = min(known, key=lambda raw: known[raw].refreshed)
                self._disown(known.pop(oldest).owner)
            owner = route.neighbour.peer
            known[router_id] = Source(seqno, metric, owner, now)
            self._owned[owner] = self._owned.get(owner, 0) + 1
            self._size += 1
            return True
        source.refreshed = now
        if not is_feasible(seqno, metric, source):
            return False
        source.seqno = seqno
        source.metric = metric
        return True

    def collect(self, now: float, in_use: InUse) -> None:
        """Forget what nobody advertised for 30 minutes and nobody has a route for."""
        self._collect(now - LIFETIME, in_use)

    def _collect(self, before: float, in_use: InUse) -> None:
        for prefix, known in list(self._by_prefix.items()):
            stale = [raw for raw, source in known.items() if source.refreshed <= before]
            for raw in stale:
                if in_use(prefix, raw):
                    continue
                self._disown(known.pop(raw).owner)
            if not known:
                del self._by_prefix[prefix]

    def _disown(self, owner: int) -> None:
        self._size -= 1
        left = self._owned[owner] - 1
        if left:
            self._owned[owner] = left
        else:
            del self._owned[owner]
