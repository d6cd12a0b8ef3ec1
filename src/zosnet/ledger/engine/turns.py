"""Whose turn it is: fair among those who wait, however much one of them sends.

Small envelopes come first, by turns the newest and the oldest of them, and whole; large ones get a third of
the turns, one transaction at a time, in a circle. So a small envelope that has just come is looked at soon
whatever waits before it, be it a large envelope or very many small ones, and the oldest moves on all the
same. Nobody's word is needed for that: an account that a transaction names may be a lie.

When too much waits, the largest envelopes make room: their last transactions are given up. Where all are
small, any of them does: the many of a flood are drawn far more often than the few of others.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass

from zosnet.ledger.engine.interface import Receipt

__all__ = ["MOST_BYTES", "MOST_PENDING", "PAUSE_S", "PORTION", "SMALL", "Envelope", "Turns", "Waiting"]

MOST_PENDING = 20_000
MOST_BYTES = 16_000_000
DRAWN = 8
#: An envelope of at most this many transactions is somebody who waits for them, not a load of work. A guess.
SMALL = 8
#: So many are worked on at once, by whoever works on many.
PORTION = 50
#: Then he rests: a thread that shares a core with him may be kept from it for the kernel's slice, some
#: milliseconds, and can't ask for the interpreter meanwhile.
PAUSE_S = 0.0005


class Envelope:
    """A submission under way, complete when each of its transactions has a receipt."""

    __slots__ = ("_left", "_receipts", "future", "waiting")

    def __init__(self, size: int) -> None:
        self.waiting: deque[Waiting] = deque()
        self.future: Future[list[Receipt]] = Future()
        self._receipts: list[Receipt | None] = [None] * size
        self._left = size

    @property
    def size(self) -> int:
        """Of how many transactions it is."""
        return len(self._receipts)

    def settle(self, index: int, receipt: Receipt) -> None:
        """One transaction's receipt."""
        self._receipts[index] = receipt
        self._left -= 1
        if not self._left:
            with suppress(InvalidStateError):  # whoever asked has gone, or one part of it failed
                self.future.set_result([each for each in self._receipts if each is not None])

    def fail(self, error: Exception) -> None:
        """No receipts, but this."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A transaction that has no receipt yet, and its place in the order of all arrivals."""

    envelope: Envelope
    index: int
    raw: bytes
    number: int

    @property
    def account(self) -> bytes:
        """The account that it names, if it is well-formed: length, version and chain come before."""
        return self.raw[35:67]


class Turns:
    """Everything that is pending. For one thread at a time."""

    def __init__(
        self,
        most: int = MOST_PENDING,
        most_bytes: int = MOST_BYTES,
        draw: Callable[[int], int] = random.randrange,
    ) -> None:
        self._most, self._most_bytes, self._draw = most, most_bytes, draw
        self._small: deque[Envelope] = deque()
        self._circle: deque[Envelope] = deque()
        self._large: list[Envelope] = []
        self._order: dict[bytes, dict[int, None]] = {}
        self._arrived = 0
        self._turn = 0
        self._bytes = 0
        self._count = 0

    def __len__(self) -> int:
        """How many wait for a turn."""
        return self._count

    def add(self, envelope: Envelope, raws: list[bytes], first: int = 0) -> list[Waiting]:
        """Let an envelope's transactions, or those from `first` on, wait; who has to make room for them."""
        if not raws:
            return []
        if not envelope.waiting:
            (self._small if envelope.size <= SMALL else self._circle).append(envelope)
        for index, raw in enumerate(raws, first):
            self._arrived += 1
            one = Waiting(envelope, index, raw, self._arrived)
            envelope.waiting.append(one)
            self._order.setdefault(one.account, {})[one.number] = None
            self._bytes += len(raw)
        self._count += len(raws)
        self._large = [each for each in self._large if len(each.waiting) > SMALL and each is not envelope]
        if len(envelope.waiting) > SMALL:
            self._large.append(envelope)
        evicted: list[Waiting] = []
        while self._count > self._most or self._bytes > self._most_bytes:
            evicted.append(self._evict())
        return evicted

    @property
    def has_small(self) -> bool:
        """Whether a small envelope waits."""
        return bool(self._small)

    def take_many(self, most: int, *, only_small: bool = False) -> list[Waiting]:
        """Whoever's turns are next."""
        return [one for _ in range(most) if (one := self.take(only_small=only_small)) is not None]

    def take(self, *, only_small: bool = False) -> Waiting | None:
        """Whoever's turn is next; of the small ones, where the others are to wait."""
        for _ in range(3):
            self._turn = (self._turn + 1) % 3
            if only_small and self._turn == 2:
                continue
            line = self._circle if self._turn == 2 else self._small
            while line:
                envelope = line.pop() if self._turn == 1 else line.popleft()
                if envelope.future.done():  # it has failed, or whoever asked has gone
                    while envelope.waiting:
                        self.decided(self._leave(envelope))
                    continue
                one = self._leave(envelope)
                if not envelope.waiting:
                    pass
                elif self._turn == 0:
                    line.appendleft(envelope)  # a small one comes whole
                else:
                    line.append(envelope)
                return one
        return None

    def _leave(self, envelope: Envelope, *, last: bool = False) -> Waiting:
        one = envelope.waiting.pop() if last else envelope.waiting.popleft()
        self._count -= 1
        self._bytes -= len(one.raw)
        return one

    def put_back(self, one: Waiting) -> None:
        """It had its turn too early: it waits for another one, the first of its envelope."""
        if not one.envelope.waiting:
            self._circle.append(one.envelope)  # what is put back has had its turn
        one.envelope.waiting.appendleft(one)
        self._count += 1
        self._bytes += len(one.raw)

    def is_first(self, one: Waiting) -> bool:
        """Whether nothing that came before it, and names the same account, is pending still."""
        return next(iter(self._order[one.account])) == one.number

    def decided(self, one: Waiting) -> None:
        """It is not pending any more."""
        numbers = self._order[one.account]
        del numbers[one.number]
        if not numbers:
            del self._order[one.account]

    def clear(self) -> list[Envelope]:
        """Nobody waits any more; who did."""
        left = [*self._small, *self._circle]
        self._small.clear()
        self._circle.clear()
        self._large.clear()
        self._order.clear()
        self._count = self._bytes = 0
        return left

    def _evict(self) -> Waiting:
        """Whoever has to make room: the largest of a few large envelopes, else any of the small ones."""
        if self._large:
            drawn = [self._large[self._draw(len(self._large))] for _ in range(DRAWN)]
            largest = max(drawn, key=lambda each: len(each.waiting))
            one = self._leave(largest, last=True)
            if len(largest.waiting) <= SMALL:
                self._large.remove(largest)
        else:
            size = len(self._small)
            place = self._draw(size + len(self._circle))
            line, place = (self._small, place) if place < size else (self._circle, place - size)
            one = self._leave(line[place], last=True)
            if not line[place].waiting:
                del line[place]
        self.decided(one)
        return one
