"""What a speaker does by the clock alone: announce itself, refresh, sweep, and grant a seqno when it may."""

from collections.abc import Callable

from zosnet.babel.announcements import REFRESH_TICK, Announcements
from zosnet.babel.node import Node
from zosnet.babel.queries import Queries
from zosnet.babel.seqno_requests import SeqnoRequests

ANNOUNCE_INTERVAL = 300.0
"""Seconds between two announcements of our own prefix. As Mycelium's."""

SWEEP_INTERVAL = 60.0
"""Seconds between two sweeps of the source table."""


class Tick:
    """Something periodic, on the agenda."""

    __slots__ = ("interval", "timer")

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.timer = float("inf")


class Periodic:
    """The periodic work of one speaker. `spread` draws from 0 to 1, so that nodes don't work in step."""

    def __init__(
        self,
        node: Node,
        announcements: Announcements,
        queries: Queries,
        seqno_requests: SeqnoRequests,
        spread: Callable[[], float],
    ) -> None:
        self._node = node
        self._announcements = announcements
        self._queries = queries
        self._seqno_requests = seqno_requests
        self._spread = spread
        self._announce = Tick(ANNOUNCE_INTERVAL)
        self._refresh = Tick(REFRESH_TICK)
        self._sweep = Tick(SWEEP_INTERVAL)
        self._granting = Tick(0.0)

    def start(self) -> None:
        """The first link is up: begin, unless that was done."""
        if self._announce.timer == float("inf"):
            for tick in (self._announce, self._refresh, self._sweep):
                self._node.agenda.put(tick, self._node.now + tick.interval * (0.9 + 0.1 * self._spread()))

    def await_grant(self) -> None:
        """A seqno may have been asked of us: grant it when it is time."""
        if self._seqno_requests.grant_at is not None:
            self._node.agenda.put(self._granting, self._seqno_requests.grant_at)

    def wake(self, tick: Tick) -> None:
        """One of them is due."""
        node = self._node
        if tick is self._granting:
            self._seqno_requests.grant()
            self.await_grant()
            return
        if tick is self._announce:
            node.announce_own()
        elif tick is self._refresh:
            self._announcements.refresh()
            self._queries.expire()
            self._seqno_requests.expire()
        else:
            node.sources.collect(node.now, node.has_route)
        node.agenda.put(tick, node.now + tick.interval)
