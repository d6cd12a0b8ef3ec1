"""The speaker: one node's Babel state machine, as the rest of the house sees it.

Call the handlers for what happened, `wake` when `deadline` has passed, and after either carry out `poll`'s
actions in order. `deadline` is in the past while work remains: large changes are worked off in slices of
about ten milliseconds, so that one event loop can do other things between them. `now` is seconds on a
monotonic clock.
"""

from collections.abc import Iterable
from random import Random

from zosnet.babel.actions import Action
from zosnet.babel.announcements import Announcements
from zosnet.babel.limits import Limits
from zosnet.babel.neighbour import Neighbour
from zosnet.babel.neighbours import Neighbours
from zosnet.babel.node import Node
from zosnet.babel.periodic import Periodic, Tick
from zosnet.babel.queries import Queries
from zosnet.babel.route import Entry, Route
from zosnet.babel.routing import Routing
from zosnet.babel.seqno_requests import SeqnoRequests
from zosnet.babel.starvation import Starvation
from zosnet.babel.status import NeighbourStatus, QueryStatus, RouteStatus, neighbour_status, route_status
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Hello, Ihu, RouteRequest, Tlv, Update

REFRESH_BEFORE, REFRESH_AGAIN = 60.0, 10.0
"""Seconds before its end at which a route that is used is asked for again, and between two such requests.

Mycelium asks when 15 s are left. It never refreshes a remote route by itself, and neither do its relays.
"""

LONGEST_DECIDING = 1.0
"""Seconds for which Updates wait until all routes are decided: ten times what 10,000 of them take (a guess).

Then both go on side by side, until neither has anything left: a neighbour whose cost changes all the time
would keep us silent for ever.
"""


