"""What others say, true or not, breaks no courier and none of its bounds."""

import random
from ipaddress import IPv6Address

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.message.world import KEY_OF, KEYS, OPEN, A, B, C, World, dialogue, state_of

from zosnet.message import Courier, Limits, SendBody, State
from zosnet.model import MessageId, PeerError
from zosnet.wire.message import (
    Aborted,
    Chunk,
    ChunkAck,
    Done,
    DoneAck,
    Init,
    InitAck,
    Read,
    decode_message,
    encode_message,
)


def test_an_acknowledgement_from_elsewhere_changes_nothing() -> None:
    world = World()
    a = world.courier(A)
    id = a.send(B, b"hello", b"", world.now)
    a.receive(C, KEYS[2], A, encode_message(InitAck(id, 5, 0)), world.now)
    for wrong in (InitAck(id, 6, 0), InitAck(id, 5, 1), InitAck(MessageId(bytes(8)), 5, 0)):
        a.receive(B, KEYS[1], A, encode_message(wrong), world.now)
    assert state_of(a, id) is State.PENDING
    other_host = IPv6Address(int(B) ^ 1)
    a.receive(other_host, KEYS[1], A, encode_message(InitAck(id, 5, 0)), world.now)
    assert state_of(a, id) is State.SENDING, "a /64 is one node"


def test_ids_are_told_apart_by_their_source() -> None:
    """To a stock receiver an id is an id, whoever sends it."""
    world = World()
    b = world.courier(B)
    id = MessageId(b"12345678")
    one, other = dialogue(id, b"from a"), dialogue(id, b"from c, longer")
    for first, second in zip(one, other, strict=True):
        b.receive(A, KEYS[0], B, encode_message(first), world.now)
        b.receive(C, KEYS[2], B, encode_message(second), world.now)
        b.receive(C, KEYS[2], B, encode_message(Aborted(MessageId(b"another."))), world.now)
    assert [message.payload for message in iter(lambda: b.pop(world.now), None)] == [
        b"from a",
        b"from c, longer",
    ]


def test_late_answers_to_a_finished_message_change_nothing() -> None:
    a = World().courier(A)
    id = a.send(B, b"hello", b"", 0.0)
    a.cancel(id, 0.0)
    a.poll()
    for packet in (InitAck(id, 5, 0), ChunkAck(id, 0, 0, 5), DoneAck(id, 1, bytes(32)), Read(id)):
        a.receive(B, KEYS[1], A, encode_message(packet), 0.0)
    assert state_of(a, id) is State.ABORTED and a.poll() == []


def test_a_chunk_ack_of_another_shape_is_no_ack() -> None:
    a = World().courier(A)
    id = a.send(B, b"hello", b"", 0.0)
    a.receive(B, KEYS[1], A, encode_message(InitAck(id, 5, 0)), 0.0)
    for wrong in (ChunkAck(id, 0, 0, 4), ChunkAck(id, 0, 1, 5), ChunkAck(id, 1, 0, 5)):
        a.receive(B, KEYS[1], A, encode_message(wrong), 0.0)
    status = a.status(id)
    assert status is not None and (status.pending, status.sent, status.acked) == (0, 1, 0)


def test_a_packet_of_no_kind_is_ignored() -> None:
    b = World().courier(B)
    b.receive(A, KEYS[0], B, b"12345678" + bytes(4), 0.0)
    assert b.poll() == [] and b.deadline() is None


def test_a_told_length_costs_nothing() -> None:
    """A stock node allocates it, and dies (reference, section 7.4)."""
    b = World().courier(B)
    id = MessageId(b"12345678")
    b.receive(A, KEYS[0], B, encode_message(Init(id, 2**64 - 1, b"")), 0.0)
    assert b.poll() == [], "beyond our limit, so not taken"
    b.receive(A, KEYS[0], B, encode_message(Init(id, 16 << 20, b"")), 0.0)
    assert len(b.poll()) == 1 and b.assembling_bytes == 0


def test_a_wrong_checksum_is_hashed_once() -> None:
    b = World().courier(B)
    id = MessageId(b"12345678")
    init, chunk, _ = dialogue(id, b"hello")
    wrong = Done(id, 1, bytes(32))
    for packet in (init, chunk, wrong, wrong):
        b.receive(A, KEYS[0], B, encode_message(packet), 0.0)
    assert len(b.poll()) == 2 and len(b.inbox) == 0
    assert b.assembling_bytes == 0


TINY = Limits(
    message_bytes=3000,
    assembling_messages=6,
    assembling_bytes=5000,
    assembling_source_messages=3,
    assembling_source_bytes=3500,
    inbox_messages=4,
    inbox_bytes=4000,
    inbox_source_messages=3,
    inbox_source_bytes=3000,
    delivered_remembered=5,
)
small_ids = st.integers(0, 7).map(lambda number: MessageId(number.to_bytes(8, "big")))
sizes = st.sampled_from([0, 1, 249, 250, 251, 1000, 2999, 3000, 3001, 2**64 - 1])
hostile = st.one_of(
    st.builds(Init, small_ids, sizes, st.sampled_from([b"", b"t"]), st.booleans()),
    st.builds(
        Chunk,
        small_ids,
        sizes | st.integers(0, 12),
        sizes,
        st.sampled_from([0, 1, 249, 250, 1300]).map(bytes),
    ),
    st.builds(
        Done,
        small_ids,
        sizes | st.integers(0, 12),
        st.sampled_from([0, 250, 1000, 3000]).map(lambda n: blake3(bytes(n)).digest()),
    ),
    st.builds(Aborted, small_ids),
    st.builds(Read, small_ids),
    st.builds(InitAck, small_ids, sizes, st.integers(0, 255)),
).map(encode_message) | st.binary(max_size=60)


@given(st.lists(st.tuples(st.sampled_from([A, C]), hostile, st.floats(0, 40)), max_size=60))
@settings(max_examples=150)
def test_no_input_breaks_the_courier_or_its_bounds(inputs: list[tuple[IPv6Address, bytes, float]]) -> None:
    b = Courier(limits=TINY, rng=random.Random(1), topics=OPEN)
    b.send(A, bytes(2000), b"", 0.0)
    now = 0.0
    for source, body, later in inputs:
        now += later
        b.wake(now)
        try:
            b.receive(source, KEY_OF[source], B, body, now)
        except PeerError:
            continue
        assert b.assembling_bytes <= TINY.assembling_bytes
        assert len(b.inbox) <= TINY.inbox_messages and b.inbox.bytes_held <= TINY.inbox_bytes
        for action in b.poll():
            if isinstance(action, SendBody):
                assert decode_message(action.body) is not None
    b.wake(now + 1000)
    assert b.assembling_bytes == 0
