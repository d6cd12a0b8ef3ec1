"""Whose turn it is, and who makes room: no flood keeps a newcomer waiting, and nobody waits for ever."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from zosnet.ledger.engine.turns import Envelope, Turns, Waiting


def put(turns: Turns, *raws: bytes) -> Envelope:
    envelope = Envelope(len(raws))
    turns.add(envelope, list(raws))
    return envelope


def taken(turns: Turns, number: int) -> list[Waiting]:
    return [one for _ in range(number) if (one := turns.take())]


def test_a_newcomer_is_soon_looked_at_whatever_waits() -> None:
    turns = Turns()
    put(turns, *[b"large"] * 5000)
    for _ in range(5000):
        put(turns, b"small")
    taken(turns, 1000)
    newcomer = put(turns, b"mine")
    assert newcomer in [one.envelope for one in taken(turns, 3)]


def test_the_oldest_moves_on_beside_newer_ones() -> None:
    turns = Turns()
    oldest = [put(turns, b"old") for _ in range(10)]
    large = put(turns, *[b"large"] * 40)
    order: list[Envelope] = []
    for _ in range(90):
        put(turns, b"new")
        order += [one.envelope for one in taken(turns, 1)]
    assert all(each in order for each in oldest) and order.count(large) >= 15


def test_where_others_are_to_wait_only_small_ones_come_and_whole() -> None:
    turns = Turns()
    large = put(turns, *[b"large"] * 20)
    assert not turns.has_small and turns.take_many(3, only_small=True) == []
    small = [put(turns, b"one", b"two") for _ in range(3)]
    come = [one.envelope for one in turns.take_many(9, only_small=True)]
    assert sorted(map(small.index, come)) == [0, 0, 1, 1, 2, 2] and not turns.has_small
    assert [one.envelope for one in turns.take_many(2)] == [large, large]


def test_an_envelope_may_come_in_portions() -> None:
    turns = Turns()
    envelope = Envelope(30)
    turns.add(envelope, [b"%d" % number for number in range(10)])
    assert [one.index for one in taken(turns, 12)] == [*range(10)]
    turns.add(envelope, [b"%d" % number for number in range(10, 30)], 10)
    assert [one.index for one in taken(turns, 30)] == [*range(10, 30)] and len(turns) == 0


@given(st.lists(st.integers(1, 30), max_size=30), st.integers(0, 2**32))
def test_each_comes_once_in_the_order_of_its_envelope(sizes: list[int], seed: int) -> None:
    turns, draw = Turns(most=200, draw=random.Random(seed).randrange), random.Random(seed)
    envelopes = [Envelope(size) for size in sizes]
    gone: list[Waiting] = []
    seen: list[Waiting] = []
    for envelope, size in zip(envelopes, sizes, strict=True):
        gone += turns.add(envelope, [b"%d" % number for number in range(size)])
        portion = taken(turns, draw.randrange(3))
        if draw.random() < 0.3:
            for one in reversed(portion):
                turns.put_back(one)
        else:
            for one in portion:
                turns.decided(one)
            seen += portion
        assert len(turns) <= 200
    seen += taken(turns, sum(sizes))
    assert len(seen) + len(gone) == sum(sizes) and len(turns) == 0
    assert len({(id(one.envelope), one.index) for one in (*seen, *gone)}) == sum(sizes)
    for envelope in envelopes:
        indexes = [one.index for one in seen if one.envelope is envelope]
        assert indexes == sorted(indexes)


def test_the_largest_make_room_and_a_flood_of_small_ones_hits_itself() -> None:
    turns = Turns(most=1000, draw=random.Random(1).randrange)
    small = [put(turns, b"small") for _ in range(20)]
    put(turns, *[b"large"] * 5000)
    assert len(turns) == 1000 and all(each.waiting for each in small)
    mine = put(turns, b"mine")
    for _ in range(100):  # as many as come before the next block, which looks at `mine`
        put(turns, b"flood")
    assert len(turns) == 1000 and mine.waiting


def test_bytes_are_capped_too() -> None:
    turns = Turns(most_bytes=10_000)
    put(turns, *[bytes(1000)] * 50)
    assert len(turns) == 10


def test_only_the_first_of_an_account_is_first() -> None:
    turns = Turns()
    raws = [bytes(35) + bytes([number % 2]) * 32 for number in range(4)]
    for raw in raws:
        put(turns, raw)
    ones = sorted(taken(turns, 4), key=lambda one: one.number)
    assert [turns.is_first(one) for one in ones] == [True, True, False, False]
    turns.decided(ones[0])
    assert turns.is_first(ones[2]) and not turns.is_first(ones[3])
    assert turns.clear() == []
