"""The links of a node from up to gone (RFC 8966, section 3.2.4): greeted, named, costed, dropped.

What one neighbour is worth is `Neighbour`'s; here is what a change of it means for the others and for the
routes. Links that are full or dead are given up: whoever carries out the speaker's actions disconnects them.
"""

from zosnet.babel.actions import Disconnect
from zosnet.babel.announcements import Announcements
from zosnet.babel.neighbour import DEAD_AFTER, Neighbour
from zosnet.babel.node import Node
from zosnet.babel.queries import Queries
from zosnet.babel.rate import Bucket
from zosnet.babel.returns import Returns
from zosnet.babel.routing import Routing
from zosnet.babel.siblings import share_loss, share_silence
from zosnet.model.keys import KEY_BYTES
from zosnet.wire.babel import RouteRequest, Update


class Neighbours:
    """The neighbours of one speaker, which are kept in `Node.neighbours`."""

    def __init__(self, node: Node, announcements: Announcements, queries: Queries, routing: Routing) -> None:
        self._node = node
        self._announcements = announcements
        self._queries = queries
        self._routing = routing
        self._returns = Returns()
        self._greeting: dict[int, Neighbour] = {}
        self._disconnects: list[Disconnect] = []

    @property
    def is_pending(self) -> bool:
        """Whether there is somebody to greet, or to disconnect."""
        return bool(self._greeting or self._disconnects)

    def add(self, peer: int, static_cost: int, *, wanted: bool, kind: str, place: str) -> None:
        """A link is up: greet, announce ourselves, ask for everything. No more of them than there may be."""
        node = self._node
        if peer in node.neighbours:
            return
        if len(node.neighbours) >= node.limits.neighbours:
            node.counters["refused.neighbour"] += 1
            self._disconnects.append(Disconnect(peer, "too many neighbours"))
            return
        requests = Bucket(node.limits.requests_per_second, node.now)
        seqno_requests = Bucket(node.limits.seqno_requests_per_second, node.now)
        neighbour = Neighbour(
            peer, static_cost, requests, seqno_requests, node.now, wanted=wanted, kind=kind, place=place
        )
        node.neighbours[peer] = neighbour
        self.wake(neighbour)
        node.send(peer, node.own_update())
        node.send(peer, RouteRequest(None, 0))

    def drop(self, neighbour: Neighbour) -> None:
        """A link is gone."""
        node = self._node
        del node.neighbours[neighbour.peer]
        node.agenda.cancel(neighbour)
        self._returns.left(neighbour, node.now)
        self._greeting.pop(neighbour.peer, None)
        self._announcements.forget(neighbour)
        self._queries.forget(neighbour)
        self._routing.drop_neighbour(neighbour)
        self.recosted(neighbour)

    def stall(self, neighbour: Neighbour, stalled: bool) -> None:
        """A link is silent, or moves again."""
        node = self._node
        if not neighbour.set_stalled(stalled, node.now):
            return
        self.recosted(neighbour)
        node.agenda.put(neighbour, neighbour.deadline())
        for other in share_silence(node.neighbours.values(), neighbour) if stalled else ():
            self._greeting[other.peer] = other

    def recosted(self, neighbour: Neighbour) -> None:
        """The neighbour costs something else now; so may those beside it."""
        self._routing.mark(neighbour)
        for other in share_loss(self._node.neighbours.values(), neighbour):
            self._routing.mark(other)

    def name(self, neighbour: Neighbour, own: Update) -> None:
        """The neighbour announces its own prefix: so we know which node it is, and of which kind."""
        neighbour.is_ours = neighbour.is_ours or own.router_id.zone != 0
        if neighbour.node is None:  # nobody's key changes while a link is up
            neighbour.node = own.router_id.raw[:KEY_BYTES]
            self._returns.named(neighbour, self._node.now)
            self._node.agenda.put(neighbour, neighbour.deadline())
            self.recosted(neighbour)

    def wake(self, neighbour: Neighbour) -> None:
        """Its time has come: it is dead, or costs something else, or is owed a Hello."""
        now = self._node.now
        if neighbour.is_dead(now):
            self.drop(neighbour)
            self._disconnects.append(Disconnect(neighbour.peer, f"no IHU for {DEAD_AFTER:.0f} s"))
            return
        if neighbour.wake(now):
            self._routing.mark(neighbour)
        if neighbour.hello_due:
            self._greeting[neighbour.peer] = neighbour
        self._node.agenda.put(neighbour, neighbour.deadline())

    def owe_ihu(self, neighbour: Neighbour) -> None:
        """It said Hello."""
        neighbour.ihu_due = True
        self._greeting[neighbour.peer] = neighbour

    def greet(self) -> None:
        """Queue the IHUs and Hellos that are due."""
        greeting, self._greeting = self._greeting, {}
        for peer, neighbour in greeting.items():
            if neighbour.ihu_due:
                self._node.send(peer, neighbour.take_ihu())
            if neighbour.hello_due:
                self._node.send(peer, neighbour.take_hello(self._node.now))
                self._node.agenda.put(neighbour, neighbour.deadline())

    def take_disconnects(self) -> list[Disconnect]:
        """The links to give up."""
        taken, self._disconnects = self._disconnects, []
        return taken
