"""Control packets: Mycelium's variant of the Babel TLVs (RFC 8966 with the departures named below).

    0             4       5       6             8          9            10
    | 01 01 00 00 | 2a    | 03    | body length | TLV type | TLV length | TLV body ...

One TLV a packet, unicast, over a reliable link. The router id is 40 bytes and stands inside every Update;
prefixes are never compressed. Metrics, seqnos and intervals are plain ints here, as their arithmetic is
babel/'s matter.
"""

from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import NamedTuple

from zosnet.model.errors import PeerError
from zosnet.model.prefix import ADDRESS_BITS, MASKS, Prefix
from zosnet.model.router_id import ROUTER_ID_BYTES, RouterId, interned
from zosnet.wire.packet import (
    BABEL_HEADER_BYTES,
    BABEL_MAGIC,
    BABEL_VERSION,
    CONTROL,
    PACKET_HEADER_BYTES,
    VERSION,
)

INFINITY = 0xFFFF
"""The metric of a retraction, and of a route that is not there."""

HELLO, IHU, UPDATE, ROUTE_REQUEST, SEQNO_REQUEST = 4, 5, 8, 9, 10

#: Address encodings (RFC 8966, section 4.1.4).
AE_WILDCARD, AE_IPV4, AE_IPV6, AE_LINK_LOCAL = 0, 1, 2, 3

UNICAST = 0x8000
"""The flag of a Hello that is meant for one neighbour, as all of ours are."""

_TLV_START = PACKET_HEADER_BYTES + BABEL_HEADER_BYTES
_BODY_START = _TLV_START + 2
_HEADER = VERSION << 24 | CONTROL << 16
_BABEL = BABEL_MAGIC << 8 | BABEL_VERSION
_ANY_HEADER = _HEADER | 0xFFFF

_START = Struct(">IHHBB")
_HELLO = Struct(">IHHBBHHH")
_HELLO_BODY = Struct(">HHH")
_IHU = Struct(">IHHBBBBHH")
_IHU_BODY = Struct(">BxHH")
_UPDATE = Struct(">IHHBBBBBBHHH")
_UPDATE_64 = Struct(">IHHBBBBBBHHHQ40s")
_UPDATE_BODY = Struct(">BBBxHHH")
_QUAD = Struct(">Q40s")
_SEQNO_REQUEST = Struct(">IHHBBBBHBB40s")
_SEQNO_REQUEST_BODY = Struct(">BBHBx40s")

_UPDATE_FIXED = 10 + ROUTER_ID_BYTES
_SEQNO_REQUEST_FIXED = 6 + ROUTER_ID_BYTES
_LINK_LOCAL = 0xFE80 << 112
_LOW_64 = 64
_new = tuple.__new__


class Hello(NamedTuple):
    """A sign of life, which the neighbour answers with an IHU at once. Stock nodes read no field of it."""

    seqno: int
    interval_cs: int = 2000
    flags: int = UNICAST


class Ihu(NamedTuple):
    """The answer to a Hello. A stock node samples the RTT at its arrival, and reads nothing in it."""

    rx_cost: int
    interval_cs: int = 6000
    address: IPv6Address | IPv4Address | None = None


class Update(NamedTuple):
    """A route: `prefix`, originated by `router_id`, at `metric` from the neighbour that sends this."""

    prefix: Prefix
    router_id: RouterId
    seqno: int
    metric: int
    interval_cs: int = 30000
    flags: int = 0


class RouteRequest(NamedTuple):
    """Ask for a route, or for the whole table where `prefix` is None. `generation` counts the forwardings."""

    prefix: Prefix | None
    generation: int


class SeqnoRequest(NamedTuple):
    """Ask the originator for an Update with at least `seqno`. `hop_count` is never 0."""

    prefix: Prefix
    router_id: RouterId
    seqno: int
    hop_count: int


Tlv = Hello | Ihu | Update | RouteRequest | SeqnoRequest


def encode_control(tlv: Tlv) -> bytes:
    """The whole control packet, its 4-byte packet header included, in the form that stock nodes send."""
    if isinstance(tlv, Update):  # by far the most frequent, and a match costs a microsecond
        return _encode_update(tlv)
    match tlv:
        case Hello(seqno, interval_cs, flags):
            return _HELLO.pack(_HEADER, _BABEL, 8, HELLO, 6, flags, seqno, interval_cs)
        case Ihu():
            return _encode_ihu(tlv)
        case RouteRequest():
            return _encode_route_request(tlv)
        case SeqnoRequest():
            return _encode_seqno_request(tlv)


