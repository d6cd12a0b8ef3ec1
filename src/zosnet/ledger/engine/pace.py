"""How much of what is pending is judged for the next block, and when large envelopes rest.

Where envelopes of a few transactions come, somebody waits for each: for so long after the last of them blocks
are short, and have small or large envelopes' transactions, not both.

No I/O and no locks: for one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable

from zosnet.ledger.engine.turns import PORTION, SMALL, Turns, Waiting

__all__ = ["SHORT_BLOCK", "Pace"]

#: So many transactions are judged for one block. Measured, as what follows: see docs/benchmarks.md.
LONG_BLOCK, SHORT_BLOCK, LARGE_SHARE = 400, 8, 2
SHORT_FOR_S = 0.25
#: While blocks are short large envelopes rest so many times as long as they are worked on: others find the
#: cores free.
REST = 4.0
#: And if they have rested so much longer, their turn comes whoever waits. A guess.
OVERDUE_S = 0.05


class Pace:
    """`clock` gives seconds that never go back. `is_kept`: no block is on its way to disk."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._short_until = 0.0
        self.rests_until = 0.0

    def arrived(self, size: int) -> None:
        """Of an envelope of so many transactions some have come."""
        if size <= SMALL:
            self._short_until = self._clock() + SHORT_FOR_S

    def worked(self, taken: list[Waiting], began: float) -> None:
        """A block of these was made, or not, since `began`."""
        if any(one.envelope.size > SMALL for one in taken):
            now = self._clock()
            self.rests_until = now + REST * (now - began)

    def has_work(self, turns: Turns, *, is_kept: bool) -> bool:
        """Whether it is anybody's turn."""
        return turns.has_small if self._is_held_back(is_kept) else bool(turns)

    def portion(self, turns: Turns, judged: int, *, is_kept: bool) -> list[Waiting]:
        """Who is next for a block with so many already; nobody where it is long enough."""
        if not self._is_short():
            return turns.take_many(min(LONG_BLOCK - judged, PORTION))
        if judged:
            return []
        few = turns.take_many(SHORT_BLOCK, only_small=True)
        is_overdue = self._clock() > self.rests_until + OVERDUE_S
        if self._is_held_back(is_kept) or (few and not is_overdue):
            return few
        return few + turns.take_many(LARGE_SHARE)

    def _is_held_back(self, is_kept: bool) -> bool:
        """Whether large envelopes wait: they have had their share, or somebody's block is being kept."""
        return self._is_short() and not (is_kept and self._clock() >= self.rests_until)

    def _is_short(self) -> bool:
        return self._clock() < self._short_until
