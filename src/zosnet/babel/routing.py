"""What an Update does: the route table, the choice per prefix, and who must hear of it (RFC 8966, section
3.5).

Departures from the RFC and from Mycelium are in docs/decisions. Bulk work (a neighbour is lost, a link's
cost moved) marks entries, and `decide_marked` works them off in slices.
"""

from collections import deque

from zosnet.babel.announcements import Announcements
from zosnet.babel.metric import INFINITY, is_big_change, is_worth_switching, plus
from zosnet.babel.neighbour import Neighbour
from zosnet.babel.node import Node
from zosnet.babel.queries import Queries
from zosnet.babel.route import Entry, Route
from zosnet.babel.selection import may_spread, may_stand_in, select, tempting
from zosnet.babel.seqno import ahead
from zosnet.babel.seqno_requests import SeqnoRequests
from zosnet.babel.source import Source, is_feasible
from zosnet.babel.starvation import Starvation
from zosnet.babel.table import lifetime, shared_id
from zosnet.model.prefix import OVERLAY
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Update

HOLD = 6.0
"""Seconds that a lost prefix stays unreachable before it is forgotten. As Mycelium's."""

SHORTEST_LENGTH = 64
"""Bits of the shortest prefix that is routed: a node's subnet."""

JUMP, JUMPS_PER_SECOND = 1024, 5
"""Steps that a seqno may honestly make at once (a guess), and per second since we advertised it (our rate).

A larger jump isn't believed while a route with the old seqno works, so that a forged one can't draw traffic
away from it. When that route is lost the jump is taken: the only route is better than none.
"""

FORMER_REMEMBERED = 8