def decode_control(packet: bytes) -> Tlv | None:
    """Decode one whole control packet, its 4-byte packet header included.

    None means well framed, and to be ignored: an unknown TLV, padding, an address encoding that we don't
    route. Bytes behind a known TLV, inside or after it, are skipped. Raises PeerError for everything
    malformed: not a control packet, a body length that isn't the packet's, a TLV that is cut short, an
    impossible prefix length, hop count 0.
    """
    size = len(packet)
    if size < _BODY_START:
        _check_empty(packet)
        return None
    header, babel, body_length, kind, length = _START.unpack_from(packet)
    if header | 0xFFFF != _ANY_HEADER or babel != _BABEL or body_length != size - _TLV_START:
        raise PeerError("not a control packet, or not a whole one")
    if kind == 0:
        return None
    if length + 2 > body_length:
        raise PeerError("a TLV is longer than its packet")
    if kind == UPDATE:
        return _decode_update(packet, length)
    if kind == HELLO:
        return _decode_hello(packet, length)
    if kind == IHU:
        return _decode_ihu(packet, length)
    if kind == ROUTE_REQUEST:
        return _decode_route_request(packet, length)
    if kind == SEQNO_REQUEST:
        return _decode_seqno_request(packet, length)
    return None


def _check_empty(packet: bytes) -> None:
    """A packet without room for a TLV: empty, or one byte of padding (Pad1), else malformed."""
    if packet[:2] != b"\x01\x01" or packet[4:6] != b"\x2a\x03":
        raise PeerError("not a control packet, or not a whole one")
    if packet[6:] not in (b"\x00\x00", b"\x00\x01\x00"):
        raise PeerError("a control packet is cut short")


def _prefix_bytes(prefix: Prefix) -> bytes:
    return prefix.network.to_bytes(16, "big")[: (prefix.length + 7) >> 3]


def _decode_prefix(packet: bytes, at: int, plen: int) -> Prefix:
    count = (plen + 7) >> 3
    network = int.from_bytes(packet[at : at + count], "big") << (ADDRESS_BITS - 8 * count)
    return Prefix(network & MASKS[plen], plen)


def _need(length: int, needed: int) -> None:
    if length < needed:
        raise PeerError(f"a TLV has {length} bytes and needs {needed}")


def _decode_hello(packet: bytes, length: int) -> Hello:
    """Flags 2, seqno 2, interval 2."""
    _need(length, 6)
    flags, seqno, interval_cs = _HELLO_BODY.unpack_from(packet, _BODY_START)
    return Hello(seqno, interval_cs, flags)


def _encode_ihu(tlv: Ihu) -> bytes:
    address = tlv.address
    tail = b"" if address is None else address.packed
    ae = AE_WILDCARD if address is None else AE_IPV4 if isinstance(address, IPv4Address) else AE_IPV6
    size = 6 + len(tail)
    return _IHU.pack(_HEADER, _BABEL, size + 2, IHU, size, ae, 0, tlv.rx_cost, tlv.interval_cs) + tail


def _decode_ihu(packet: bytes, length: int) -> Ihu | None:
    """AE 1, reserved 1, rx cost 2, interval 2, address 0, 4, 16 or 8 (link-local, fe80::/64 implied)."""
    _need(length, 6)
    ae, rx_cost, interval_cs = _IHU_BODY.unpack_from(packet, _BODY_START)
    at = _BODY_START + 6
    if ae == AE_WILDCARD:
        return Ihu(rx_cost, interval_cs)
    if ae == AE_IPV4:
        _need(length, 10)
        return Ihu(rx_cost, interval_cs, IPv4Address(packet[at : at + 4]))
    if ae == AE_IPV6:
        _need(length, 22)
        return Ihu(rx_cost, interval_cs, IPv6Address(packet[at : at + 16]))
    if ae == AE_LINK_LOCAL:
        _need(length, 14)
        interface_id = int.from_bytes(packet[at : at + 8], "big")
        return Ihu(rx_cost, interval_cs, IPv6Address(_LINK_LOCAL | interface_id))
    return None


