"""What a courier says and remembers: replies, reading, topics, deadlines, and what it refuses to send."""

import random
from ipaddress import IPv6Address

import pytest
from tests.message.world import KEY_OF, KEYS, OPEN, A, B, C, Network, World, dialogue, payload_of, state_of

from zosnet.message import Courier, Limits, State, TopicPolicy, TopicRule
from zosnet.model import MessageId, Prefix, UsageError
from zosnet.wire.message import Aborted, DoneAck, InitAck, Read, encode_message


def test_a_lost_done_acknowledgement_is_made_good() -> None:
    """A stock receiver stays silent here, and its sender reports the message as aborted."""
    world = World()
    b = world.courier(B)
    for _ in range(2):
        for packet in dialogue(MessageId(b"12345678"), b"hello"):
            b.receive(A, KEYS[0], B, encode_message(packet), world.now)
    world.settle()
    assert [type(packet) for packet in world.sent].count(DoneAck) == 2
    assert len(world.arrived[B]) == 1


def test_done_is_answered_again_after_reading_and_says_read() -> None:
    world = World()
    b = world.courier(B)
    packets = dialogue(MessageId(b"12345678"), b"hello")
    for packet in packets:
        b.receive(A, KEYS[0], B, encode_message(packet), world.now)
    assert b.pop(world.now) is not None
    world.settle()
    world.sent.clear()
    b.receive(A, KEYS[0], B, encode_message(packets[-1]), world.now)
    world.settle()
    assert [type(packet) for packet in world.sent] == [DoneAck, Read]


def test_read_is_said_three_times_and_peeking_counts() -> None:
    world = World()
    b = world.courier(B)
    for packet in dialogue(MessageId(b"12345678"), b"hello"):
        b.receive(A, KEYS[0], B, encode_message(packet), world.now)
    assert b.pop(world.now, peek=True) == b.pop(world.now, peek=True)
    world.run(10)
    assert sum(isinstance(packet, Read) for packet in world.sent) == 3
    assert len(b.inbox) == 1


def test_a_lost_done_ack_is_replaced_by_read() -> None:
    world = World()
    a = world.courier(A)
    id = a.send(B, b"", b"", world.now)
    a.receive(B, KEYS[1], A, encode_message(Read(id)), world.now)
    assert state_of(a, id) is State.PENDING, "nothing that wasn't announced can have been read"
    a.receive(B, KEYS[1], A, encode_message(InitAck(id, 0, 0)), world.now)
    a.receive(B, KEYS[1], A, encode_message(Read(id)), world.now)
    assert state_of(a, id) is State.READ


def test_a_reply_answers_and_bypasses_the_topics_only_then() -> None:
    world = World()
    a = world.courier(A, topics=TopicPolicy(default_accept=False))
    b = world.courier(B)
    id = a.send(B, b"question", b"", world.now)
    world.run(1)
    assert b.pop(world.now) is not None
    assert b.send(A, b"answer", b"ignored", world.now, reply_to=id) == id
    world.run(1)
    reply = a.pop(world.now, reply_to=id)
    assert reply is not None and reply.is_reply
    assert (reply.payload, reply.topic) == (b"answer", b"")


@pytest.mark.parametrize("source", [A, C])
def test_a_reply_to_nothing_of_ours_is_an_ordinary_message(source: IPv6Address) -> None:
    """From another node, or to a message never sent: stock receivers let both past their whitelist."""
    world = World()
    b = world.courier(B, topics=TopicPolicy(default_accept=False))
    id = b.send(A, b"question", b"", world.now)
    asked = id if source == C else MessageId(b"unasked.")
    for packet in dialogue(asked, b"answer", is_reply=True):
        b.receive(source, KEY_OF[source], B, encode_message(packet), world.now)
    assert len(b.inbox) == 0
    b.topics = OPEN
    for packet in dialogue(asked, b"answer", is_reply=True):
        b.receive(source, KEY_OF[source], B, encode_message(packet), world.now)
    message = b.pop(world.now)
    assert message is not None and not message.is_reply
    assert b.pop(world.now, reply_to=asked) is None


def test_a_second_reply_of_the_same_length_is_a_message_of_its_own() -> None:
    world = World()
    b = world.courier(B)
    id = b.send(A, b"question", b"", world.now)
    for answer in (b"answer 1", b"answer 2"):
        for packet in dialogue(id, answer, is_reply=True):
            b.receive(A, KEYS[0], B, encode_message(packet), world.now)
        message = b.pop(world.now)
        assert message is not None and message.payload == answer


def test_an_unread_message_is_not_replaced_by_one_with_its_id() -> None:
    world = World()
    b = world.courier(B)
    id = MessageId(b"12345678")
    for text in (b"first", b"second"):
        for packet in dialogue(id, text):
            b.receive(A, KEYS[0], B, encode_message(packet), world.now)
    assert [message.payload for message in iter(lambda: b.pop(world.now), None)] == [b"first"]
    b.receive(A, KEYS[0], B, encode_message(dialogue(id, b"second")[-1]), world.now)
    assert [message.payload for message in iter(lambda: b.pop(world.now), None)] == [b"second"]


