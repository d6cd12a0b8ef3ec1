"""The cost of a link: its round-trip time in milliseconds, plus what its kind costs.

Mycelium samples once in 20 s, weighs a sample with a tenth, starts at 1000, and needs ten minutes to believe
in a fast link. Here the first sample counts in full, later ones by the median of the last five, and the cost
that routes are judged by moves only when the median left it by a margin, and not twice within five seconds
once it has settled. So noise neither switches routes nor sends Updates.
"""

from zosnet.babel.metric import LARGEST

START = 1000
"""Milliseconds assumed before the first sample, as Mycelium does."""

MARGIN = 10
"""Milliseconds by which the median must leave the cost in use, or a fifth of it if that is more."""

REMEMBERED = 5
"""Samples in the median: two outliers in a row change nothing."""

SETTLED_INTERVAL = 5.0
"""Seconds between two changes of the cost in use, once `REMEMBERED` samples were seen."""

LONGEST_RTT = 10.0
"""Seconds. A sample above it is cut to it: an answer that late says no more than that the link is bad."""


class LinkCost:
    """Round-trip samples of one link, and the cost that is in use because of them."""

    __slots__ = ("_moved_at", "_samples", "_seen", "in_use", "static")

    def __init__(self, static: int) -> None:
        self.static = max(1, static)
        self.in_use = START
        self._samples: list[int] = []
        self._seen = 0
        self._moved_at = float("-inf")

    @property
    def total(self) -> int:
        """The cost that routes over the link are judged by.

        At least 1, so that metrics grow with every hop.
        """
        return min(LARGEST, self.in_use + self.static)

    @property
    def rtt(self) -> float | None:
        """The median of the last samples, in seconds."""
        return self._median() / 1000 if self._samples else None

    def sample(self, rtt: float, now: float) -> bool:
        """Take in one round-trip time, in seconds; whether the cost in use changed."""
        self._samples.append(int(1000 * min(max(rtt, 0.0), LONGEST_RTT)))
        del self._samples[:-REMEMBERED]
        self._seen = min(self._seen + 1, REMEMBERED + 1)
        median = self._median()
        settled = self._seen > REMEMBERED
        if settled and now - self._moved_at < SETTLED_INTERVAL:
            return False
        if self._seen > 1 and abs(median - self.in_use) <= max(MARGIN, self.in_use // 5):
            return False
        self._moved_at = now
        self.in_use = median
        return True

    def _median(self) -> int:
        ordered = sorted(self._samples)
        return ordered[(len(ordered) - 1) // 2]
