"""What all parts of a speaker share: who this node is, its tables, and what it wants done."""

from collections import Counter

from zosnet.babel.actions import Action, Install, Remove, Send, Unreachable
from zosnet.babel.agenda import Agenda
from zosnet.babel.limits import Limits
from zosnet.babel.metric import INFINITY
from zosnet.babel.neighbour import Neighbour
from zosnet.babel.route import Entry
from zosnet.babel.source import SourceTable
from zosnet.babel.table import RouteTable
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Tlv, Update

CLOCK_TOLERANCE = 86_400.0
"""Seconds by which two nodes' clocks may honestly differ."""


class Node:
    """The speaker's state, without rules beyond keeping the data plane told.

    `now` is the time of the last call.
    """

    def __init__(self, router_id: RouterId, own: Prefix, limits: Limits, epoch_at_zero: float) -> None:
        self.router_id = router_id
        self.own = own
        self.limits = limits
        self.now = 0.0
        self._epoch_at_zero = epoch_at_zero
        self.seqno = 0
        self.is_retiring = False
        self.counters: Counter[str] = Counter()
        self.agenda = Agenda()
        self.neighbours: dict[int, Neighbour] = {}
        self.sources = SourceTable(limits.sources, limits.sources_per_neighbour, limits.sources_per_prefix)
        self.table = RouteTable(limits, self.agenda, self.neighbours)
        self.forwarding: list[Action] = []
        """Installs and the like, to be carried out before anything of `sends`."""
        self.sends: list[Send] = []

    @property
    def latest_start(self) -> float:
        """The latest start, in seconds since the epoch, that an honest node's router id may show."""
        return self._epoch_at_zero + self.now + CLOCK_TOLERANCE

    def send(self, peer: int, tlv: Tlv) -> None:
        """Queue one TLV for one neighbour."""
        self.sends.append(Send(peer, tlv))

    def own_update(self) -> Update:
        """The announcement of our own prefix, or its retraction once we are stopping."""
        return Update(self.own, self.router_id, self.seqno, INFINITY if self.is_retiring else 0)

    def announce_own(self) -> None:
        """Tell every neighbour about our own prefix."""
        update = self.own_update()
        for peer in self.neighbours:
            self.send(peer, update)

    def has_route(self, prefix: Prefix, router_id: bytes) -> bool:
        """Whether some neighbour has a route to this source."""
        entry = self.table.entries.get(prefix)
        return entry is not None and any(r.router_id.raw == router_id for r in entry.routes.values())

    def install(self, entry: Entry) -> None:
        """Tell the data plane the entry's choice, if that is news."""
        route = entry.selected
        if route is None:
            self._withdraw(entry)
            return
        other = entry.backup
        backup = other.neighbour.peer if other is not None else None
        hints = (entry.spread, route.is_originated, other is not None and other.is_originated)
        told = (route.neighbour.peer, backup, route.router_id.raw, *hints)
        if entry.installed != told:
            had_none = entry.installed is None or not entry.installed[0]
            awaited = had_none and entry.is_in_use(self.now)
            entry.installed = told
            self.forwarding.append(
                Install(
                    entry.prefix, route.router_id, route.neighbour.peer, backup, route.total, *hints, awaited
                )
            )

    def remove(self, entry: Entry) -> None:
        """Forget the entry, here and in the data plane."""
        self.table.forget(entry)
        if entry.installed is not None:
            entry.installed = None
            self.forwarding.append(Remove(entry.prefix))

    def _withdraw(self, entry: Entry) -> None:
        if entry.installed is not None and entry.installed[0] and entry.router_id is not None:
            entry.installed = (0, None, entry.router_id.raw, False, False, False)
            self.forwarding.append(Unreachable(entry.prefix, entry.router_id))
