"""ICMPv6 echo, as `ping` and `trace` use it (RFC 4443, section 4)."""

from typing import NamedTuple

from zosnet.model.errors import PeerError
from zosnet.wire.ipv6 import (
    HEADER_BYTES,
    ICMP_ECHO_REPLY,
    ICMP_ECHO_REQUEST,
    ICMP_HEADER_BYTES,
    ICMP_INFORMATIONAL,
    ICMPV6,
    Icmp,
    Ipv6Header,
    decode_icmp_packet,
    encode_icmp_packet,
)


class EchoRequest(NamedTuple):
    """A probe."""

    source: bytes
    """16 bytes, as is `destination`."""
    destination: bytes
    identifier: int
    sequence: int
    data: bytes
    hop_limit: int = 64

    def encode(self) -> bytes:
        """The whole IPv6 packet, checksum included."""
        icmp = Icmp(ICMP_ECHO_REQUEST, 0, self.identifier << 16 | self.sequence, self.data)
        return encode_icmp_packet(self.source, self.destination, self.hop_limit, icmp)


class EchoReply(NamedTuple):
    """The answer to a probe."""

    source: bytes
    identifier: int
    sequence: int
    data: bytes
    hop_limit: int
    """As it arrived."""


class EchoFailed(NamedTuple):
    """An ICMPv6 error about a probe of ours: from the node at `source`, about `destination`."""

    source: bytes
    kind: int
    """1 unreachable, 2 too big, 3 time exceeded, 4 parameter problem."""
    code: int
    rest: int
    """Of kind 2: the MTU."""
    destination: bytes
    identifier: int
    sequence: int
    data: bytes
    """What the error quoted of the probe's data, perhaps cut."""


def decode_answer(packet: bytes) -> EchoReply | EchoFailed | None:
    """What a whole IPv6 packet says about a probe; None where it is no reply, and no error about a request.

    Raises PeerError for a malformed packet, or a wrong checksum.
    """
    found = decode_icmp_packet(packet)
    if found is None:
        return None
    header, icmp = found
    if icmp.kind == ICMP_ECHO_REPLY:
        return EchoReply(header.source, icmp.rest >> 16, icmp.rest & 0xFFFF, icmp.body, header.hop_limit)
    if icmp.kind < ICMP_INFORMATIONAL:
        return _decode_quoted(header, icmp)
    return None


def _decode_quoted(header: Ipv6Header, icmp: Icmp) -> EchoFailed | None:
    """The probe within an error. Its checksum isn't checked, as the quotation may be cut."""
    try:
        quoted = Ipv6Header.decode(icmp.body)
    except PeerError:
        return None
    echo = icmp.body[HEADER_BYTES:]
    if quoted.next_header != ICMPV6 or len(echo) < ICMP_HEADER_BYTES or echo[0] != ICMP_ECHO_REQUEST:
        return None
    return EchoFailed(
        header.source,
        icmp.kind,
        icmp.code,
        icmp.rest,
        quoted.destination,
        int.from_bytes(echo[4:6], "big"),
        int.from_bytes(echo[6:8], "big"),
        echo[ICMP_HEADER_BYTES:],
    )
