"""Messages of any size arrive once and whole, over bad networks and at stock receivers, in virtual time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.message.stock import StockReceiver
from tests.message.world import KEYS, SIZES, A, B, Network, World, payload_of, state_of

from zosnet.message import Limits, State
from zosnet.wire.message import Chunk, Init, encode_message


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
