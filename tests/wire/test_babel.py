"""Control packets: the vectors of the reference (sections 11.2 and 11.9), and hostile bytes.

The vectors were emitted by Mycelium v0.7.10's own encoders.
"""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import PeerError, Prefix, PublicKey, RouterId
from zosnet.wire.babel import (
    INFINITY,
    Hello,
    Ihu,
    RouteRequest,
    SeqnoRequest,
    Tlv,
    Update,
    decode_control,
    encode_control,
)

B = PublicKey.parse("5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b")
B_ID = RouterId.of(B, 0, bytes.fromhex("aabbccddeeff"))
ID = B.hex + "0000aabbccddeeff"
NET = B.subnet()
HOST = Prefix.of(B.address(), 128)

VECTORS: dict[str, tuple[str, Tlv]] = {
    "hello": ("01010000 2a030008 0406 8000 0005 07d0", Hello(5)),
    "ihu": ("01010000 2a030008 0506 00 00 03f2 1770", Ihu(1010)),
    "ihu to IPv4": (
        "01010000 2a03000c 050a 01 00 03f2 1770 c0000201",
        Ihu(1010, address=IPv4Address("192.0.2.1")),
    ),
    "ihu to IPv6": (
        "01010000 2a030018 0516 02 00 03f2 1770 fe800000000000000000000000000001",
        Ihu(1010, address=IPv6Address("fe80::1")),
    ),
    "update": (
        f"01010000 2a03003c 083a 02 00 40 00 7530 0000 0000 05e521957cc4bfb0 {ID}",
        Update(NET, B_ID, 0, 0),
    ),
    "update, forwarded": (
        f"01010000 2a03003c 083a 02 00 40 00 7530 0007 03f2 05e521957cc4bfb0 {ID}",
        Update(NET, B_ID, 7, 1010),
    ),
    "retraction": (
        f"01010000 2a03003c 083a 02 00 40 00 7530 0000 ffff 05e521957cc4bfb0 {ID}",
        Update(NET, B_ID, 0, INFINITY),
    ),
    "update of one host": (
        f"01010000 2a030044 0842 02 00 80 00 7530 0000 0000 05e521957cc4bfb0bb4d44f80afcd14e {ID}",
        Update(HOST, B_ID, 0, 0),
    ),
    "route request": ("01010000 2a03000d 090b 00 02 40 05e521957cc4bfb0", RouteRequest(NET, 0)),
    "wildcard request": ("01010000 2a030005 0903 00 00 00", RouteRequest(None, 0)),
    "seqno request": (
        f"01010000 2a030038 0a36 02 40 0008 40 00 {ID} 05e521957cc4bfb0",
        SeqnoRequest(NET, B_ID, 8, 64),
    ),
    "hello, live": ("01010000 2a030008 0406 8000 0000 07d0", Hello(0)),
    "ihu, live": ("01010000 2a030008 0506 0000 03e9 1770", Ihu(1001)),
    "request of one host, live": (
        "01010000 2a030015 0913 00 02 80 05e521957cc4bfb0bb4d44f80afcd14e",
        RouteRequest(HOST, 0),
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_reference_vectors_hold_both_ways(name: str) -> None:
    text, tlv = VECTORS[name]
    assert encode_control(tlv) == bytes.fromhex(text)
    assert decode_control(bytes.fromhex(text)) == tlv


@pytest.mark.parametrize(
    ("text", "tlv"),
    [
        ("0101beef 2a030008 0406 8000 0005 07d0", Hello(5)),  # reserved bytes of the packet header
        ("01010000 2a030010 0406 8000 0005 07d0 0406 8000 0006 07d0", Hello(5)),  # a second TLV
        ("01010000 2a03000a 0408 8000 0005 07d0 abcd", Hello(5)),  # a sub-TLV
        ("01010000 2a030010 050e 03 00 03f2 1770 0000000000000001", Ihu(1010, 6000, IPv6Address("fe80::1"))),
        (
            "01010000 2a03000e 090c 00 02 41 05e521957cc4bfb0ff",
            RouteRequest(Prefix(NET.network | 1 << 63, 65), 0),
        ),
        (
            f"01010000 2a030034 0832 02 c0 00 00 0000 0001 0002 {ID}",
            Update(Prefix(0, 0), B_ID, 1, 2, 0, 0xC0),
        ),
    ],
)
def test_what_the_future_may_add_is_tolerated(text: str, tlv: Tlv) -> None:
    assert decode_control(bytes.fromhex(text)) == tlv


@pytest.mark.parametrize(
    "text",
    [
        "01010000 2a030006 e004 01020304",  # a type nobody knows
        "01010000 2a030000",  # an empty body
        "01010000 2a030001 00",  # Pad1
        "01010000 2a030003 00 00 00",  # Pad1, three times
        "01010000 2a030004 0102 0000",  # PadN
        "01010000 2a030008 0506 09 00 03f2 1770",  # IHU with an unknown address encoding
        "01010000 2a030008 0906 00 01 18 0a0000",  # a request for an IPv4 prefix: stock nodes panic at it
        f"01010000 2a030034 0832 00 00 00 00 7530 0000 ffff {ID}",  # a wildcard Update
        f"01010000 2a030038 0836 01 00 20 00 7530 0000 0000 0a000001 {ID}",  # an IPv4 Update
        f"01010000 2a030030 0a2e 00 00 0008 40 00 {ID}",  # a wildcard seqno request
    ],
)
def test_what_we_do_not_route_is_ignored(text: str) -> None:
    assert decode_control(bytes.fromhex(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "01010000",
        "02010000 2a030008 0406 8000 0005 07d0",  # packet version
        "01020000 2a030008 0406 8000 0005 07d0",  # packet type
        "01000000 2a030008 0406 8000 0005 07d0",  # a data packet
        "01010000 2b030008 0406 8000 0005 07d0",  # magic
        "01010000 2a020008 0406 8000 0005 07d0",  # Babel version
        "01010000 2a030009 0406 8000 0005 07d0",  # body length too large
        "01010000 2a030007 0406 8000 0005 07d0",  # ... too small
        "01010000 2a030001 04",  # a lone type
        "01010000 2a030001",
        "01010000 2b030000",
        "01010000 2a030008 0407 8000 0005 07d0",  # TLV length beyond the body
        "01010000 2a030007 0405 8000 0005 07",  # TLV shorter than its type needs
        "01010000 2a030004 0502 0000",
        "01010000 2a030008 0506 01 00 03f2 1770",  # IHU without its address
        "01010000 2a030004 0902 0002",
        "01010000 2a030005 0903 00 00 40",  # a wildcard with a length
        "01010000 2a030005 0903 00 02 81",  # /129
        "01010000 2a030005 0903 00 02 40",  # a prefix that is missing
        f"01010000 2a03003c 083a 02 00 81 00 7530 0000 0000 05e521957cc4bfb0 {ID}",
        f"01010000 2a03003c 083a 02 00 41 00 7530 0000 0000 05e521957cc4bfb0 {ID}",
        f"01010000 2a030038 0a36 02 40 0008 00 00 {ID} 05e521957cc4bfb0",  # hop count 0
    ],
)
def test_malformed_packets_are_the_peers_fault(text: str) -> None:
    with pytest.raises(PeerError):
        decode_control(bytes.fromhex(text))


u8, u16 = st.integers(0, 0xFF), st.integers(0, 0xFFFF)
prefixes = st.builds(Prefix.of, st.integers(0, 2**128 - 1), st.integers(0, 128))
router_ids = st.binary(min_size=40, max_size=40).map(RouterId)
tlvs: st.SearchStrategy[Tlv] = st.one_of(
    st.builds(Hello, u16, u16, u16),
    st.builds(Ihu, u16, u16, st.none() | st.ip_addresses()),
    st.builds(Update, prefixes, router_ids, u16, u16, u16, u8),
    st.builds(RouteRequest, st.none() | prefixes, u8),
    st.builds(SeqnoRequest, prefixes, router_ids, u16, st.integers(1, 0xFF)),
)


@given(tlvs)
def test_every_tlv_survives_the_wire(tlv: Tlv) -> None:
    assert decode_control(encode_control(tlv)) == tlv


@given(tlvs, st.data())
def test_a_packet_cut_anywhere_is_malformed(tlv: Tlv, data: st.DataObject) -> None:
    packet = encode_control(tlv)
    with pytest.raises(PeerError):
        decode_control(packet[: data.draw(st.integers(0, len(packet) - 1))])


@given(st.binary(max_size=80), u8)
def test_no_bytes_raise_anything_but_peer_error(body: bytes, kind: int) -> None:
    framed = b"\x01\x01\0\0\x2a\x03" + len(body).to_bytes(2, "big") + body
    typed = framed[:8] + bytes((kind % 12, max(0, len(body) - 2))) + framed[10:]
    for packet in (body, framed, typed):
        try:
            tlv = decode_control(packet)
        except PeerError:
            continue
        if tlv is not None:
            assert decode_control(encode_control(tlv)) == tlv
