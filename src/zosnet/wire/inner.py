"""What a data packet's ciphertext holds: the inner header, and ICMP sent by relays on the way.

0         1      2          4
| ver 1   | type | reserved | body ...       reserved: 0 at stock nodes, ignored, authenticated end to end
"""

from struct import Struct
from typing import NamedTuple

from zosnet.model.errors import PeerError
from zosnet.wire.ipv6 import HEADER_BYTES as IPV6_HEADER_BYTES
from zosnet.wire.ipv6 import ICMP_HEADER_BYTES, Icmp, decode_icmp_packet, encode_icmp_packet

VERSION = 1
L3, MESSAGE, OUT_OF_BAND_ICMP = 0, 1, 2
HEADER_BYTES = 4

#: A relay quotes a payload whole up to this length, and leaves out a longer one.
MAX_QUOTED = 1232

_HEADER = Struct(">BBH")
_ADDRESS_BYTES = 16
_MIN_OUT_OF_BAND = _ADDRESS_BYTES + IPV6_HEADER_BYTES + ICMP_HEADER_BYTES
_MAX_OUT_OF_BAND = _MIN_OUT_OF_BAND + MAX_QUOTED
_HOP_LIMIT = 64


class InnerHeader(NamedTuple):
    """The first four bytes of the plaintext."""

    kind: int
    """L3, MESSAGE, OUT_OF_BAND_ICMP, or a type from the future, which a receiver drops."""
    reserved: int = 0

    def encode(self) -> bytes:
        return _HEADER.pack(VERSION, self.kind, self.reserved)

    @classmethod
    def decode(cls, plaintext: bytes) -> "InnerHeader":
        """Raises PeerError for fewer than four bytes, or another version than 1."""
        if len(plaintext) < HEADER_BYTES:
            raise PeerError(f"an inner header has {HEADER_BYTES} bytes, {len(plaintext)} came")
        version, kind, reserved = _HEADER.unpack_from(plaintext)
        if version != VERSION:
            raise PeerError(f"inner version {version} is unknown")
        return cls(kind, reserved)


class OutOfBandIcmp(NamedTuple):
    """An ICMPv6 error of a relay, about a packet that it could not read, to that packet's sender.

    0             16            56              64
    | destination | IPv6 header | ICMPv6 header | the packet's encrypted payload, or nothing
    """

    about: bytes
    """The destination address, 16 bytes, of the packet that failed: whose key opens `quoted`."""
    relay: bytes
    """The network address of the relay's /64."""
    sender: bytes
    """The source address of the packet that failed."""
    kind: int
    code: int
    rest: int
    quoted: bytes
    """The encrypted payload, empty where it was longer than MAX_QUOTED."""

    def encode(self) -> bytes:
        """The body behind the inner header."""
        icmp = Icmp(self.kind, self.code, self.rest, self.quoted)
        return self.about + encode_icmp_packet(self.relay, self.sender, _HOP_LIMIT, icmp)

    @classmethod
    def decode(cls, body: bytes) -> "OutOfBandIcmp":
        """Raises PeerError for a length outside 64 to 1296, or anything but one sound ICMPv6 packet."""
        if not _MIN_OUT_OF_BAND <= len(body) <= _MAX_OUT_OF_BAND:
            raise PeerError(f"an out-of-band ICMP of {len(body)} bytes")
        found = decode_icmp_packet(body[_ADDRESS_BYTES:])
        if found is None:
            raise PeerError("an out-of-band ICMP without ICMPv6")
        header, icmp = found
        return cls(
            body[:_ADDRESS_BYTES],
            header.source,
            header.destination,
            icmp.kind,
            icmp.code,
            icmp.rest,
            icmp.body,
        )