class Speaker:
    """Babel for one node which owns the prefix `own`.

    No sockets, no clock; `rng` spreads the periodic work. `epoch_at_zero` is the wall time, in seconds since
    the epoch, at which `now` was 0: starts that are more than a day ahead are believed only where there is
    nothing else. Without it they aren't told apart.
    """

    def __init__(
        self,
        router_id: RouterId,
        own: Prefix,
        *,
        limits: Limits | None = None,
        rng: Random,
        epoch_at_zero: float = float("inf"),
    ) -> None:
        self._node = node = Node(router_id, own, limits if limits is not None else Limits(), epoch_at_zero)
        self._announcements = Announcements(node)
        self._starvation = Starvation(node)
        self._queries = Queries(node, self._announcements)
        self._seqno_requests = SeqnoRequests(node, self._announcements)
        self._routing = Routing(
            node, self._announcements, self._starvation, self._queries, self._seqno_requests
        )
        self._neighbours = Neighbours(node, self._announcements, self._queries, self._routing)
        self._periodic = Periodic(node, self._announcements, self._queries, self._seqno_requests, rng.random)
        self._deciding_since = float("inf")

    # what happened to links

    def neighbour_up(
        self,
        peer: int,
        static_cost: int,
        now: float,
        *,
        wanted: bool = True,
        kind: str = "",
        place: str = "",
    ) -> None:
        """A link is up: greet, announce ourselves, ask for everything.

        What we look for is asked for when it first speaks.
        `wanted`: by this node, not only by the other side. See `Limits.strangers` for what that is worth.
        `kind` is what carries it, such as "udp"; `place` is where the other end is, such as its IP address.
        """
        self._at(now)
        self._periodic.start()
        self._neighbours.add(peer, static_cost, wanted=wanted, kind=kind, place=place)

    def neighbour_down(self, peer: int, now: float) -> None:
        """A link is gone. Unknown ones, such as those we disconnected ourselves, are ignored."""
        neighbour = self._at(now).neighbours.get(peer)
        if neighbour is not None:
            self._neighbours.drop(neighbour)

    def neighbour_stalled(self, peer: int, now: float) -> None:
        """The link is silent though data is sent: use it for nothing until it is resumed."""
        self._stall(peer, True, now)

    def neighbour_resumed(self, peer: int, now: float) -> None:
        """The link moves again."""
        self._stall(peer, False, now)

    def neighbour_busy(self, peer: int, busy: bool, now: float) -> None:
        """Data flows over the link, or no longer: Hello every 0.5 s instead of every 20 s."""
        neighbour = self._at(now).neighbours.get(peer)
        if neighbour is not None:
            neighbour.set_busy(busy, now)
            self._node.agenda.put(neighbour, neighbour.deadline())

    def neighbour_measured(self, peer: int, rtt: float | None, loss: float | None, now: float) -> None:
        """The data plane measured a link: its round trip in seconds, its loss from 0 to 1, None unknown."""
        neighbour = self._at(now).neighbours.get(peer)
        if neighbour is not None and neighbour.measure(rtt, loss, now):
            self._neighbours.recosted(neighbour)

    def neighbour_weighed(self, peer: int, weight: int, metered: bool, now: float) -> None:
        """What the operator wants of a link: milliseconds to add to its cost, and whether to spare it."""
        neighbour = self._at(now).neighbours.get(peer)
        if neighbour is not None and neighbour.weigh(weight, metered):
            self._routing.mark(neighbour)

    def receive(self, peer: int, tlv: Tlv, now: float, rtt: float | None = None) -> None:
        """A neighbour said something.

        `rtt`, seconds, is the data plane's measurement that comes with an IHU.
        """
        node = self._at(now)
        neighbour = node.neighbours.get(peer)
        if neighbour is None:
            node.counters["ignored.unknown_neighbour"] += 1
            return
        if not neighbour.has_spoken and isinstance(tlv, Update | Hello | Ihu):
            neighbour.has_spoken = True
            self._queries.greet(neighbour)
        if isinstance(tlv, Update):
            node.counters["received.update"] += 1
            if tlv.metric == 0:
                self._neighbours.name(neighbour, tlv)
            self._routing.receive(neighbour, tlv)
        elif isinstance(tlv, Hello):
            node.counters["received.hello"] += 1
            self._neighbours.owe_ihu(neighbour)
        elif isinstance(tlv, Ihu):
            node.counters["received.ihu"] += 1
            if neighbour.receive_ihu(tlv.rx_cost, rtt, now):
                self._routing.mark(neighbour)
            node.agenda.put(neighbour, neighbour.deadline())
        elif isinstance(tlv, RouteRequest):
            node.counters["received.route_request"] += 1
            self._queries.receive(neighbour, tlv)
        else:
            node.counters["received.seqno_request"] += 1
            self._seqno_requests.receive(neighbour, tlv)
            self._periodic.await_grant()

    # what the data plane needs

    def route_needed(self, destination: int, now: float, *, for_others: bool = False) -> None:
        """A packet for `destination`, an address as a 128-bit int, waits for a route.

        `for_others`: it isn't this node's own, so looking for its route counts against strangers' share.
        """
        self._at(now)
        self._queries.need(destination, for_others=for_others)

    def route_used(self, prefixes: Iterable[Prefix], now: float) -> None:
        """Packets took these routes since the last call: keep them, and their backups, in good order.

        One that expires soon is asked for again. One that lost its backup to a newer seqno, which no flood
        carries, gets it back by asking those who have an older one.
        """
        node = self._at(now)
        entries = node.table.entries
        for prefix in prefixes:
            entry = entries.get(prefix)
            if entry is None:
                continue
            entry.used_at = now
            if entry.selected is None or now - entry.refreshed_at < REFRESH_AGAIN:
                continue
            if entry.selected.expires - now <= REFRESH_BEFORE:
                entry.refreshed_at = now
                for peer in entry.routes:
                    node.send(peer, RouteRequest(prefix, 0))
            elif entry.backup is None and len(entry.routes) > 1:
                entry.refreshed_at = now
                self._starvation.restore_backup(entry)

    def retire(self, now: float) -> None:
        """This node stops: retract its own prefix everywhere."""
        node = self._at(now)
        node.is_retiring = True
        node.announce_own()

    # time, and what to do next

    def wake(self, now: float) -> None:
        """Time passed: do what is due."""
        node = self._at(now)
        while (item := node.agenda.take(now)) is not None:
            if isinstance(item, Route):
                self._routing.expire(item)
            elif isinstance(item, Entry):
                self._routing.wake(item)
            elif isinstance(item, Neighbour):
                self._neighbours.wake(item)
            elif isinstance(item, Tick):
                self._periodic.wake(item)

    def deadline(self) -> float | None:
        """When to `wake` next; a time that has passed while `poll` has more to say."""
        if self._is_pending():
            return self._node.now
        return self._node.agenda.deadline()

    def poll(self) -> list[Action]:
        """What is to be done now, in order. What routes traffic comes before what is sent."""
        node = self._node
        budget = node.limits.slice
        self._routing.decide_marked(budget)
        direct, node.sends = node.sends, []
        self._neighbours.greet()
        node.sends += direct
        if self._routing.is_pending:
            self._deciding_since = min(self._deciding_since, node.now)
        elif not self._announcements.is_pending:
            self._deciding_since = float("inf")
        if self.is_deciding:
            self._starvation.send_awaited(budget)
        else:
            self._starvation.send(budget)
            self._announcements.send(budget)
        actions: list[Action] = [*node.forwarding, *self._neighbours.take_disconnects(), *node.sends]
        node.forwarding, node.sends = [], []
        return actions

    # getters

    @property
    def is_deciding(self) -> bool:
        """Whether `poll` has more routes to choose because of what happened: one batch for the data plane.

        Until then it announces none of them.
        """
        return self._routing.is_pending and self._node.now - self._deciding_since < LONGEST_DECIDING

    @property
    def seqno(self) -> int:
        """Our own seqno."""
        return self._node.seqno

    @property
    def router_id(self) -> RouterId:
        """Who we are, in this life of the process."""
        return self._node.router_id

    @property
    def counters(self) -> dict[str, int]:
        """TLVs received by kind, what was refused or ignored by reason, and the sizes of the tables."""
        node = self._node
        sizes = {
            "routes": node.table.size,
            "prefixes": len(node.table.entries),
            "sources": len(node.sources),
            "queries": len(self._queries),
            "seqno_requests": len(self._seqno_requests),
            "timers": len(node.agenda),
        }
        return {**node.counters, **sizes}

    def neighbours(self, now: float) -> list[NeighbourStatus]:
        """The links."""
        return [neighbour_status(neighbour, now) for neighbour in self._node.neighbours.values()]

    def selected(self) -> list[RouteStatus]:
        """The routes in use."""
        entries = self._node.table.entries.values()
        return [
            route_status(entry.selected, self._node.now) for entry in entries if entry.selected is not None
        ]

    def fallback(self) -> list[RouteStatus]:
        """The routes that are known and not in use."""
        entries = self._node.table.entries.values()
        return [
            route_status(route, self._node.now)
            for entry in entries
            for route in entry.routes.values()
            if route is not entry.selected
        ]

    def queries(self, now: float) -> list[QueryStatus]:
        """The route requests in progress."""
        return [
            QueryStatus(query.prefix, query.owner or None, query.expires - now)
            for query in self._queries.in_progress()
        ]

    # inside

    def _at(self, now: float) -> Node:
        self._node.now = now
        return self._node

    def _is_pending(self) -> bool:
        node = self._node
        return bool(
            node.forwarding
            or node.sends
            or self._neighbours.is_pending
            or self._routing.is_pending
            or self._starvation.is_pending
            or self._announcements.is_pending
        )

    def _stall(self, peer: int, stalled: bool, now: float) -> None:
        neighbour = self._at(now).neighbours.get(peer)
        if neighbour is not None:
            self._neighbours.stall(neighbour, stalled)
