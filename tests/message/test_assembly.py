"""What a receiver takes of a message in pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.message.assembly import CHUNK_OVERHEAD, Assemblies, is_acceptable
from zosnet.message.limits import Limits
from zosnet.message.outbound import edges_of
from zosnet.model import MessageId
from zosnet.wire.message import Chunk, Init

ID = MessageId(b"12345678")
KEY = (bytes(32), ID.raw)
OTHER = (bytes(32), b"87654321")


def opened(length: int, limits: Limits | None = None) -> Assemblies:
    assemblies = Assemblies(limits or Limits())
    assert assemblies.begin(KEY, Init(ID, length, b""), False, 0.0)
    return assemblies


@given(st.integers(0, 1 << 22))
def test_chunks_cover_the_message_evenly_and_are_acceptable(length: int) -> None:
    edges = edges_of(length)
    sizes = [end - start for start, end in pairwise(edges)]
    assert sum(sizes) == length and len(sizes) == -(-length // 1300)
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert max(sizes, default=0) <= 1300
    for position, size in list(enumerate(sizes))[:3] + list(enumerate(sizes))[-3:]:
        assert is_acceptable(length, position, edges[position], size)


@pytest.mark.parametrize(
    ("length", "position", "offset", "size", "taken"),
    [
        (1400, 0, 0, 1300, True),
        (1400, 1, 1300, 100, False),  # the undeliverable last chunk of a stock sender
        (1400, 5, 1300, 100, True),  # small, but at the highest index
        (1400, 6, 1300, 100, False),
        (1400, 0, 101, 1300, False),  # beyond the end
        (1400, 0, 2**64 - 1, 1300, False),
        (14, 0, 0, 14, True),
        (0, 0, 0, 0, False),
    ],
)
def test_chunks_are_taken_by_mycelium_s_rules(
    length: int, position: int, offset: int, size: int, taken: bool
) -> None:
    assert is_acceptable(length, position, offset, size) is taken
    assert opened(length).add(KEY, Chunk(ID, position, offset, bytes(size)), 0.0) is taken


def test_the_same_chunk_twice_is_taken_and_kept_once() -> None:
    assemblies = opened(1000)
    chunk = Chunk(ID, 0, 0, bytes(500))
    assert assemblies.add(KEY, chunk, 0.0) and assemblies.add(KEY, chunk, 0.0)
    assert assemblies.bytes_held == 500 + CHUNK_OVERHEAD
    assert not assemblies.add(KEY, Chunk(ID, 0, 0, bytes(400)), 0.0)


def test_no_more_is_kept_than_the_message_has() -> None:
    assemblies = opened(1000)
    assert assemblies.add(KEY, Chunk(ID, 0, 0, bytes(1000)), 0.0)
    assert not assemblies.add(KEY, Chunk(ID, 1, 0, bytes(250)), 0.0)


def test_announcing_again_keeps_what_came_and_announcing_otherwise_drops_it() -> None:
    assemblies = opened(1000)
    assemblies.add(KEY, Chunk(ID, 0, 0, bytes(500)), 0.0)
    assert assemblies.begin(KEY, Init(ID, 1000, b""), False, 0.0)
    assert assemblies.bytes_held > 0
    assert assemblies.begin(KEY, Init(ID, 1001, b""), False, 0.0)
    assert assemblies.bytes_held == 0 and len(assemblies) == 1


def test_what_makes_no_progress_is_dropped_the_longest_idle_first() -> None:
    assemblies = opened(1000, Limits(assembling_idle=60))
    assemblies.begin(OTHER, Init(ID, 1000, b""), False, 10.0)
    assert assemblies.deadline() == 60.0
    assemblies.add(KEY, Chunk(ID, 0, 0, bytes(500)), 30.0)
    assert assemblies.deadline() == 70.0
    assemblies.wake(70.0)
    assert assemblies.get(OTHER) is None and assemblies.get(KEY) is not None
    assemblies.wake(90.0)
    assert assemblies.deadline() is None and assemblies.bytes_held == 0


@pytest.mark.parametrize(
    "limits",
    [
        Limits(message_bytes=999),
        Limits(assembling_messages=1),
        Limits(assembling_source_messages=1),
    ],
)
def test_announcements_beyond_a_limit_are_not_taken(limits: Limits) -> None:
    assert not opened(10, limits).begin(OTHER, Init(ID, 1000, b""), False, 0.0)


@pytest.mark.parametrize("limits", [Limits(assembling_bytes=600), Limits(assembling_source_bytes=600)])
def test_chunks_beyond_a_limit_are_not_taken(limits: Limits) -> None:
    assemblies = opened(1000, limits)
    assert not assemblies.add(KEY, Chunk(ID, 0, 0, bytes(500)), 0.0)
    assert assemblies.add(KEY, Chunk(ID, 0, 0, bytes(400)), 0.0)
    assert not assemblies.add(OTHER, Chunk(ID, 0, 0, bytes(400)), 0.0), "never announced"
