"""How many are judged for a block, and when the large envelopes rest, by a clock of the test's."""

from __future__ import annotations

from zosnet.ledger.engine.pace import LARGE_SHARE, LONG_BLOCK, OVERDUE_S, REST, SHORT_BLOCK, SHORT_FOR_S, Pace
from zosnet.ledger.engine.turns import PORTION, SMALL, Envelope, Turns, Waiting


class House:
    """What waits, and the clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.turns, self.pace = Turns(), Pace(lambda: self.now)

    def submit(self, size: int) -> None:
        self.turns.add(Envelope(size), [b"x"] * size)
        self.pace.arrived(size)

    def block(self, *, is_kept: bool = True) -> list[Waiting]:
        """Whoever is judged for the next one."""
        taken: list[Waiting] = []
        while found := self.pace.portion(self.turns, len(taken), is_kept=is_kept):
            assert len(found) <= PORTION
            taken += found
        return taken

    def sizes(self, *, is_kept: bool = True) -> tuple[int, int]:
        """Of the next block: how many of small envelopes, and of large ones."""
        taken = self.block(is_kept=is_kept)
        small = sum(one.envelope.size <= SMALL for one in taken)
        return small, len(taken) - small


def test_blocks_are_long_where_nobody_waits_for_a_few() -> None:
    house = House()
    house.submit(1000)
    assert house.sizes() == (0, LONG_BLOCK)


def test_blocks_are_short_after_a_small_envelope_and_for_a_while() -> None:
    house = House()
    house.submit(1000)
    for _ in range(SHORT_BLOCK + 1):
        house.submit(1)
    assert house.sizes(is_kept=False) == (SHORT_BLOCK, 0)
    assert house.sizes(is_kept=False) == (1, 0)
    assert not house.pace.has_work(house.turns, is_kept=False) and house.sizes(is_kept=False) == (0, 0)
    assert house.pace.has_work(house.turns, is_kept=True) and house.sizes() == (0, LARGE_SHARE)
    house.now += SHORT_FOR_S
    assert house.sizes() == (0, LONG_BLOCK)


def test_large_ones_rest_after_their_turn_but_not_for_ever() -> None:
    house = House()
    house.submit(1)
    house.pace.worked(house.block(), house.now - 1)  # a small one: nobody rests
    assert house.pace.rests_until < house.now
    house.submit(1000)
    house.pace.worked(house.block(), house.now - 0.01)
    assert house.pace.rests_until == house.now + REST * 0.01
    assert not house.pace.has_work(house.turns, is_kept=True)
    house.now = house.pace.rests_until
    assert house.pace.has_work(house.turns, is_kept=True)
    for _ in range(3):
        house.submit(1)
    assert house.sizes() == (3, 0)
    house.submit(1)
    house.now += 2 * OVERDUE_S
    assert house.sizes() == (1, LARGE_SHARE)  # whoever waits
