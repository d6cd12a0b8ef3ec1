"""The doors of a data plane in memory: as the real ones decide, without connections that run out.

It knows packets of TCP, UDP and echoes without extension headers, and reads the rules one by one.
"""

from __future__ import annotations

from dataclasses import replace
from struct import Struct

from zosnet.dataplane.protocol import Refusal
from zosnet.wire.message import ACK, CHUNK, DONE, INIT, REPLY

_RECORD = Struct(">BBB?BxHHH4x16s32s")
_PACKETS, _MESSAGES = 1, 2
_ANYONE, _KEY = 0, 1
_ICMP, _ECHO_REQUEST, _ECHO_REPLY = 58, 128, 129
_PORTED = (6, 17)
_MOST_PORT = 65535
_MESSAGE_HEADER = Struct(">8sH")


class FakeFilter:
    """What comes in, by the rules and by what went out."""

    def __init__(self) -> None:
        self.open = False
        self.hits: dict[int, int] = {}
        self.refusals: dict[tuple[bytes, int, int, str], Refusal] = {}
        self._records: list[tuple[int, int, int, bool, int, int, int, int, bytes, bytes]] = []
        self._flows: set[tuple[bytes, bytes, int, int, int]] = set()
        self._messages: set[tuple[bytes, bytes]] = set()

    def replace(self, is_open: bool, packed: bytes) -> None:
        """Replace the rules. Raises ValueError for what is not a whole number of records."""
        if len(packed) % _RECORD.size:
            raise ValueError(f"{len(packed)} bytes aren't a whole number of records")
        self._records = list(_RECORD.iter_unpack(packed))
        self.open = is_open
        self.hits = {record[5]: 0 for record in self._records}

    def packet_out(self, packet: bytes) -> None:
        """A packet of this node: its answers may come in."""
        protocol, here, there = _ports(packet)
        self._flows.add((packet[8:24], packet[24:40], protocol, here, there))

    def packet_in(self, key: bytes, packet: bytes, now: float) -> bool:
        """Whether a packet may come in."""
        protocol, there, here = _ports(packet)
        if self.open or (protocol == _ICMP and packet[40] == _ECHO_REQUEST):
            return True
        local, remote = packet[24:40], packet[8:24]
        if (local, remote, protocol, here, there) in self._flows:
            return True
        if protocol == _ICMP and packet[40] < _ECHO_REQUEST:
            quoted = packet[48:]
            if (quoted[8:24], quoted[24:40], *_ports(quoted)) in self._flows:
                return True
            return self._refuse(key, remote, (protocol, here), "refused_error", now)
        if protocol == _ICMP and packet[40] == _ECHO_REPLY:
            return self._refuse(key, remote, (protocol, here), "refused_stray", now)
        if self._rule(key, remote, (protocol, here)):
            self._flows.add((local, remote, protocol, here, there))
            return True
        return self._refuse(key, remote, (protocol, here), "refused_service", now)

    def message_out(self, destination: bytes, body: bytes) -> None:
        """A message packet of this node: its answers may come in."""
        id, flags = _MESSAGE_HEADER.unpack_from(body)
        if flags & (INIT | CHUNK | DONE) and not flags & ACK:
            self._messages.add((destination[:8], id))

    def message_in(self, key: bytes, source: bytes, body: bytes, now: float) -> bool:
        """Whether a message packet may come in."""
        id, flags = _MESSAGE_HEADER.unpack_from(body)
        is_answer = not flags & INIT or flags & (ACK | REPLY)
        if self.open or (is_answer and (source[:8], id) in self._messages):
            return True
        begins = bool(flags & INIT) and not flags & ACK
        return self._rule(key, source, None, counts=begins) or self._refuse(
            key, source, (0, 0), "refused_message", now
        )

    def _rule(
        self, key: bytes, source: bytes, wanted: tuple[int, int] | None, *, counts: bool = True
    ) -> bool:
        for list_, kind, length, every, protocol, number, first, last, prefix, own in self._records:
            host_bits = 128 - length
            is_within = int.from_bytes(source) >> host_bits == int.from_bytes(prefix) >> host_bits
            right_source = kind == _ANYONE or (own == key if kind == _KEY else is_within)
            right_list = list_ == (_MESSAGES if wanted is None else _PACKETS)
            if (
                right_source
                and right_list
                and (wanted is None or _covers(every, protocol, first, last, wanted))
            ):
                self.hits[number] += counts
                return True
        return False

    def _refuse(self, key: bytes, source: bytes, what: tuple[int, int], reason: str, now: float) -> bool:
        """Remember it, and say no."""
        known = self.refusals.pop((key, *what, reason), Refusal(key, source, *what, reason, 0, now, now))
        self.refusals[key, *what, reason] = replace(known, source=source, count=known.count + 1, last=now)
        return False


def _covers(every: bool, protocol: int, first: int, last: int, wanted: tuple[int, int]) -> bool:
    all_ports = (first, last) == (0, _MOST_PORT)
    return (every or protocol == wanted[0]) and (
        all_ports or (wanted[0] in _PORTED and first <= wanted[1] <= last)
    )


def _ports(packet: bytes) -> tuple[int, int, int]:
    """Protocol, source and destination port; of an echo its identifier, of other ICMPv6 0 and the type."""
    protocol, rest = packet[6], packet[40:]
    if protocol in _PORTED:
        return protocol, int.from_bytes(rest[:2]), int.from_bytes(rest[2:4])
    if protocol != _ICMP:
        return protocol, 0, 0
    if rest[0] in (_ECHO_REQUEST, _ECHO_REPLY):
        identifier = int.from_bytes(rest[4:6])
        return protocol, identifier, identifier
    return protocol, 0, rest[0]
