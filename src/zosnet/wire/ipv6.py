"""The little of IPv6 and ICMPv6 that this node writes and reads itself (RFC 8200, RFC 4443)."""

from struct import Struct, unpack
from typing import NamedTuple

from zosnet.model.errors import PeerError

HEADER_BYTES = 40
ICMPV6 = 58

ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY = 128, 129
#: Types below this are errors, which quote the packet that caused them (RFC 4443, section 2.1).
ICMP_INFORMATIONAL = 128

ICMP_HEADER_BYTES = 8

_HEADER = Struct(">IHBB16s16s")
_ICMP = Struct(">BBHI")
_PSEUDO = Struct(">16s16sII")
_VERSION_6 = 6 << 28


class Ipv6Header(NamedTuple):
    """An IPv6 header without extensions. Traffic class and flow label are written as 0, and not read."""

    payload_length: int
    next_header: int
    hop_limit: int
    source: bytes
    destination: bytes

    def encode(self) -> bytes:
        length, next_header, hop_limit, source, destination = self
        return _HEADER.pack(_VERSION_6, length, next_header, hop_limit, source, destination)

    @classmethod
    def decode(cls, packet: bytes) -> "Ipv6Header":
        """Raises PeerError for fewer than 40 bytes, or another version than 6."""
        if len(packet) < HEADER_BYTES:
            raise PeerError(f"an IPv6 header has {HEADER_BYTES} bytes, {len(packet)} came")
        first, *fields = _HEADER.unpack_from(packet)
        if first >> 28 != 6:
            raise PeerError(f"IP version {first >> 28}")
        return cls(*fields)


class Icmp(NamedTuple):
    """An ICMPv6 message. `rest`, behind the checksum, is unused, an MTU, or identifier and sequence."""

    kind: int
    code: int
    rest: int
    body: bytes

    def encode(self, source: bytes, destination: bytes) -> bytes:
        """The bytes, checksummed for these two addresses."""
        blank = _ICMP.pack(self.kind, self.code, 0, self.rest) + self.body
        checksum = checksum_of(source, destination, blank)
        return _ICMP.pack(self.kind, self.code, checksum, self.rest) + self.body

    @classmethod
    def decode(cls, data: bytes, source: bytes, destination: bytes) -> "Icmp":
        """Raises PeerError for fewer than eight bytes, or a wrong checksum."""
        if len(data) < ICMP_HEADER_BYTES:
            raise PeerError(f"an ICMPv6 header has {ICMP_HEADER_BYTES} bytes, {len(data)} came")
        if checksum_of(source, destination, data) != 0:
            raise PeerError("a wrong ICMPv6 checksum")
        kind, code, _, rest = _ICMP.unpack_from(data)
        return cls(kind, code, rest, data[ICMP_HEADER_BYTES:])


def checksum_of(source: bytes, destination: bytes, message: bytes) -> int:
    """The ICMPv6 checksum of `message` (RFC 8200, section 8.1): 0 where it already carries the right one."""
    whole = _PSEUDO.pack(source, destination, len(message), ICMPV6) + message
    if len(whole) & 1:
        whole += b"\0"
    total: int = sum(unpack(f">{len(whole) // 2}H", whole))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def encode_icmp_packet(source: bytes, destination: bytes, hop_limit: int, icmp: Icmp) -> bytes:
    """A whole IPv6 packet with one ICMPv6 message."""
    payload = icmp.encode(source, destination)
    return Ipv6Header(len(payload), ICMPV6, hop_limit, source, destination).encode() + payload


def decode_icmp_packet(packet: bytes) -> tuple[Ipv6Header, Icmp] | None:
    """The header and message of an ICMPv6 packet; None for a well-formed packet of another kind.

    Raises PeerError for one that is malformed, cut short, or carries a wrong checksum.
    """
    header = Ipv6Header.decode(packet)
    if header.next_header != ICMPV6:
        return None
    if len(packet) != HEADER_BYTES + header.payload_length:
        raise PeerError("an IPv6 packet's length is not the one in its header")
    return header, Icmp.decode(packet[HEADER_BYTES:], header.source, header.destination)