def test_topics_decide_who_may_send() -> None:
    world = World()
    rules = {b"closed": TopicRule(), b"open to a": TopicRule((Prefix.of(A, 64),), "/run/program.sock")}
    policy = TopicPolicy(default_accept=False, rules=rules)
    b = world.courier(B, topics=policy)
    for number, (source, topic) in enumerate(
        [(A, b"closed"), (C, b"open to a"), (A, b"unlisted"), (A, b"open to a")]
    ):
        for packet in dialogue(MessageId(number.to_bytes(8, "big")), b"hello", topic):
            b.receive(source, KEY_OF[source], B, encode_message(packet), world.now)
    assert [message.topic for message in iter(lambda: b.pop(world.now), None)] == [b"open to a"]
    assert policy.forward_socket(b"open to a") == "/run/program.sock"
    assert policy.forward_socket(b"closed") is policy.forward_socket(b"unlisted") is None


def test_the_deadline_is_obeyed_and_said_once() -> None:
    world = World(Network(loss=1.0))
    a = world.courier(A)
    id = a.send(B, b"hello", b"", world.now, deadline=world.now + 10)
    world.run(9.9)
    assert state_of(a, id) is State.PENDING
    inits = len(world.sent)
    assert 8 <= inits <= 20, "at first every 100 ms, then ever more patiently"
    world.run(20)
    assert world.states == [State.ABORTED]
    assert world.sent[inits:] == [Aborted(id)]


def test_records_are_forgotten_five_minutes_after_the_end() -> None:
    world = World()
    a, _ = world.courier(A), world.courier(B)
    id = a.send(B, b"hello", b"", world.now)
    world.run(290)
    assert a.status(id) is not None
    world.run(20)
    assert a.status(id) is None
    assert a.deadline() is None


def test_cancelling_stops_a_message_under_way() -> None:
    world = World()
    a, b = world.courier(A), world.courier(B)
    id = a.send(B, payload_of(500_000), b"", world.now)
    world.run(0.1)
    assert b.assembling_bytes > 0
    assert a.cancel(id, world.now)
    assert not a.cancel(id, world.now)
    assert not a.cancel(MessageId(bytes(8)), world.now)
    world.run(1)
    assert world.states == [State.SENDING, State.ABORTED]
    assert b.assembling_bytes == 0, "the receiver was told"


@pytest.mark.parametrize(
    ("payload", "topic"),
    [(bytes(101), b""), (b"", bytes(256)), (bytes(60), b"")],
    ids=["long", "topic", "much"],
)
def test_what_cannot_be_sent_is_refused_at_once(payload: bytes, topic: bytes) -> None:
    a = World().courier(A, limits=Limits(message_bytes=100, outbound_bytes=100))
    a.send(B, bytes(50), b"", 0.0)
    with pytest.raises(UsageError):
        a.send(B, payload, topic, 0.0)


def test_too_many_messages_under_way_are_refused() -> None:
    a = World().courier(A, limits=Limits(outbound_messages=1))
    id = a.send(B, b"", b"", 0.0)
    with pytest.raises(UsageError, match="under way"):
        a.send(B, b"", b"", 0.0)
    a.cancel(id, 0.0)
    other = a.send(B, b"", b"", 0.0)
    a.cancel(other, 0.0)
    assert a.status(id) is None and a.status(other) is not None, "finished ones are bounded too"


def test_one_id_is_under_way_once() -> None:
    a = World().courier(A)
    id = a.send(B, b"hello", b"", 0.0)
    with pytest.raises(UsageError, match="still on its way"):
        a.send(B, b"hello", b"", 0.0, reply_to=id)
    a.cancel(id, 0.0)
    assert a.send(B, b"hello", b"", 0.0, reply_to=id) == id


def test_an_id_that_is_taken_is_not_drawn_again() -> None:
    class Unlucky(random.Random):
        def randbytes(self, n: int) -> bytes:
            return b"same" * 2 if self.random() < 0.9 else super().randbytes(n)

    a = Courier(rng=Unlucky(1), topics=OPEN)
    assert len({a.send(B, b"", b"", 0.0) for _ in range(5)}) == 5


def test_a_read_that_nobody_waits_for_is_not_repeated() -> None:
    world = World()
    b = world.courier(B, limits=Limits(delivered_remembered=1))
    for number in (1, 2):
        for packet in dialogue(MessageId(bytes([number]) * 8), b"hello"):
            b.receive(A, KEYS[0], B, encode_message(packet), world.now)
    world.settle()
    world.sent.clear()
    assert b.pop(world.now) is not None, "forgotten among the delivered, but still in the inbox"
    world.settle()
    assert world.sent == []
