"""Two couriers over a bad network, and one against a model of Mycelium's receiver. The clock is virtual."""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from itertools import count

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from zosnet.message import (
    Courier,
    Delivered,
    Limits,
    Message,
    SendBody,
    State,
    StateChanged,
    TopicPolicy,
    TopicRule,
)
from zosnet.model import MessageId, PeerError, Prefix, SecretKey, UsageError
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

KEYS = [SecretKey(bytes(range(first, first + 32))).public() for first in (0x01, 0x21, 0x41)]
A, B, C = (key.address() for key in KEYS)
KEY_OF = dict(zip((A, B, C), KEYS, strict=True))
OPEN = TopicPolicy()
SIZES = [0, 1, 249, 250, 1299, 1300, 1301, 1400, 1549, 1550, 2600, 2601, 4000]
"""1301, 1400, 2601 and 4000 never arrive between two stock nodes (reference, section 7.4)."""


@dataclass
class Network:
    """Loses, doubles and reorders what it carries."""

    loss: float = 0.0
    doubled: float = 0.0
    delay: float = 0.01
    jitter: float = 0.0


class StockReceiver:
    """Mycelium's receiver, rule by rule as the reference's section 7.4 has them; its memory is as naive."""

    def __init__(self) -> None:
        self.pending: dict[MessageId, tuple[int, dict[int, bytes], int]] = {}
        self.delivered: list[bytes] = []
        self.queued: set[MessageId] = set()

    def receive(self, body: bytes) -> bytes | None:
        """The acknowledgement, or silence."""
        match decode_message(body):
            case Init(id, length):
                if id in self.queued:
                    return None
                self.pending[id] = (length, {}, math.ceil(length / 1300))
                return acknowledge(body)
            case Chunk(id, position, offset, data):
                if id not in self.pending:
                    return None
                length, chunks, slots = self.pending[id]
                highest = math.ceil(length / 250) - 1
                if (
                    offset + len(data) > length
                    or position > highest
                    or (len(data) < 250 and position != highest)
                ):
                    return None
                chunks[position] = data
                self.pending[id] = (length, chunks, max(slots, position + 1))
                return acknowledge(body)
            case Done(id, chunk_count, checksum):
                if id not in self.pending:
                    return None
                length, chunks, slots = self.pending[id]
                payload = b"".join(chunks[position] for position in sorted(chunks))
                if (chunk_count, len(chunks), len(payload)) != (slots, slots, length):
                    return None
                if blake3(payload).digest() != checksum:
                    return None
                del self.pending[id]
                self.queued.add(id)
                self.delivered.append(payload)
                return acknowledge(body)
            case Aborted(id):
                self.pending.pop(id, None)
        return None


@dataclass
class World:
    """Nodes, the network between them, and the only clock there is."""

    network: Network = field(default_factory=Network)
    seed: int = 0
    now: float = 1000.0
    sent: list[MessagePacket | None] = field(default_factory=list)
    arrived: dict[IPv6Address, list[Message]] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.couriers: dict[IPv6Address, Courier] = {}
        self.stock: dict[IPv6Address, StockReceiver] = {}
        self._wire: list[tuple[float, int, IPv6Address, IPv6Address, bytes]] = []
        self._serial = count()

    def courier(
        self, at: IPv6Address, *, topics: TopicPolicy = OPEN, limits: Limits | None = None
    ) -> Courier:
        self.couriers[at] = Courier(limits=limits, rng=random.Random(self.seed), topics=topics)
        self.arrived[at] = []
        return self.couriers[at]

    def carry(self, source: IPv6Address, destination: IPv6Address, body: bytes) -> None:
        self.sent.append(decode_message(body))
        for _ in range(1 + (self.rng.random() < self.network.doubled)):
            if self.rng.random() >= self.network.loss:
                at = self.now + self.network.delay + self.rng.random() * self.network.jitter
                heapq.heappush(self._wire, (at, next(self._serial), source, destination, body))

    def settle(self) -> None:
        for address, courier in self.couriers.items():
            for action in courier.poll():
                match action:
                    case SendBody(destination, body):
                        self.carry(address, destination, body)
                    case Delivered(message):
                        self.arrived[address].append(message)
                    case StateChanged(_, state):
                        self.states.append(state)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = self.now + seconds
        self.settle()
        while not until():
            deadlines = [at for courier in self.couriers.values() if (at := courier.deadline()) is not None]
            moments = deadlines + [entry[0] for entry in self._wire[:1]]
            if not moments or min(moments) > end:
                self.now = end
                return
            self.now = max(self.now, min(moments))
            while self._wire and self._wire[0][0] <= self.now:
                _, _, source, destination, body = heapq.heappop(self._wire)
                self.arrive(source, destination, body)
            for courier in self.couriers.values():
                if (at := courier.deadline()) is not None and at <= self.now:
                    courier.wake(self.now)
                    assert (later := courier.deadline()) is None or later > self.now, (
                        "a deadline that never passes"
                    )
            self.settle()

    def arrive(self, source: IPv6Address, destination: IPv6Address, body: bytes) -> None:
        if destination in self.couriers:
            self.couriers[destination].receive(source, KEY_OF[source], destination, body, self.now)
        elif destination in self.stock and (answer := self.stock[destination].receive(body)):
            self.carry(destination, source, answer)


