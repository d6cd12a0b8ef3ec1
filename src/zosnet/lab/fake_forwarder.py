"""The packet path of a data plane in memory: from a packet of this node, or of a neighbour, to where it goes.

It looks up the route, waits where there is none, makes the session, counts the hop limit down, answers with
ICMPv6 errors, and lets in what the doors allow. Of the links below it knows only their numbers.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from zosnet.dataplane.events import Downgraded, Event, MessageReceived, Pinned, ProbeReceived, RouteNeeded
from zosnet.lab.fake_filter import FakeFilter
from zosnet.lab.fake_packet import HOP_LIMIT, TIME_EXCEEDED, UNREACHABLE, FakePacket, echo_reply, error_about
from zosnet.lab.fake_routes import FakeRoute, FakeRoutes
from zosnet.lab.fake_sessions import FakeSessions
from zosnet.model.errors import PeerError
from zosnet.model.keys import PublicKey
from zosnet.wire.ipv6 import ICMP_ECHO_REQUEST, Icmp, decode_icmp_packet

__all__ = ["FakeForwarder", "Underlay"]

_MOST_WAITING = 64
"""As many packets wait for routes as in the real one for one subnet; enough for tests."""

_HOP_LIMIT_AT = 7


class Underlay(Protocol):
    """What is below the packet path: links, by their numbers, the clock, and who hears of events."""

    def now(self) -> float: ...
    def report(self, event: Event) -> None: ...
    def has_link(self, number: int) -> bool: ...
    def is_stalled(self, number: int) -> bool: ...
    def is_direct(self, key: bytes) -> bool:
        """Whether a datagram link leads to the node with this key."""

    def carry(self, number: int, packet: FakePacket) -> None:
        """Send a packet over a link that is up."""


class FakeForwarder:
    """The packet path of the node with the key `own`."""

    def __init__(self, underlay: Underlay, own: PublicKey, *, pins: Sequence[bytes] = ()) -> None:
        self.routes = FakeRoutes()
        self.sessions = FakeSessions(pins)
        self.filter = FakeFilter()
        self.delivered: list[bytes] = []
        """Packets that came for this node and were no echo request and no watched answer."""
        self.watched = b""
        """What the answers carry that are reported; empty: none are."""
        self._underlay = underlay
        self._own = own
        self._waiting: deque[Callable[[], None]] = deque(maxlen=_MOST_WAITING)
        self._dropped = Counter({"drop.no_route": 0, "drop.hop_limit": 0})

    def counters(self) -> dict[str, int]:
        """Packets and messages that were dropped, by reason."""
        refused: Counter[str] = Counter()
        for refusal in self.filter.refusals.values():
            refused[f"drop.{refusal.reason}"] += refusal.count
        return {**self._dropped, **refused}

    def apply_routes(self, packed: bytes) -> None:
        """Apply records, then send what waited for one of them."""
        self.routes.apply(packed)
        waiting, self._waiting = self._waiting, deque(maxlen=_MOST_WAITING)
        for again in waiting:
            again()

    def send_message(self, destination: bytes, body: bytes) -> None:
        """Send a message packet of this node; it waits when there is no route."""
        self.filter.message_out(destination, body)
        source = self._own.address().packed
        self._send(FakePacket(source, destination, HOP_LIMIT, self._own.raw, body, is_message=True))

    def send_packet(self, packet: bytes) -> None:
        """Send a whole IPv6 packet of this node."""
        self.filter.packet_out(packet)
        source, destination, hop_limit = packet[8:24], packet[24:40], packet[_HOP_LIMIT_AT]
        self._send(FakePacket(source, destination, hop_limit, self._own.raw, packet, is_message=False))

    def relay(self, packet: FakePacket) -> None:
        """A neighbour's packet: it is for this node, or goes on."""
        self._forward(packet, first=False)

    def _send(self, packet: FakePacket) -> None:
        self._forward(packet, first=True)

    def _forward(self, packet: FakePacket, *, first: bool) -> None:
        if packet.destination[:8] == self._own.address().packed[:8]:
            self._deliver(packet)
            return
        if not first:
            packet.hop_limit -= 1
        if packet.hop_limit <= 0:
            self._dropped["drop.hop_limit"] += 1
            self._answer_error(packet, TIME_EXCEEDED)
            return
        route = self.routes.lookup(packet.destination)
        if route is None:
            self._waiting.append(lambda: self._send(packet))
            self._underlay.report(RouteNeeded(packet.destination))
            return
        if first and not self._has_session(route):
            return
        number = self._next_hop(route, hash(packet.body) if route.is_spread else 0)
        if number is None:
            self._dropped["drop.no_route"] += 1
            self._answer_error(packet, UNREACHABLE)
            return
        self._underlay.carry(number, packet)

    def _has_session(self, route: FakeRoute) -> bool:
        """Make the session that a first packet needs; a pinned node that speaks only Mycelium's gets none."""
        key = route.key
        if route.speaks_ours and self.sessions.pin(key):
            self._underlay.report(Pinned(key, self._underlay.now()))
        elif not route.speaks_ours and self.sessions.is_pinned(key):
            self._dropped["drop.downgraded"] += 1
            self._underlay.report(Downgraded(key, self._underlay.now()))
            return False
        self.sessions.send(key, ours=route.speaks_ours, direct=self._underlay.is_direct(key))
        return True

    def _next_hop(self, route: FakeRoute, flow: int) -> int | None:
        below, primary, backup = self._underlay, route.primary, route.backup
        if flow % 2 and below.has_link(backup) and not below.is_stalled(backup):
            return backup
        if below.is_stalled(primary) and below.has_link(backup):
            return backup
        return next((number for number in (primary, backup) if below.has_link(number)), None)

    def _deliver(self, packet: FakePacket) -> None:
        if not self._lets_in(packet):
            return
        if packet.is_message:
            self._underlay.report(MessageReceived(packet.source, packet.destination, packet.key, packet.body))
            return
        with suppress(PeerError):
            found = decode_icmp_packet(packet.body)
            if found is not None and self._is_watched(found[1]):
                self._underlay.report(ProbeReceived(packet.body, self._underlay.now()))
                return
            if found is not None and found[1].kind == ICMP_ECHO_REQUEST:
                self.send_packet(echo_reply(packet, found[1]))
                return
        self.delivered.append(packet.body)

    def _lets_in(self, packet: FakePacket) -> bool:
        if packet.is_error or packet.key == self._own.raw:
            return True  # checked in another way, or its own
        now = self._underlay.now()
        if packet.is_message:
            return self.filter.message_in(packet.key, packet.source, packet.body, now)
        return self.filter.packet_in(packet.key, packet.body, now)

    def _is_watched(self, icmp: Icmp) -> bool:
        return bool(self.watched) and icmp.kind != ICMP_ECHO_REQUEST and self.watched in icmp.body

    def _answer_error(self, packet: FakePacket, kind: int) -> None:
        error = error_about(packet, kind, self._own)
        if error is not None:
            self._send(error)
