"""Message packets: the vectors of the reference (section 11.5), emitted by Mycelium's own encoders."""

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import MessageId, PeerError
from zosnet.wire.inner import MESSAGE, InnerHeader
from zosnet.wire.message import (
    Aborted,
    Chunk,
    ChunkAck,
    Done,
    DoneAck,
    Init,
    InitAck,
    MessagePacket,
    Read,
    acknowledge,
    decode_message,
    encode_message,
)

ID = MessageId.parse("0102030405060708")
TEXT = b"hello mycelium"
SUM = bytes.fromhex("3c8c3830b6e546ec3b11db7e4828ccb70fb623e93e9754a6920458133accd019")

VECTORS: dict[str, MessagePacket] = {
    "01010000 0102030405060708 8000 0000 000000000000000e 05 6772656574": Init(ID, 14, b"greet"),
    "01010000 0102030405060708 8400 0000 000000000000000e 00": Init(ID, 14, b"", True),
    "01010000 0102030405060708 8100 0000 000000000000000e 05": InitAck(ID, 14, 5),
    "01010000 0102030405060708 1000 0000 0000000000000000 0000000000000000 000000000000000e"
    "68656c6c6f206d7963656c69756d": Chunk(ID, 0, 0, TEXT),
    "01010000 0102030405060708 1100 0000 0000000000000000 0000000000000000 000000000000000e": ChunkAck(
        ID, 0, 0, 14
    ),
    "01010000 0102030405060708 4000 0000 0000000000000001" + SUM.hex(): Done(ID, 1, SUM),
    "01010000 0102030405060708 4100 0000 0000000000000001" + SUM.hex(): DoneAck(ID, 1, SUM),
    "01010000 0102030405060708 0800 0000": Read(ID),
    "01010000 0102030405060708 2000 0000": Aborted(ID),
}


@pytest.mark.parametrize("text", VECTORS)
def test_the_reference_vectors_hold_both_ways(text: str) -> None:
    plaintext = bytes.fromhex(text)
    assert InnerHeader(MESSAGE).encode() + encode_message(VECTORS[text]) == plaintext
    assert decode_message(plaintext[4:]) == VECTORS[text]


def test_the_checksum_of_the_vectors_is_plain_blake3() -> None:
    assert blake3(TEXT).digest() == SUM


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        (Init(ID, 14, b"greet"), InitAck(ID, 14, 5)),
        (Chunk(ID, 0, 0, TEXT), ChunkAck(ID, 0, 0, 14)),
        (Done(ID, 1, SUM), DoneAck(ID, 1, SUM)),
    ],
)
def test_an_acknowledgement_is_the_packet_cut_short(packet: MessagePacket, answer: MessagePacket) -> None:
    assert acknowledge(encode_message(packet)) == encode_message(answer)


def test_an_acknowledgement_echoes_what_nobody_knows() -> None:
    body = ID.raw + bytes.fromhex("82ff beef 000000000000000e 05 6772656574 7472")
    assert acknowledge(body) == ID.raw + bytes.fromhex("83ff beef 000000000000000e 05")


def test_bytes_behind_a_body_are_ignored() -> None:
    for text, packet in VECTORS.items():
        assert decode_message(bytes.fromhex(text)[4:] + b"more") == packet


def test_the_first_kind_in_mycelium_s_order_counts() -> None:
    assert isinstance(decode_message(ID.raw + bytes.fromhex("f800 0000") + bytes(40)), Init)
    assert isinstance(decode_message(ID.raw + bytes.fromhex("7800 0000") + bytes(40)), Chunk)
    assert isinstance(decode_message(ID.raw + bytes.fromhex("6800 0000") + bytes(40)), Done)
    assert isinstance(decode_message(ID.raw + bytes.fromhex("2800 0000")), Read)


@pytest.mark.parametrize("flags", ["0000", "0400", "00ff", "0100", "0900", "2100"])
def test_no_kind_or_an_acknowledgement_nobody_sends_is_ignored(flags: str) -> None:
    assert decode_message(ID.raw + bytes.fromhex(flags) + bytes(42)) is None


@pytest.mark.parametrize("text", VECTORS)
def test_a_body_shorter_than_its_kind_needs_is_malformed(text: str) -> None:
    """Each of these stops the message task of a stock node for good (reference, section 7.4)."""
    body = bytes.fromhex(text)[4:]
    for length in range(len(body)):
        with pytest.raises(PeerError):
            decode_message(body[:length])


ids = st.binary(min_size=8, max_size=8).map(MessageId)
u64 = st.integers(0, 2**64 - 1)
sums = st.binary(min_size=32, max_size=32)


@given(
    st.one_of(
        st.builds(Init, ids, u64, st.binary(max_size=255), st.booleans()),
        st.builds(InitAck, ids, u64, st.integers(0, 255)),
        st.builds(Chunk, ids, u64, u64, st.binary(max_size=1400)),
        st.builds(ChunkAck, ids, u64, u64, u64),
        st.builds(Done, ids, u64, sums),
        st.builds(DoneAck, ids, u64, sums),
        st.builds(Read, ids),
        st.builds(Aborted, ids),
    )
)
def test_every_packet_survives_the_wire(packet: MessagePacket) -> None:
    assert decode_message(encode_message(packet)) == packet


@given(st.binary(max_size=90), st.integers(0, 0xFFFF))
def test_no_bytes_raise_anything_but_peer_error(body: bytes, flags: int) -> None:
    for data in (body, ID.raw + flags.to_bytes(2, "big") + body):
        try:
            decode_message(data)
        except PeerError:
            pass
