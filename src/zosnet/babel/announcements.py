"""Updates that are due: what changed (to all), what was asked for (to one), and whole tables.

Nothing is queued as a packet. What is due is a set of prefixes, and an Update is made when there is room to
send it, from the state of that moment: however often a route changes before that, one Update goes out.
Making it records the distance in the source table first, and takes back a backup that this makes
unfeasible.
"""

from collections import deque
from math import ceil

from zosnet.babel.metric import INFINITY
from zosnet.babel.neighbour import Neighbour
from zosnet.babel.node import Node
from zosnet.babel.route import Entry, Route
from zosnet.babel.selection import backup_for, may_spread
from zosnet.babel.source import is_feasible
from zosnet.model.prefix import Prefix
from zosnet.wire.babel import Update

DUMP_INTERVAL = 10.0
"""Seconds between two whole tables for one neighbour."""

REFRESH_INTERVAL, REFRESH_TICK = 300.0, 5.0
"""Seconds in which every selected route is told again to neighbours of our own kind.

And between two portions.
"""


class Announcements:
    """Pending Updates of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._floods: deque[Entry] = deque()
        self._waiting: dict[int, Neighbour] = {}
        self._refresh: deque[Entry] = deque()
        self._portion = 0
        self._due = 0

    @property
    def is_pending(self) -> bool:
        """Whether `send` has something to do."""
        return bool(self._floods or self._waiting or self._due)

    def flood(self, entry: Entry) -> None:
        """Tell all neighbours but the next hop.

        That one too if the incarnation changed: it may know us by the earlier one, and come back to it
        through us when it loses its own.
        """
        if not entry.flood:
            entry.flood = True
            self._floods.append(entry)

    def answer(self, neighbour: Neighbour, prefix: Prefix) -> None:
        """Tell one neighbour about one prefix."""
        if len(neighbour.answers) >= self._node.limits.answers_per_neighbour:
            self._node.counters["refused.answer"] += 1
            return
        neighbour.answers[prefix] = None
        self._waiting[neighbour.peer] = neighbour

    def dump(self, neighbour: Neighbour) -> None:
        """Tell one neighbour about everything, at most once in ten seconds."""
        node = self._node
        if node.now - neighbour.dumped_at < DUMP_INTERVAL:
            node.counters["refused.dump"] += 1
            return
        neighbour.dumped_at = node.now
        neighbour.dump = iter(list(node.table.entries.values()))
        self._waiting[neighbour.peer] = neighbour

    def forget(self, neighbour: Neighbour) -> None:
        """It is gone."""
        self._waiting.pop(neighbour.peer, None)

    def refresh(self) -> None:
        """Five seconds passed: let the next sixtieth of the table be due for neighbours of our own kind."""
        if not self._refresh:
            self._refresh.extend(self._node.table.entries.values())
            self._portion = ceil(len(self._refresh) * REFRESH_TICK / REFRESH_INTERVAL)
        self._due = min(self._due + self._portion, len(self._refresh))

    def send(self, budget: int) -> None:
        """Make up to about `budget` Updates."""
        budget -= self._send_floods(budget)
        budget -= self._send_answers(budget)
        self._send_refresh(budget)

    def _send_floods(self, budget: int) -> int:
        made = 0
        neighbours = self._node.neighbours
        sends = self._node.send
        while self._floods and made < budget:
            entry = self._floods.popleft()
            entry.flood = False
            update = self._update(entry)
            succeeds = entry.announced != INFINITY and entry.announced_id != update.router_id.raw
            entry.announced = update.metric
            entry.announced_id = update.router_id.raw
            next_hop = entry.selected.neighbour.peer if entry.selected is not None and not succeeds else 0
            made += len(neighbours)
            for peer in neighbours:
                if peer != next_hop:
                    sends(peer, update)
        return made

    def _send_answers(self, budget: int) -> int:
        made = 0
        for neighbour in list(self._waiting.values()):
            share = max(16, (budget - made) // len(self._waiting))
            made += self._send_answers_to(neighbour, share)
            if made >= budget:
                break
        return made

    def _send_answers_to(self, neighbour: Neighbour, share: int) -> int:
        made = 0
        entries = self._node.table.entries
        for prefix in list(neighbour.answers)[:share]:
            del neighbour.answers[prefix]
            entry = entries.get(prefix)
            made += self._tell(neighbour, entry) if entry is not None else 0
        while neighbour.dump is not None and made < share:
            entry = next(neighbour.dump, None)
            if entry is None:
                neighbour.dump = None
            else:
                made += self._tell(neighbour, entry)
        del self._waiting[neighbour.peer]
        if neighbour.answers or neighbour.dump is not None:
            self._waiting[neighbour.peer] = neighbour  # behind the others
        return made

    def _send_refresh(self, budget: int) -> None:
        ours = [neighbour for neighbour in self._node.neighbours.values() if neighbour.is_ours]
        while self._due and budget > 0:
            self._due -= 1
            entry = self._refresh.popleft()
            budget -= sum(self._tell(neighbour, entry) for neighbour in ours)

    def _tell(self, neighbour: Neighbour, entry: Entry) -> int:
        route = entry.selected
        if route is None or route.neighbour is neighbour:
            return 0
        self._node.send(neighbour.peer, self._update(entry))
        return 1

    def _update(self, entry: Entry) -> Update:
        node = self._node
        route = entry.selected
        metric = INFINITY if route is None else route.total
        if route is None or metric == INFINITY:
            return Update(entry.prefix, node.router_id, node.seqno, INFINITY)
        self._advertise(entry, route, metric)
        return Update(entry.prefix, route.router_id, route.seqno, metric)

    def _advertise(self, entry: Entry, route: Route, metric: int) -> None:
        node = self._node
        raw = route.router_id.raw
        changed = node.sources.advertise(route, metric, node.now)
        backup = entry.backup
        if changed and backup is not None:
            sources = node.sources.of(entry.prefix)
            if not is_feasible(backup.seqno, backup.metric, sources.get(raw)):
                entry.backup = backup_for(route, sources, node.latest_start)
                entry.spread = may_spread(route, entry.backup)
                node.install(entry)
