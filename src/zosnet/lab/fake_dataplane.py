"""A data plane in memory: several of them share an `Ether` and a process, without root, sockets or
encryption.

It does what the real one does, as far as a node can tell: links come up and break, control packets and
messages
travel, packets wait for a route, relays count hop limits down and answer with ICMPv6 errors. It delivers at
once and in order; time passes only where the test lets it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from struct import Struct

from zosnet.dataplane.events import (
    ControlReceived,
    Downgraded,
    Event,
    LinkDown,
    LinkUp,
    MessageReceived,
    Pinned,
    ProbeReceived,
    Resumed,
    RouteNeeded,
    Stalled,
)
from zosnet.dataplane.protocol import LinkStats, Refusal, SessionStats
from zosnet.lab.ether import Ether, FakeLink
from zosnet.lab.fake_filter import FakeFilter
from zosnet.model.errors import PeerError
from zosnet.model.keys import SecretKey
from zosnet.wire.ipv6 import (
    ICMP_ECHO_REPLY,
    ICMP_ECHO_REQUEST,
    Icmp,
    decode_icmp_packet,
    encode_icmp_packet,
)

__all__ = ["Ether", "FakeDataplane", "FakeLink"]

_RECORD = Struct(">BBBx16s32sIII")
_SPEAKS_OURS, _SPREAD = 1, 2
_IHU = 5
_TLV_TYPE_AT = 8
_HOP_LIMIT_AT = 7
_HOP_LIMIT = 64
_UNREACHABLE, _TIME_EXCEEDED = 1, 3
_MOST_QUOTED = 1232
# As many packets wait for routes as in the real one for one subnet; enough for tests.
_MOST_WAITING = 64


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
        self.pins = set(pins)
        self.renewed: list[bytes] = []
        """Keys of the nodes with whom hands were to be shaken again."""
        self.batches: deque[bytes] = deque(maxlen=_MOST_WAITING)
        """What `apply_routes` was given of late."""
        self.delivered: list[bytes] = []
        """Packets that came for this node and were no echo request and no watched answer."""
        self.source_ports = count(40_000)
        self._public = secret.public()
        self._events: deque[Event] = deque()
        self._links: dict[int, FakeLink] = {}
        self._numbers = count(1)
        self._routes: dict[tuple[bytes, int], tuple[bytes, int, int, int]] = {}
        self._sessions: dict[bytes, SessionStats] = {}
        self._used: set[tuple[bytes, int]] = set()
        self._waiting: deque[tuple[bytes, Callable[[], None]]] = deque(maxlen=_MOST_WAITING)
        self._stalled: set[int] = set()
        self._magic = b""
        self.filter = FakeFilter()
        self.allowed_links: Sequence[bytes] | None = None
        self._counters = {"drop.no_route": 0, "drop.hop_limit": 0, "control.sent": 0, "control.received": 0}
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
        for op, length, flags, prefix, key, primary, backup, _ in _RECORD.iter_unpack(packed):
            if op:
                self._routes[prefix, length] = (key, primary, backup, flags)
            else:
                self._routes.pop((prefix, length), None)
        waiting, self._waiting = self._waiting, deque(maxlen=_MOST_WAITING)
        for _, again in waiting:
            again()

    def used_routes(self) -> bytes:
        """Routes used since the last call."""
        used, self._used = self._used, set()
        return b"".join(prefix + bytes([length]) for prefix, length in used)

    def replace_filter(self, open: bool, packed: bytes) -> None:
        """Replace what may come in."""
        self.filter.replace(open, packed)

    def rule_hits(self) -> list[int]:
        """What each rule let in."""
        return [self.filter.hits.get(number, 0) for number in range(max(self.filter.hits, default=-1) + 1)]

    def refusals(self, limit: int = 256) -> list[Refusal]:
        """The latest first."""
        return list(reversed(self.filter.refusals.values()))[:limit]

    def replace_allowed_links(self, keys: Sequence[bytes] | None) -> None:
        """Nothing here learns a key before the node does: only kept."""
        self.allowed_links = keys

    def send_message(self, destination: bytes, body: bytes) -> None:
        """Send a message packet; it waits when there is no route."""
        source = self._public.address().packed
        self.filter.message_out(destination, body)
        self._forward(
            _Packet(source, destination, _HOP_LIMIT, self._public.raw, body, is_message=True), first=True
        )

    def inject(self, packet: bytes) -> None:
        """Send a whole IPv6 packet."""
        source, destination = packet[8:24], packet[24:40]
        self.filter.packet_out(packet)
        self._forward(
            _Packet(source, destination, packet[_HOP_LIMIT_AT], self._public.raw, packet, is_message=False),
            first=True,
        )

    def watch_probe(self, magic: bytes) -> None:
        """Answers with this data are reported."""
        self._magic = magic

    def links(self) -> list[LinkStats]:
        """All links that are up."""
        return [self._stats(number, link) for number, link in self._links.items()]

    def sessions(self) -> list[SessionStats]:
        """One for each node that something was sent to."""
        return list(self._sessions.values())

    def forget_pin(self, key: bytes) -> bool:
        """Hold the node to our suite no longer."""
        was_pinned = key in self.pins
        self.pins.discard(key)
        return was_pinned

    def renew_session(self, key: bytes) -> None:
        """Remember that it was asked for."""
        self.renewed.append(key)

    def counters(self) -> Mapping[str, int]:
        """Counts since the start."""
        refused: dict[str, int] = {}
        for refusal in self.filter.refusals.values():
            name = f"drop.{refusal.reason}"
            refused[name] = refused.get(name, 0) + refusal.count
        return self._counters | refused

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

    # --- the packet path

    def _forward(self, packet: _Packet, *, first: bool = False) -> None:
        if packet.destination[:8] == self._public.address().packed[:8]:
            self._deliver(packet)
            return
        if not first:
            packet.hop_limit -= 1
        if packet.hop_limit <= 0:
            self._counters["drop.hop_limit"] += 1
            self._answer_error(packet, _TIME_EXCEEDED)
            return
        route = self._lookup(packet.destination)
        if route is None:
            self._waiting.append((packet.destination, lambda: self._forward(packet, first=True)))
            self.report(RouteNeeded(packet.destination))
            return
        key, primary, backup, flags = route
        if first and not self._has_session(key, flags & _SPEAKS_OURS != 0):
            return
        number = self._next_hop(primary, backup, hash(packet.body) if flags & _SPREAD else 0)
        if number is None:
            self._counters["drop.no_route"] += 1
            self._answer_error(packet, _UNREACHABLE)
            return
        link = self._links[number]
        self._count(link, len(packet.body), sent=True)
        if not link.cut:
            plane, _ = link.other(self, number)
            plane.take_packet(link, packet)

    def take_packet(self, link: FakeLink, packet: _Packet) -> None:
        """A data packet came over `link`."""
        self._count(link, len(packet.body), sent=False)
        self._forward(packet)

    def _has_session(self, key: bytes, ours: bool) -> bool:
        """Make the session that a first packet needs; a pinned node that speaks only Mycelium's gets none."""
        if ours and key not in self.pins:
            self.pins.add(key)
            self.report(Pinned(key, self.now()))
        elif not ours and key in self.pins:
            self._counters["drop.downgraded"] = self._counters.get("drop.downgraded", 0) + 1
            self.report(Downgraded(key, self.now()))
            return False
        direct = any(
            self._far(number).key == key and link.proto == "udp" for number, link in self._links.items()
        )
        sent = self._sessions[key].tx_frames + 1 if key in self._sessions else 1
        self._sessions[key] = SessionStats(
            key,
            "zosnet" if ours else "mycelium",
            "none",
            "established",
            0.0,
            sent,
            0,
            "direct" if direct else "relayed",
            1408,
        )
        return True

    def _far(self, number: int) -> FakeDataplane:
        return self._links[number].other(self, number)[0]

    def _next_hop(self, primary: int, backup: int, flow: int) -> int | None:
        if flow % 2 and backup in self._links and backup not in self._stalled:
            return backup
        if primary in self._stalled and backup in self._links:
            return backup
        return next((number for number in (primary, backup) if number in self._links), None)

    def _lookup(self, destination: bytes) -> tuple[bytes, int, int, int] | None:
        for length in (128, 64):
            key = (destination[: length // 8].ljust(16, b"\0"), length)
            if key in self._routes:
                self._used.add(key)
                return self._routes[key]
        return None

    def _deliver(self, packet: _Packet) -> None:
        if not self._lets_in(packet):
            return
        if packet.is_message:
            self.report(MessageReceived(packet.source, packet.destination, packet.key, packet.body))
            return
        with suppress(PeerError):
            found = decode_icmp_packet(packet.body)
            if found is not None and self._is_watched(found[1]):
                self.report(ProbeReceived(packet.body, self.now()))
                return
            if found is not None and found[1].kind == ICMP_ECHO_REQUEST:
                reply = Icmp(ICMP_ECHO_REPLY, 0, found[1].rest, found[1].body)
                self.inject(encode_icmp_packet(packet.destination, packet.source, _HOP_LIMIT, reply))
                return
        self.delivered.append(packet.body)

    def _lets_in(self, packet: _Packet) -> bool:
        if packet.is_error or packet.key == self._public.raw:
            return True  # checked in another way, or its own
        if packet.is_message:
            return self.filter.message_in(packet.key, packet.source, packet.body, self.now())
        return self.filter.packet_in(packet.key, packet.body, self.now())

    def _is_watched(self, icmp: Icmp) -> bool:
        return bool(self._magic) and icmp.kind != ICMP_ECHO_REQUEST and self._magic in icmp.body

    def _answer_error(self, packet: _Packet, kind: int) -> None:
        """Tell the sender, as the network address of this node's /64; never about an error."""
        if packet.is_message or packet.is_error:
            return
        own = self._public.address().packed[:8] + bytes(8)
        error = encode_icmp_packet(
            own, packet.source, _HOP_LIMIT, Icmp(kind, 0, 0, packet.body[:_MOST_QUOTED])
        )
        self._forward(
            _Packet(own, packet.source, _HOP_LIMIT, self._public.raw, error, False, is_error=True), first=True
        )

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


@dataclass(slots=True, eq=False)
class _Packet:
    """A data packet on its way."""

    source: bytes
    destination: bytes
    hop_limit: int
    key: bytes
    body: bytes
    is_message: bool
    is_error: bool = False
