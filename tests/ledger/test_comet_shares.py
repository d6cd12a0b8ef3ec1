"""Places that sources share: a flood from one never costs another what is its share."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as some

from zosnet.ledger.engine.cometbft.shares import Shares

MOST = 12
SOURCES = [bytes([number]) for number in range(1, 6)]


def give(shares: Shares, source: bytes, number: int) -> tuple[bool, bytes | None]:
    """Whether there was a place, and who made room."""
    if not shares.has_room(source):
        return False, None
    return True, shares.take(source, source + number.to_bytes(4))


def test_one_alone_has_all_places_and_no_more() -> None:
    shares = Shares(MOST)
    assert [give(shares, b"a", number)[0] for number in range(MOST + 3)] == [True] * MOST + [False] * 3
    assert len(shares) == MOST


def test_whoever_has_most_makes_room_with_what_came_last() -> None:
    shares = Shares(4)
    for number in range(4):
        give(shares, b"a", number)
    assert give(shares, b"b", 0) == (True, b"a" + (3).to_bytes(4))
    assert give(shares, b"b", 1) == (True, b"a" + (2).to_bytes(4))
    assert give(shares, b"b", 2) == give(shares, b"a", 9) == (False, None)


def test_a_place_that_is_given_back_is_free() -> None:
    shares = Shares(1)
    give(shares, b"a", 0)
    assert not shares.has_room(b"b")
    shares.drop(b"a" + bytes(4))
    shares.drop(b"never there")
    assert len(shares) == 0 and give(shares, b"b", 0) == (True, None) and b"b" + bytes(4) in shares


@given(
    some.lists(some.tuples(some.sampled_from(SOURCES), some.booleans(), some.integers(0, 99)), max_size=150)
)
def test_nobody_within_his_share_is_refused_or_makes_room(steps: list[tuple[bytes, bool, int]]) -> None:
    shares, kept = Shares(MOST), list[bytes]()
    share = MOST // len(SOURCES)
    for number, (source, is_arrival, which) in enumerate(steps):
        used = Counter(each[:1] for each in kept)
        if not is_arrival:
            if kept:
                shares.drop(kept.pop(which % len(kept)))
            continue
        is_taken, evicted = give(shares, source, number)
        assert is_taken or used[source] >= share
        if evicted is not None:
            assert used[evicted[:1]] == max(used.values()) > share
            assert evicted == [each for each in kept if each[:1] == evicted[:1]][-1]
            kept.remove(evicted)
        if is_taken:
            kept.append(source + number.to_bytes(4))
        assert len(shares) == len(kept) <= MOST and all(each in shares for each in kept)