def payload_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def state_of(courier: Courier, id: MessageId) -> State:
    status = courier.status(id)
    assert status is not None
    return status.state


@pytest.mark.parametrize("size", [*SIZES, 1 << 20])
def test_a_message_of_any_size_arrives_and_is_read(size: int) -> None:
    world = World()
    a, b = world.courier(A), world.courier(B)
    id = a.send(B, payload_of(size), b"greet", world.now)
    world.run(30, until=lambda: state_of(a, id) is State.RECEIVED)
    message = b.pop(world.now)
    assert message is not None
    assert (message.payload, message.topic, message.id) == (payload_of(size), b"greet", id)
    assert (message.source, message.source_key, message.destination) == (A, KEYS[0], B)
    world.run(5)
    assert world.states == [State.SENDING, State.RECEIVED, State.READ]
    assert b.pop(world.now) is None


@pytest.mark.parametrize("size", [*SIZES, 100_000])
def test_what_we_send_is_acceptable_to_a_stock_receiver(size: int) -> None:
    world = World()
    a, stock = world.courier(A), StockReceiver()
    world.stock[B] = stock
    id = a.send(B, payload_of(size), b"", world.now)
    world.run(10, until=lambda: state_of(a, id) is State.RECEIVED)
    assert stock.delivered == [payload_of(size)]
    assert state_of(a, id) is State.RECEIVED


@given(st.integers(0, 30_000))
@settings(max_examples=40)
def test_every_size_is_acceptable_to_a_stock_receiver(size: int) -> None:
    test_what_we_send_is_acceptable_to_a_stock_receiver(size)


BAD = st.builds(
    Network,
    loss=st.floats(0, 0.3),
    doubled=st.floats(0, 0.5),
    delay=st.floats(0, 0.3),
    jitter=st.floats(0, 0.3),
)


@given(
    BAD, st.integers(0, 2**32), st.lists(st.sampled_from([*SIZES, 20_000, 60_000]), min_size=1, max_size=4)
)
@settings(max_examples=60)
def test_messages_arrive_once_and_whole_over_a_bad_network(
    network: Network, seed: int, sizes: list[int]
) -> None:
    world = World(network, seed)
    a, b = world.courier(A), world.courier(B)
    ids = {a.send(B, payload_of(size), b"", world.now): size for size in sizes}
    world.run(299, until=lambda: all(state_of(a, id) is State.RECEIVED for id in ids))
    assert all(state_of(a, id) is State.RECEIVED for id in ids)
    world.run(3)
    assert sorted(message.id for message in world.arrived[B]) == sorted(ids)
    assert all(message.payload == payload_of(ids[message.id]) for message in world.arrived[B])
    assert b.assembling_bytes == 0 or all(b.status(id) is None for id in ids)


