"""The outermost layer of every link: packet headers, data packets, and cutting a byte stream into packets.

    0        1       2          4
    | ver 1  | type  | reserved | body ...        type 0 data, 1 control; reserved is ignored

There is no length outside the body: a data packet says its payload's length, a control packet its Babel
body's.
"""

from struct import Struct
from typing import NamedTuple

from zosnet.model.errors import PeerError

VERSION = 1
DATA, CONTROL = 0, 1

PACKET_HEADER_BYTES = 4
DATA_HEADER_BYTES = 36
BABEL_HEADER_BYTES = 4
MAX_PAYLOAD = 0xFFFF
#: The longest packet there is: a data packet with a full length field.
MAX_PACKET = PACKET_HEADER_BYTES + DATA_HEADER_BYTES + MAX_PAYLOAD

BABEL_MAGIC, BABEL_VERSION = 42, 3

_PACKET_HEADER = Struct(">BBH")
_DATA_HEADER = Struct(">BHB16s16s")
_LENGTHS = Struct(">BBxxBHB")  # version, type; then of data: reserved, length, hop limit


class PacketHeader(NamedTuple):
    """The four bytes in front of every packet."""

    kind: int
    """DATA or CONTROL."""
    reserved: int = 0
    """16 bits; stock nodes send 0 and ignore it."""

    def encode(self) -> bytes:
        return _PACKET_HEADER.pack(VERSION, self.kind, self.reserved)

    @classmethod
    def decode(cls, data: bytes) -> "PacketHeader":
        """Raises PeerError for fewer than four bytes, another version than 1, or an unknown type."""
        if len(data) < PACKET_HEADER_BYTES:
            raise PeerError(f"a packet header has {PACKET_HEADER_BYTES} bytes, {len(data)} came")
        version, kind, reserved = _PACKET_HEADER.unpack_from(data)
        _check(version, kind)
        return cls(kind, reserved)


class DataHeader(NamedTuple):
    """The header of a data packet. Nothing in it is authenticated.

    0          1        3           4        20            36
    | reserved | length | hop limit | source | destination | payload ...
    """

    length: int
    """Bytes of payload."""
    hop_limit: int
    source: bytes
    """16 bytes, as is `destination`."""
    destination: bytes
    reserved: int = 0
    """8 bits; forwarders write 0, receivers ignore it."""

    def encode(self) -> bytes:
        return _DATA_HEADER.pack(self.reserved, self.length, self.hop_limit, self.source, self.destination)

    @classmethod
    def decode(cls, data: bytes) -> "DataHeader":
        """Raises PeerError for fewer than 36 bytes."""
        if len(data) < DATA_HEADER_BYTES:
            raise PeerError(f"a data header has {DATA_HEADER_BYTES} bytes, {len(data)} came")
        reserved, length, hop_limit, source, destination = _DATA_HEADER.unpack_from(data)
        return cls(length, hop_limit, source, destination, reserved)


class ControlPacket(NamedTuple):
    """A whole control packet, its 4-byte header included: what `babel.decode_control` takes."""

    packet: bytes


class DataPacket(NamedTuple):
    """A data packet with its encrypted payload."""

    header: DataHeader
    payload: bytes

    def encode(self) -> bytes:
        """The whole packet, its 4-byte header included."""
        return PacketHeader(DATA).encode() + self.header.encode() + self.payload


Packet = ControlPacket | DataPacket


def decode_packet(packet: bytes) -> Packet:
    """Decode exactly one whole packet, as it fills a QUIC datagram.

    Raises PeerError for malformed, truncated or trailing bytes.
    """
    size = _size(packet, 0)
    if size is None or size != len(packet):
        raise PeerError(f"a datagram of {len(packet)} bytes is not exactly one packet")
    return _cut(packet)


class StreamDecoder:
    """Cuts the bytes of one link into packets, whatever the pieces they arrive in. No I/O.

    It holds at most one unfinished packet, and never allocates for a length that was only told. Feed it and
    use what `feed` returns; PeerError means that the stream cannot be followed any more, so close the link.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._failure: PeerError | None = None

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that `data` completes, in order.

        Raises PeerError where the stream breaks. Packets in front of the break are returned first: then the
        error is raised by the next call, and by every call after it.
        """
        if self._failure is not None:
            raise self._failure
        buffer = self._buffer
        buffer += data
        packets: list[Packet] = []
        at = 0
        try:
            while (size := _size(buffer, at)) is not None and at + size <= len(buffer):
                packets.append(_cut(bytes(memoryview(buffer)[at : at + size])))
                at += size
        except PeerError as failure:
            self._failure = failure
            buffer.clear()
            if not packets:
                raise
            return packets
        if at:
            del buffer[:at]
        return packets

    @property
    def pending(self) -> int:
        """Bytes of the unfinished packet, never more than were fed."""
        return len(self._buffer)


def _check(version: int, kind: int) -> None:
    if version != VERSION:
        raise PeerError(f"packet version {version} is unknown")
    if kind not in (DATA, CONTROL):
        raise PeerError(f"packet type {kind} is unknown")


def _size(buffer: bytes | bytearray, at: int) -> int | None:
    """The length of the packet that begins at `at`, header included; None while that takes more bytes."""
    if len(buffer) - at < PACKET_HEADER_BYTES + BABEL_HEADER_BYTES:
        if len(buffer) - at >= 2:
            _check(buffer[at], buffer[at + 1])
        return None
    version, kind, first, length, _ = _LENGTHS.unpack_from(buffer, at)
    _check(version, kind)
    if kind == DATA:
        return PACKET_HEADER_BYTES + DATA_HEADER_BYTES + int(length)
    if first != BABEL_MAGIC or buffer[at + 5] != BABEL_VERSION:
        raise PeerError("a control packet without the Babel header")
    body = buffer[at + 6] << 8 | buffer[at + 7]
    return PACKET_HEADER_BYTES + BABEL_HEADER_BYTES + body


def _cut(packet: bytes) -> Packet:
    if packet[1] == CONTROL:
        return ControlPacket(packet)
    start = PACKET_HEADER_BYTES + DATA_HEADER_BYTES
    return DataPacket(DataHeader.decode(packet[PACKET_HEADER_BYTES:start]), packet[start:])
