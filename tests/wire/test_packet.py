"""Packet headers and the cutting of streams (reference, sections 2.7, 5.1, 11.3 and 11.9)."""

from ipaddress import IPv6Address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import PeerError
from zosnet.wire.babel import Hello, encode_control
from zosnet.wire.packet import (
    CONTROL,
    DATA,
    MAX_PACKET,
    ControlPacket,
    DataHeader,
    DataPacket,
    Packet,
    PacketHeader,
    StreamDecoder,
    decode_packet,
)

A = IPv6Address("5a6:f0c6:f365:177d:66be:4a2b:d9fd:b59e").packed
B = IPv6Address("5e5:2195:7cc4:bfb0:bb4d:44f8:afc:d14e").packed
DATA_VECTOR = bytes.fromhex(
    "01000000 00 0004 3f 05a6f0c6f365177d66be4a2bd9fdb59e 05e521957cc4bfb0bb4d44f80afcd14e deadbeef"
)
DATA_VALUE = DataPacket(DataHeader(4, 63, A, B), bytes.fromhex("deadbeef"))
HELLO = encode_control(Hello(5))


def test_the_data_vector_holds_both_ways() -> None:
    assert DATA_VALUE.encode() == DATA_VECTOR
    assert decode_packet(DATA_VECTOR) == DATA_VALUE
    assert StreamDecoder().feed(DATA_VECTOR) == [DATA_VALUE]


def test_headers_survive_the_wire() -> None:
    assert PacketHeader.decode(PacketHeader(CONTROL, 0xBEEF).encode()) == PacketHeader(CONTROL, 0xBEEF)
    header = DataHeader(0xFFFF, 255, A, B, 0x7F)
    assert DataHeader.decode(header.encode()) == header


def test_the_spare_byte_of_a_data_packet_is_not_an_error() -> None:
    packet = DATA_VECTOR[:4] + b"\xff" + DATA_VECTOR[5:]
    assert decode_packet(packet) == DataPacket(DATA_VALUE.header._replace(reserved=0xFF), DATA_VALUE.payload)


@pytest.mark.parametrize("header", ["", "0101", "02010000", "01020000"])
def test_bad_headers_are_the_peers_fault(header: str) -> None:
    with pytest.raises(PeerError):
        PacketHeader.decode(bytes.fromhex(header))


def test_a_short_data_header_is_the_peers_fault() -> None:
    with pytest.raises(PeerError):
        DataHeader.decode(DATA_VECTOR[4:39])


@pytest.mark.parametrize("packet", [b"", HELLO[:-1], HELLO + b"\0", DATA_VECTOR[:-1], DATA_VECTOR + b"\0"])
def test_a_datagram_is_exactly_one_packet(packet: bytes) -> None:
    with pytest.raises(PeerError):
        decode_packet(packet)


@pytest.mark.parametrize(
    "junk", ["01010000 2a030006 e004 01020304", "01010000 2a030000", "01010000 2a030001 00"]
)
def test_an_unknown_packet_between_others_costs_nothing(junk: str) -> None:
    """Stock decoders lose the stream here (section 11.9)."""
    packet = bytes.fromhex(junk)
    stream = packet + DATA_VECTOR + HELLO
    assert StreamDecoder().feed(stream) == [ControlPacket(packet), DATA_VALUE, ControlPacket(HELLO)]


@pytest.mark.parametrize("junk", ["02", "02 01", "01 02", "01010000 2b030008", "01010000 2a020008"])
def test_a_stream_that_cannot_be_followed_says_so_for_ever(junk: str) -> None:
    decoder = StreamDecoder()
    assert decoder.feed(HELLO + bytes.fromhex(junk) + bytes(8)) == [ControlPacket(HELLO)]
    for more in (b"", HELLO):
        with pytest.raises(PeerError):
            decoder.feed(more)
    with pytest.raises(PeerError):
        StreamDecoder().feed(bytes.fromhex(junk) + bytes(8))


packets: st.SearchStrategy[Packet] = st.one_of(
    st.binary(max_size=40).map(
        lambda body: ControlPacket(b"\x01\x01\0\0\x2a\x03" + len(body).to_bytes(2, "big") + body)
    ),
    st.builds(
        lambda hop_limit, payload: DataPacket(DataHeader(len(payload), hop_limit, A, B), payload),
        st.integers(0, 255),
        st.binary(max_size=80),
    ),
)


def encoded(packet: Packet) -> bytes:
    return packet.packet if isinstance(packet, ControlPacket) else packet.encode()


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in at)})
    return [stream[a:b] for a, b in pairwise(edges)]


@given(st.lists(packets, max_size=8), st.lists(st.integers(0, 4096), max_size=20))
def test_packets_are_the_same_however_the_stream_is_cut(sent: list[Packet], at: list[int]) -> None:
    decoder = StreamDecoder()
    got = [packet for piece in cut(b"".join(map(encoded, sent)), at) for packet in decoder.feed(piece)]
    assert got == sent
    assert decoder.pending == 0


def everything(pieces: list[bytes]) -> tuple[list[Packet], bool]:
    """All packets of a stream, and whether it broke."""
    decoder, got, fed = StreamDecoder(), list[Packet](), 0
    try:
        for piece in pieces:
            fed += len(piece)
            got += decoder.feed(piece)
            assert decoder.pending <= min(fed, MAX_PACKET)
        decoder.feed(b"")
    except PeerError:
        return got, True
    return got, False


@given(st.lists(packets, max_size=3), st.binary(max_size=120), st.lists(st.integers(0, 4096), max_size=20))
def test_hostile_streams_break_the_same_way_however_cut(
    sent: list[Packet], junk: bytes, at: list[int]
) -> None:
    stream = b"".join(map(encoded, sent)) + junk
    assert (
        everything([stream])
        == everything(cut(stream, at))
        == everything([stream[i : i + 1] for i in range(len(stream))])
    )


def test_a_told_length_allocates_nothing() -> None:
    decoder = StreamDecoder()
    decoder.feed(PacketHeader(DATA).encode() + DataHeader(0xFFFF, 1, A, B).encode())
    assert decoder.pending == 40
