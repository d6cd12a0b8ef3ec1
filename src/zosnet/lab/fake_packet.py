"""A data packet between data planes in memory, and what the node that has it answers by itself."""

from __future__ import annotations

from dataclasses import dataclass

from zosnet.model.keys import PublicKey
from zosnet.wire.ipv6 import ICMP_ECHO_REPLY, Icmp, encode_icmp_packet

__all__ = ["HOP_LIMIT", "TIME_EXCEEDED", "UNREACHABLE", "FakePacket", "echo_reply", "error_about"]

HOP_LIMIT = 64
"""What a packet of a node's own starts with."""

UNREACHABLE, TIME_EXCEEDED = 1, 3
"""Types of ICMPv6 (RFC 4443, sections 3.1 and 3.3)."""

_MOST_QUOTED = 1232


@dataclass(slots=True, eq=False)
class FakePacket:
    """A data packet on its way. `key` is the sender's, `body` a whole IPv6 packet or a message packet."""

    source: bytes
    destination: bytes
    hop_limit: int
    key: bytes
    body: bytes
    is_message: bool
    is_error: bool = False


def echo_reply(packet: FakePacket, request: Icmp) -> bytes:
    """The answer to the echo request in `packet`, as a whole IPv6 packet."""
    reply = Icmp(ICMP_ECHO_REPLY, 0, request.rest, request.body)
    return encode_icmp_packet(packet.destination, packet.source, HOP_LIMIT, reply)


def error_about(packet: FakePacket, kind: int, teller: PublicKey) -> FakePacket | None:
    """What its sender is told, by the network address of the teller's /64.

    None about a message, and about another error.
    """
    if packet.is_message or packet.is_error:
        return None
    own = teller.address().packed[:8] + bytes(8)
    error = encode_icmp_packet(own, packet.source, HOP_LIMIT, Icmp(kind, 0, 0, packet.body[:_MOST_QUOTED]))
    return FakePacket(own, packet.source, HOP_LIMIT, teller.raw, error, is_message=False, is_error=True)
