"""A time of day that is never taken from a clock that stepped back."""

from __future__ import annotations

import time
from collections.abc import Callable

from zosnet.model.errors import HostError

__all__ = ["Watch", "now_ms", "steady_ms"]

#: Both clocks are read in whole milliseconds, so a difference of theirs may be off by two.
TOLERANCE_MS = 5


def now_ms() -> int:
    """The time of day."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """A clock that nobody sets. The kernel slews it as it does the time of day, so only a step parts them."""
    return time.monotonic_ns() // 1_000_000


class Watch:
    """Compares the time of day with a steady clock. For one thread.

    Between two readings both go on alike, unless the time of day was set. Set forward, it is believed. Set
    back, it is refused as soon as it is read, until it has reached what it would have shown at that moment.
    """

    def __init__(self, clock: Callable[[], int], steady: Callable[[], int], floor_ms: int = 0) -> None:
        self._clock, self._steady = clock, steady
        self._floor = floor_ms
        self._ahead: int | None = None

    def read(self) -> int:
        """The time of day in milliseconds. Raises HostError where the clock is behind what it has shown."""
        # A thread may lose its turn between two readings: the least and the most that the time of day can be
        # ahead of the steady clock are known, not the exact difference.
        before = self._steady()
        now = self._clock()
        least, most = now - self._steady(), now - before
        if self._ahead is not None and most < self._ahead - TOLERANCE_MS:
            self._floor = max(self._floor, before + self._ahead)
            self._ahead = least
        else:
            self._ahead = least if self._ahead is None else max(self._ahead, least)
        if now < self._floor:
            raise HostError(
                f"the clock is {self._floor - now} ms behind what it has shown before: no block is signed",
                remedy="mend the clock, or wait until it has caught up",
            )
        return now
