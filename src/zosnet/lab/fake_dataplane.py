"""A data plane in memory: several share an `Ether` and a process, without root, sockets or encryption.

It does what the real one does, as far as a node can tell: links come up and break, control packets and
messages travel, packets wait for a route, relays count hop limits down and answer with ICMPv6 errors. It
delivers at once and in order; time passes only where the test lets it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count

from zosnet.dataplane.events import (
    ControlReceived,
    Event,
    LinkDown,
    LinkUp,
    Resumed,
    Stalled,
)
from zosnet.dataplane.protocol import LinkStats, Refusal, SessionStats
from zosnet.lab.ether import Ether, FakeLink
from zosnet.lab.fake_forwarder import FakeForwarder
from zosnet.lab.fake_packet import FakePacket
from zosnet.model.keys import SecretKey

__all__ = ["Ether", "FakeDataplane", "FakeLink"]

_IHU = 5
_TLV_TYPE_AT = 8
_MOST_BATCHES = 64


class FakeDataplane:
    """One node's data plane, at the underlay address `ip`."""

    def __init__(
        self,
        ether: Ether,
        secret: SecretKey,
        ip: str,
        *,
        ports: Mapping[str, int] | None = None,
        pins: Sequence[bytes] = (),
    ) -> None:
        self.ether = ether
        self.ip = ip
        self.key = secret.public().raw
        self.renewed: list[bytes] = []
        """Keys of the nodes with whom hands were to be shaken again."""
        self.batches: deque[bytes] = deque(maxlen=_MOST_BATCHES)
        """What `apply_routes` was given of late."""
        self.source_ports = count(40_000)
        self.forwarder = FakeForwarder(self, secret.public(), pins=pins)
        self._events: deque[Event] = deque()
        self._links: dict[int, FakeLink] = {}
        self._numbers = count(1)
        self._stalled: set[int] = set()
        self.allowed_links: Sequence[bytes] | None = None
        self._counters = {"control.sent": 0, "control.received": 0}
        self._fd: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._listen = ports if ports is not None else {"tcp": 9651}
        for proto, port in self._listen.items():
            ether.listen(proto, ip, port, self)

    # --- the seam

    @property
    def fd(self) -> int:
        """Readable while events wait."""
        assert self._fd is not None
        return self._fd

    @property
    def tun_name(self) -> str | None:
        """There is no device."""
        return None

    @property
    def listen_addresses(self) -> Sequence[str]:
        """Where it listens on the ether."""
        return [f"{proto}://{self.ip}:{port}" for proto, port in self._listen.items()]

    def drain_events(self, limit: int = 1024) -> list[Event]:
        """Take events, oldest first."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        taken = [self._events.popleft() for _ in range(min(limit, len(self._events)))]
        if self._events:
            os.eventfd_write(self.fd, 1)
        return taken

    def dial(  # noqa: PLR0917
        self,
        token: int,
        proto: str,
        ip: str,
        port: int,
        scope: int,
        timeout: float,
        key: bytes | None = None,
    ) -> None:
        """Open a link over the ether; the outcome is there at once."""
        self.ether.connect(self, token, proto, ip, port, key)

    def close_link(self, link: int) -> None:
        """Both ends lose it."""
        if link in self._links:
            self._links[link].break_down("connection closed")

    def send_control(self, batch: Sequence[tuple[int, bytes]]) -> None:
        """Deliver control packets at once."""
        for number, packet in batch:
            link = self._links.get(number)
            if link is None:
                continue
            self._counters["control.sent"] += 1
            self._count(link, len(packet), sent=True)
            if not link.cut:
                plane, far = link.other(self, number)
                plane.take_control(far, packet)

    def apply_routes(self, packed: bytes) -> None:
        """Apply records, then send what waited for one of them."""
        self.batches.append(packed)
        self.forwarder.apply_routes(packed)

    def used_routes(self) -> bytes:
        """Routes used since the last call."""
        return self.forwarder.routes.take_used()

    def replace_filter(self, open: bool, packed: bytes) -> None:
        """Replace what may come in."""
        self.forwarder.filter.replace(open, packed)

    def rule_hits(self) -> list[int]:
        """What each rule let in."""
        hits = self.forwarder.filter.hits
        return [hits.get(number, 0) for number in range(max(hits, default=-1) + 1)]

    def refusals(self, limit: int = 256) -> list[Refusal]:
        """The latest first."""
        return list(reversed(self.forwarder.filter.refusals.values()))[:limit]

    def replace_allowed_links(self, keys: Sequence[bytes] | None) -> None:
        """Nothing here learns a key before the node does: only kept."""
        self.allowed_links = keys

    def send_message(self, destination: bytes, body: bytes) -> None:
        """Send a message packet; it waits when there is no route."""
        self.forwarder.send_message(destination, body)

    def inject(self, packet: bytes) -> None:
        """Send a whole IPv6 packet."""
        self.forwarder.send_packet(packet)

    def watch_probe(self, magic: bytes) -> None:
        """Answers with this data are reported."""
        self.forwarder.watched = magic

    def links(self) -> list[LinkStats]:
        """All links that are up."""
        return [self._stats(number, link) for number, link in self._links.items()]

    def sessions(self) -> list[SessionStats]:
        """One for each node that something was sent to."""
        return self.forwarder.sessions.stats()

    def forget_pin(self, key: bytes) -> bool:
        """Hold the node to our suite no longer."""
        return self.forwarder.sessions.forget_pin(key)

    def renew_session(self, key: bytes) -> None:
        """Remember that it was asked for."""
        self.renewed.append(key)

    def counters(self) -> Mapping[str, int]:
        """Counts since the start."""
        return self.forwarder.counters() | self._counters

    def close(self) -> None:
        """Break all links."""
        if self._fd is not None:
            self.ether.leave(self)
            os.close(self._fd)
            self._fd = None

    # --- what the ether and tests use

    def now(self) -> float:
        """The time on the ether."""
        return self.ether.clock()

    def report(self, event: Event) -> None:
        """Queue an event for the node."""
        if self._fd is None:
            return
        if isinstance(event, Stalled):
            self._stalled.add(event.link)
        elif isinstance(event, Resumed):
            self._stalled.discard(event.link)
        self._events.append(event)
        os.eventfd_write(self._fd, 1)

    def next_link(self) -> int:
        """A link number that was never used."""
        return next(self._numbers)

    def gain(self, number: int, link: FakeLink, event: LinkUp) -> None:
        """A link is up."""
        self._links[number] = link
        self.report(event)

    def lose(self, number: int, reason: str) -> None:
        """A link is gone."""
        link = self._links.pop(number, None)
        if link is not None:
            if link in self.ether.links:
                self.ether.links.remove(link)
            self.report(LinkDown(number, reason, self.now()))

    def take_control(self, number: int, packet: bytes) -> None:
        """A control packet came; on its way while the link broke, it is lost."""
        link = self._links.get(number)
        if link is None:
            return
        self._counters["control.received"] += 1
        self._count(link, len(packet), sent=False)
        rtt = self.ether.rtt if packet[_TLV_TYPE_AT] == _IHU else None
        self.report(ControlReceived(number, packet, self.now(), rtt))

    def take_packet(self, link: FakeLink, packet: FakePacket) -> None:
        """A data packet came over `link`."""
        self._count(link, len(packet.body), sent=False)
        self.forwarder.relay(packet)

    # --- what the packet path uses

    def has_link(self, number: int) -> bool:
        """Whether the link is up."""
        return number in self._links

    def is_stalled(self, number: int) -> bool:
        """Whether nothing comes through the link."""
        return number in self._stalled

    def is_direct(self, key: bytes) -> bool:
        """Whether a datagram link leads to the node with this key."""
        return any(
            link.proto == "udp" and link.other(self, number)[0].key == key
            for number, link in self._links.items()
        )

    def carry(self, number: int, packet: FakePacket) -> None:
        """Send a packet over a link that is up."""
        link = self._links[number]
        self._count(link, len(packet.body), sent=True)
        if not link.cut:
            plane, _ = link.other(self, number)
            plane.take_packet(link, packet)

    def _count(self, link: FakeLink, size: int, *, sent: bool) -> None:
        counts = link.stats.setdefault(self, [0, 0, 0, 0])
        counts[0 if sent else 2] += 1
        counts[1 if sent else 3] += size

    def _stats(self, number: int, link: FakeLink) -> LinkStats:
        tx, tx_bytes, rx, rx_bytes = link.stats.get(self, [0, 0, 0, 0])
        plane, _ = link.other(self, number)
        stalled = number in self._stalled
        return LinkStats(
            number, link.proto, self.ip, plane.ip, tx_bytes, rx_bytes, tx, rx, 0, 0, self.ether.rtt,
            stalled, False, link.since,
            0.0 if link.proto == "udp" else None, 1452 if link.proto == "udp" else None,
            plane.key if link.proto == "udp" else None,
        )  # fmt: skip
