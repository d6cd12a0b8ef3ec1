"""What the log says of links. What strangers can cause must not fill it.

A link that this node opened is news whatever happens to it. One that others opened is news once a router
named itself on it, and then only so many times a second: the rest is for debugging, and counted.
"""

from __future__ import annotations

import logging
from ipaddress import IPv6Address

from zosnet.babel.rate import Bucket
from zosnet.service.peering import Peering

__all__ = ["LinkNews"]

log = logging.getLogger("zosnet.node")

# Lines a second about links that others opened, after a burst of five seconds' worth. A guess: a stranger can
# name itself and go thousands of times a second.
NEWS_PER_SECOND = 10.0


class LinkNews:
    """Tells of the links of one node, by the names of the peers behind them."""

    def __init__(self, peers: Peering, now: float) -> None:
        self.thinned = 0
        """Lines that only debugging shows, for there were too many."""
        self._peers = peers
        self._bucket = Bucket(NEWS_PER_SECOND, now)

    def up(self, link: int, *, is_dialled: bool) -> None:
        """A link is up. Anybody may knock: an inbound one is news only once a router names itself on it."""
        level = logging.INFO if is_dialled else logging.DEBUG
        log.log(level, "link_up link=%d peer=%s", link, self._name(link))

    def named(self, link: int, address: IPv6Address, now: float) -> None:
        """The router at its other end named itself."""
        log.log(
            self._level(link, now), "neighbour link=%d peer=%s address=%s", link, self._name(link), address
        )

    def stalled(self, link: int, now: float) -> None:
        """Nothing comes through it."""
        log.log(self._level(link, now), "link_stalled link=%d peer=%s", link, self._name(link))

    def resumed(self, link: int, now: float) -> None:
        """It moves again."""
        log.log(self._level(link, now), "link_resumed link=%d peer=%s", link, self._name(link))

    def down(self, link: int, reason: str, now: float) -> None:
        """It is lost, while Peering still knows whose it was."""
        peer = self._peers.peer_of(link)
        is_news = peer is not None and (peer.kind != "inbound" or peer.neighbour is not None)
        level = self._level(link, now) if is_news else logging.DEBUG
        log.log(level, "link_down link=%d peer=%s reason=%r", link, self._name(link), reason)

    def closed(self, link: int, reason: str, now: float) -> None:
        """It was not wanted."""
        log.log(self._level(link, now), "link_closed link=%d reason=%r", link, reason)

    def _level(self, link: int, now: float) -> int:
        peer = self._peers.peer_of(link)
        if (peer is not None and peer.kind != "inbound") or self._bucket.take(now):
            return logging.INFO
        self.thinned += 1
        return logging.DEBUG

    def _name(self, link: int) -> str:
        peer = self._peers.peer_of(link)
        return "-" if peer is None else peer.endpoint.place