class Routing:
    """Routes in, decisions out."""

    def __init__(
        self,
        node: Node,
        announcements: Announcements,
        starvation: Starvation,
        queries: Queries,
        seqno_requests: SeqnoRequests,
    ) -> None:
        self._node = node
        self._announcements = announcements
        self._starvation = starvation
        self._queries = queries
        self._seqno_requests = seqno_requests
        self._marked: deque[Entry] = deque()
        self._marked_in_use: deque[Entry] = deque()

    @property
    def is_pending(self) -> bool:
        """Whether `decide_marked` has something to do."""
        return bool(self._marked_in_use or self._marked)

    # what neighbours say

    def receive(self, neighbour: Neighbour, update: Update) -> None:
        """A neighbour announces or retracts a route."""
        prefix = update.prefix
        route = neighbour.routes.get(prefix)
        if update.metric == INFINITY:
            if route is not None:
                self._lose(route, neighbour.peer)
            return
        raw = update.router_id.raw
        if (route is None or route.router_id.raw != raw) and not self._admits(
            neighbour, update, route is None
        ):
            return
        source = self._node.sources.of(prefix).get(raw)
        feasible = is_feasible(update.seqno, update.metric, source)
        if source is not None and feasible and self._is_implausible(update, source):
            self._node.counters["refused.seqno_jump"] += 1
            return
        if route is None:
            route = self._node.table.add(neighbour, update, self._node.now)
            if not feasible:
                self._starvation.include(route.entry, neighbour.peer)
            self._consider(route, feasible)
        elif route is not route.entry.selected:
            known = route.entry.backup is not route or (route.seqno, route.metric) == (
                update.seqno,
                update.metric,
            )
            self._store(route, update)
            if known:
                self._consider(route, feasible)
            else:
                self.decide(route.entry)
        elif feasible or route.router_id.raw != raw:
            self._renew_selected(route, update)
        else:
            self._distrust_selected(route, update)

    def _admits(self, neighbour: Neighbour, update: Update, is_new: bool) -> bool:
        """The filters, for a router id that this neighbour's route didn't have before.

        What they refuse is counted.
        """
        reason = self._refusal(neighbour, update, is_new)
        if reason:
            self._node.counters[reason] += 1
        return not reason

    def _refusal(self, neighbour: Neighbour, update: Update, is_new: bool) -> str:
        node = self._node
        prefix, router_id = update.prefix, update.router_id
        if prefix.length < SHORTEST_LENGTH or not OVERLAY.covers(prefix):
            return "refused.prefix"
        if node.own.covers(prefix):
            return "ignored.own_prefix"
        if not prefix.contains(router_id.address):
            return "refused.router_id"
        known = node.sources.of(prefix)
        if router_id.raw not in known:
            if node.sources.refuses_key(prefix, router_id.raw) or self._has_other_key(update):
                return "refused.key"
            share = 1.0 if neighbour.is_wanted else node.limits.strangers
            if not node.sources.has_room(neighbour.peer, node.now, node.has_route, share=share):
                return "refused.source"
        if is_new and not node.table.has_room(neighbour):
            return "refused.route"
        return ""

    def _has_other_key(self, update: Update) -> bool:
        entry = self._node.table.entries.get(update.prefix)
        if entry is None or entry.selected is None:
            return False
        return entry.selected.router_id.raw[:32] != update.router_id.raw[:32]

    def _is_implausible(self, update: Update, source: Source) -> bool:
        jump = ahead(update.seqno, source.seqno)
        if jump <= JUMP + JUMPS_PER_SECOND * (self._node.now - source.refreshed):
            return False
        entry = self._node.table.entries.get(update.prefix)
        selected = entry.selected if entry is not None else None
        return selected is not None and selected.router_id.raw == update.router_id.raw

    def _store(self, route: Route, update: Update) -> None:
        if route.router_id.raw != update.router_id.raw:
            route.router_id = shared_id(route.entry, update.router_id)
        route.seqno = update.seqno
        route.metric = update.metric
        route.expires = self._node.now + lifetime(update.interval_cs)
        self._node.agenda.put(route, route.expires)

    def _renew_selected(self, route: Route, update: Update) -> None:
        entry = route.entry
        same = route.metric == update.metric and route.router_id.raw == update.router_id.raw
        newer = route.seqno != update.seqno
        self._store(route, update)
        if entry.attempts:
            self._starvation.end(entry)
        if not same:
            self.decide(entry)
        elif newer:
            self._seqno_requests.answer(entry)

    def _distrust_selected(self, route: Route, update: Update) -> None:
        """An unfeasible Update for the selected route: the RFC lets us ignore it, and it isn't renewed by it.

        What it says is true all the same, so a feasible backup that is shorter takes over; else a newer seqno
        is asked for, and the old route used meanwhile.
        """
        entry = route.entry
        backup = entry.backup
        if backup is not None and backup.total < plus(update.metric, route.neighbour.cost):
            self._store(route, update)
            self.decide(entry)
        else:
            self._starvation.want(entry, route.neighbour.peer)

    def _consider(self, route: Route, feasible: bool) -> None:
        """Decide again if a route that isn't selected may make a difference. Most don't."""
        entry = route.entry
        selected, backup = entry.selected, entry.backup
        if selected is not None and selected.router_id.raw == route.router_id.raw:
            if not feasible:
                if is_worth_switching(route.total, selected.total):
                    self._starvation.tempt(entry, route.neighbour.peer)
                return
            if route is backup:
                return
            if backup is not None and not may_stand_in(route, selected, backup):
                return
        self.decide(entry)

    # what ends a route

    def _lose(self, route: Route, withdrawn_by: int) -> None:
        entry = route.entry
        self._node.table.drop(route)
        if route is entry.selected or route is entry.backup or entry.selected is None:
            self.decide(entry, withdrawn_by)

    def expire(self, route: Route) -> None:
        """Its timer ran out; perhaps it was renewed since the timer was set."""
        if self._node.now < route.expires:
            self._node.agenda.put(route, route.expires)
            return
        self._lose(route, route.neighbour.peer)

    def drop_neighbour(self, neighbour: Neighbour) -> None:
        """A neighbour is gone: its routes are out at once, and what they were used for is marked."""
        neighbour.leave(self._node.now)
        self.mark(neighbour)
        for route in list(neighbour.routes.values()):
            self._node.table.drop(route)

    def wake(self, entry: Entry) -> None:
        """A lost prefix was held for long enough, or a newer seqno is still wanted."""
        node = self._node
        if entry.selected is None and node.now >= entry.hold_until:
            if not entry.routes:
                node.remove(entry)
                return
            if entry.router_id is not None:
                entry.router_id, entry.former = None, ()
                self.decide(entry)
        self._starvation.retry(entry)
        if entry.selected is None and entry.hold_until > node.now:
            node.agenda.put(entry, entry.hold_until)
        if entry.attempts:
            node.agenda.put(entry, entry.retry_at)

    # choosing

    def mark(self, neighbour: Neighbour) -> None:
        """The neighbour's cost changed: all its routes must be decided again, soon; first those in use."""
        now = self._node.now
        for route in neighbour.routes.values():
            entry = route.entry
            if not entry.dirty and not (neighbour.gone and self._is_idle(route)):
                entry.dirty = True
                (self._marked_in_use if entry.is_in_use(now) else self._marked).append(entry)

    @staticmethod
    def _is_idle(route: Route) -> bool:
        entry = route.entry
        return entry.selected is not None and route is not entry.selected and route is not entry.backup

    def decide_marked(self, budget: int) -> None:
        """Decide up to `budget` marked entries, first those in use; these leave the others a quarter of it.

        Whoever sends packets to all its routes has them in use.
        """
        others = budget // 4
        others += self._decide_of(self._marked_in_use, budget - others)
        left = self._decide_of(self._marked, others)
        self._decide_of(self._marked_in_use, left)

    def _decide_of(self, marked: deque[Entry], budget: int) -> int:
        while marked and budget > 0:
            entry = marked.popleft()
            if entry.dirty:
                self.decide(entry)
                budget -= 1
        return budget

    def decide(self, entry: Entry, withdrawn_by: int = 0) -> None:
        """Choose again for one prefix, and tell the data plane and the neighbours what they need to know."""
        entry.dirty = False
        old = entry.selected
        sources, latest = self._node.sources.of(entry.prefix), self._node.latest_start
        new, entry.backup = select(entry, sources, latest)
        entry.selected = new
        entry.spread = new is not None and may_spread(new, entry.backup)
        if new is None:
            self._nothing_left(entry, old, withdrawn_by)
            return
        if old is not new or entry.router_id is not new.router_id:
            self._adopt(entry, new.router_id)
        self._node.install(entry)
        self._announce(entry, old, new)
        better = tempting(new, sources, latest) if len(entry.routes) > 1 else None
        if better is not None:
            self._starvation.tempt(entry, better.neighbour.peer)

    def _nothing_left(self, entry: Entry, old: Route | None, withdrawn_by: int) -> None:
        node = self._node
        if old is not None:
            entry.hold_until = node.now + HOLD
            node.agenda.put(entry, entry.hold_until)
            node.install(entry)
            if entry.announced != INFINITY or entry.flood:
                self._announcements.flood(entry)
        if old is not None or entry.routes:
            self._starvation.want(entry, withdrawn_by)
        elif node.now >= entry.hold_until:
            node.remove(entry)

    def _adopt(self, entry: Entry, router_id: RouterId) -> None:
        known = entry.router_id
        if known is not None and known.raw != router_id.raw:
            former = (raw for raw in entry.former if raw != router_id.raw)
            entry.former = (*former, known.raw)[-FORMER_REMEMBERED:]
        entry.router_id = router_id
        if entry.attempts:
            self._starvation.end(entry)
        self._queries.end(entry.prefix)

    def _announce(self, entry: Entry, old: Route | None, new: Route) -> None:
        raw = new.router_id.raw
        if (
            entry.announced == INFINITY
            or entry.announced_id != raw
            or is_big_change(entry.announced, new.total)
        ):
            self._announcements.flood(entry)
        elif old is not None and old is not new and not old.neighbour.gone:
            self._announcements.answer(old.neighbour, entry.prefix)  # as next hop it was never told
        self._seqno_requests.answer(entry)