def _encode_update(tlv: Update) -> bytes:
    (network, plen), router_id, seqno, metric, interval_cs, flags = tlv
    if plen == _LOW_64:
        return _UPDATE_64.pack(
            _HEADER, _BABEL, 60, UPDATE, 58, AE_IPV6, flags, 64, 0,
            interval_cs, seqno, metric, network >> 64, router_id.raw,
        )  # fmt: skip
    tail = _prefix_bytes(tlv.prefix)
    size = _UPDATE_FIXED + len(tail)
    head = _UPDATE.pack(
        _HEADER, _BABEL, size + 2, UPDATE, size, AE_IPV6, flags, plen, 0, interval_cs, seqno, metric
    )
    return head + tail + router_id.raw


def _decode_update(packet: bytes, length: int) -> Update | None:
    """AE 1, flags 1, prefix length 1, omitted 1, interval 2, seqno 2, metric 2, prefix, router id 40."""
    _need(length, _UPDATE_FIXED)
    ae, flags, plen, interval_cs, seqno, metric = _UPDATE_BODY.unpack_from(packet, _BODY_START)
    if ae != AE_IPV6:
        return None
    if plen == _LOW_64 and length >= _UPDATE_FIXED + 8:
        high, raw = _QUAD.unpack_from(packet, _BODY_START + 10)
        return _new(
            Update, (_new(Prefix, (high << 64, 64)), interned(raw), seqno, metric, interval_cs, flags)
        )
    end = _checked_prefix_end(plen, length, _UPDATE_FIXED) + 10
    prefix = _decode_prefix(packet, _BODY_START + 10, plen)
    router_id = interned(packet[_BODY_START + end : _BODY_START + end + ROUTER_ID_BYTES])
    return Update(prefix, router_id, seqno, metric, interval_cs, flags)


def _checked_prefix_end(plen: int, length: int, fixed: int) -> int:
    """How many bytes an IPv6 prefix takes, once its length and the TLV's are found possible."""
    if plen > ADDRESS_BITS:
        raise PeerError(f"a prefix length of {plen}")
    count = (plen + 7) >> 3
    _need(length, fixed + count)
    return count


def _decode_route_request(packet: bytes, length: int) -> RouteRequest | None:
    """Generation 1, AE 1, prefix length 1, prefix. RFC 8966 has no generation."""
    _need(length, 3)
    generation, ae, plen = packet[_BODY_START : _BODY_START + 3]
    if ae == AE_WILDCARD:
        if plen:
            raise PeerError("a wildcard request with a prefix length")
        return RouteRequest(None, generation)
    if ae != AE_IPV6:
        return None
    _checked_prefix_end(plen, length, 3)
    return RouteRequest(_decode_prefix(packet, _BODY_START + 3, plen), generation)


def _encode_route_request(tlv: RouteRequest) -> bytes:
    ae, plen, tail = AE_WILDCARD, 0, b""
    if tlv.prefix is not None:
        ae, plen, tail = AE_IPV6, tlv.prefix.length, _prefix_bytes(tlv.prefix)
    start = _START.pack(_HEADER, _BABEL, 5 + len(tail), ROUTE_REQUEST, 3 + len(tail))
    return start + bytes((tlv.generation, ae, plen)) + tail


def _encode_seqno_request(tlv: SeqnoRequest) -> bytes:
    prefix, router_id, seqno, hop_count = tlv
    tail = _prefix_bytes(prefix)
    size = _SEQNO_REQUEST_FIXED + len(tail)
    head = _SEQNO_REQUEST.pack(
        _HEADER, _BABEL, size + 2, SEQNO_REQUEST, size,
        AE_IPV6, prefix.length, seqno, hop_count, 0, router_id.raw,
    )  # fmt: skip
    return head + tail


def _decode_seqno_request(packet: bytes, length: int) -> SeqnoRequest | None:
    """AE 1, prefix length 1, seqno 2, hop count 1, reserved 1, router id 40, prefix."""
    _need(length, _SEQNO_REQUEST_FIXED)
    ae, plen, seqno, hop_count, router_id = _SEQNO_REQUEST_BODY.unpack_from(packet, _BODY_START)
    if hop_count == 0:
        raise PeerError("a seqno request with hop count 0")
    if ae != AE_IPV6:
        return None
    _checked_prefix_end(plen, length, _SEQNO_REQUEST_FIXED)
    prefix = _decode_prefix(packet, _BODY_START + _SEQNO_REQUEST_FIXED, plen)
    return SeqnoRequest(prefix, interned(router_id), seqno, hop_count)