@given(BAD, st.integers(0, 2**32), st.sampled_from([*SIZES, 20_000]))
@settings(max_examples=60)
def test_a_stock_receiver_gets_it_over_a_bad_network(network: Network, seed: int, size: int) -> None:
    """Its answer may be lost for good, which is its own fault, but it gets the message, once."""
    world = World(network, seed)
    a, stock = world.courier(A), StockReceiver()
    world.stock[B] = stock
    a.send(B, payload_of(size), b"", world.now)
    world.run(250, until=lambda: bool(stock.delivered))
    assert stock.delivered == [payload_of(size)]


def test_a_megabyte_gets_through_a_lossy_network() -> None:
    world = World(Network(loss=0.05, delay=0.02, jitter=0.01), seed=7)
    a, _ = world.courier(A), world.courier(B)
    id = a.send(B, payload_of(1 << 20), b"", world.now)
    world.run(60, until=lambda: state_of(a, id) is State.RECEIVED)
    assert state_of(a, id) is State.RECEIVED
    chunks = sum(isinstance(packet, Chunk) for packet in world.sent)
    assert chunks < 1.15 * 807, "what is lost is sent again, and little else"


def test_never_more_chunks_are_under_way_than_the_window() -> None:
    world = World(Network(delay=0.5))
    a = world.courier(A, limits=Limits(window=16))
    world.courier(B)
    id = a.send(B, payload_of(200_000), b"", world.now)
    most = 0

    def watched() -> bool:
        nonlocal most
        status = a.status(id)
        assert status is not None
        assert status.pending + status.sent + status.acked == 154
        most = max(most, status.sent)
        return status.state is State.RECEIVED

    world.run(60, until=watched)
    assert most == 16


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


def dialogue(
    id: MessageId, payload: bytes, topic: bytes = b"", is_reply: bool = False
) -> list[MessagePacket]:
    """All that a sender of one chunk says."""
    done = Done(id, 1, blake3(payload).digest())
    return [Init(id, len(payload), topic, is_reply), Chunk(id, 0, 0, payload), done]


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


def test_a_receiver_that_restarts_midway_gets_the_message() -> None:
    world = World()
    a = world.courier(A)
    world.courier(B)
    id = a.send(B, payload_of(500_000), b"", world.now)
    world.run(0.1)
    assert state_of(a, id) is State.SENDING
    world.courier(B)
    world.run(60)
    assert [message.payload for message in world.arrived[B]] == [payload_of(500_000)]
    assert state_of(a, id) is State.RECEIVED


def test_a_stock_receiver_that_is_told_twice_gets_everything_again() -> None:
    """It throws away what it has at a second announcement; the answer to that one shows that it did."""
    world = World()
    a, stock = world.courier(A), StockReceiver()
    world.stock[B] = stock
    payload = payload_of(5000)
    id = a.send(B, payload, b"", world.now)
    world.run(0.035)
    assert stock.pending[id][1], "some chunks are there"
    answer = stock.receive(encode_message(Init(id, 5000, b"")))
    assert answer is not None and not stock.pending[id][1]
    world.run(0.05)
    a.receive(B, KEYS[1], A, answer, world.now)
    world.run(5)
    assert stock.delivered == [payload]
    assert state_of(a, id) is State.RECEIVED


def test_a_full_inbox_makes_senders_wait_until_somebody_reads() -> None:
    world = World()
    a = world.courier(A)
    b = world.courier(B, limits=Limits(inbox_source_messages=2))
    for _ in range(3):
        a.send(B, b"hello", b"", world.now)
    world.run(20)
    assert world.states.count(State.RECEIVED) == 2
    assert b.pop(world.now) is not None
    world.run(20)
    assert world.states.count(State.RECEIVED) == 3


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


def test_a_packet_of_no_kind_is_ignored() -> None:
    b = World().courier(B)
    b.receive(A, KEYS[0], B, b"12345678" + bytes(4), 0.0)
    assert b.poll() == [] and b.deadline() is None


# Hostile input


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
