"""The cost of a link: its round-trip time in milliseconds, what loss adds to it, and what its kind costs.

Mycelium samples once in 20 s, weighs a sample with a tenth, starts at 1000, and needs ten minutes to believe
in a fast link. Here the first sample counts in full, later ones by the median of the last five. The cost that
routes are judged by follows only when that left it by a margin: upwards within two seconds, downwards when
every value of the last three seconds was lower, and then only to the worst of them. Each time that the lower
cost turns out not to last, the three seconds double (`Hold`). So noise neither switches routes nor sends
Updates, and a link that is bad only while it is used doesn't draw the traffic back and forth.

Loss is the ETX of a link with TCP in mind: what TCP gets out of a path falls with the square root of its
loss, so 1 % makes a link three times as long.

Load shows as round trips and loss. Of what the round trip gains while we send, half counts: most of it is the
queue of our own packets, which would move along with them.
"""

from zosnet.babel.hold import Hold
from zosnet.babel.metric import LARGEST

START = 1000
"""Milliseconds assumed before the first sample, as Mycelium does."""

MARGIN = 10
"""Milliseconds by which the median must leave the cost in use, or a fifth of it if that is more."""

REMEMBERED = 5
"""Samples in the median: two outliers in a row change nothing."""

RISE_INTERVAL = 2.0
"""Seconds between two rises of the cost in use, once `REMEMBERED` samples were seen."""

SHORTEST_HOLD, LONGEST_HOLD = 3.0, 600.0
"""Seconds for which a link must be better before its cost falls. Guesses: TCP's recovery, and patience."""

LONGEST_RTT = 10.0
"""Seconds. A sample above it is cut to it: an answer that late says no more than that the link is bad."""

LOSSES_REMEMBERED = 8
"""Measurements of loss that are averaged: four seconds of a busy link."""

LEAST_LOSS = 0.002
"""Below it loss counts as none: one packet of a hundred thousand must not move a network."""

LOSS_WEIGHT, MOST_FOR_LOSS = 200, 3000
"""What loss adds: 200 times its share of the link's length, but at most 3000 ms.

So 0.5 % doubles a link, 1 % makes it three times as long, 5 % eleven times.
"""

MOST_SHARED = 0.1
"""Loss above which a datagram link says nothing about streams on the same path.

Networks that throttle datagrams lose more than that, and networks that lose more are rare.
"""

MEASURED_FOR = 5.0
"""Seconds after a measurement of the data plane in which the answers to Hellos are no samples.

Those wait behind whatever the control channel retransmits.
"""

_BASE_SPAN = 30.0


class LinkCost:
    """Samples of one link, and the cost that is in use because of them."""

    __slots__ = (
        "_base",
        "_base_before",
        "_base_since",
        "_hold",
        "_losses",
        "_low_since",
        "_measured_at",
        "_risen_at",
        "_samples",
        "_seen",
        "_worst",
        "in_use",
        "is_busy",
        "shared",
        "static",
    )

    def __init__(self, static: int) -> None:
        self.static = max(1, static)
        self.in_use = START
        self.is_busy = False
        """Whether we send over it: see the module's text."""
        self.shared = 0
        """How much of the cost in use is for losses that a stream on the same path has as well."""
        self._samples: list[int] = []
        self._losses: list[float] = []
        self._seen = 0
        self._measured_at = self._risen_at = self._base_since = float("-inf")
        self._base = self._base_before = int(1000 * LONGEST_RTT)
        self._hold = Hold(SHORTEST_HOLD, LONGEST_HOLD)
        self._low_since: float | None = None
        self._worst = (0, 0)

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

    @property
    def loss(self) -> float | None:
        """The mean of the last measurements of loss, from 0 to 1."""
        return sum(self._losses) / len(self._losses) if self._losses else None

    def sample(self, rtt: float, now: float) -> bool:
        """A Hello was answered after `rtt` seconds; whether the cost in use changed."""
        if now - self._measured_at < MEASURED_FOR:
            return False
        self._remember(rtt, now)
        return self._follow(now)

    def measure(self, rtt: float | None, loss: float | None, now: float) -> bool:
        """What the data plane measured; None is what it doesn't know. Whether the cost in use changed."""
        if loss is not None:
            self._losses.append(min(max(loss, 0.0), 1.0))
            del self._losses[:-LOSSES_REMEMBERED]
        if rtt is not None:
            self._measured_at = now
            self._remember(rtt, now)
        return self._seen > 0 and self._follow(now)

    def _remember(self, rtt: float, now: float) -> None:
        sample = int(1000 * min(max(rtt, 0.0), LONGEST_RTT))
        self._samples.append(sample)
        del self._samples[:-REMEMBERED]
        self._seen = min(self._seen + 1, REMEMBERED + 1)
        if now - self._base_since >= _BASE_SPAN:
            self._base_before = self._base if self._seen > 1 else sample
            self._base, self._base_since = sample, now
        self._base = min(self._base, sample)

    def _follow(self, now: float) -> bool:
        """Move the cost in use to what is measured, if that is due."""
        target, shared = self._target()
        settled = self._seen > REMEMBERED
        band = max(MARGIN, self.in_use // 5) if self._seen > 1 else -1
        if target > self.in_use + band:
            self._low_since = None
            if settled and now - self._risen_at < RISE_INTERVAL:
                return False
            self._risen_at = now
            self._hold.fail(now)
            return self._use(target, shared)
        if target >= self.in_use - band:
            self._low_since = None
            return False
        if self._low_since is None:
            self._low_since, self._worst = now, (target, shared)
        self._worst = max(self._worst, (target, shared))
        if settled and now - self._low_since < self._hold.seconds:
            return False
        self._low_since = None
        if settled:
            self._hold.trust(now)
        return self._use(*self._worst)

    def _use(self, target: int, shared: int) -> bool:
        changed = (self.in_use, self.shared) != (target, shared)
        self.in_use, self.shared = target, shared
        return changed

    def _target(self) -> tuple[int, int]:
        """What the cost would be by the last measurements, and how much of it is shared."""
        rtt = self._median()
        if self.is_busy:
            base = min(self._base, self._base_before)
            rtt = min(rtt, base + (rtt - base + 1) // 2)
        loss = self.loss
        if loss is None or loss < LEAST_LOSS:
            return rtt, 0
        extra = min(MOST_FOR_LOSS, int(LOSS_WEIGHT * loss * (rtt + self.static)))
        return rtt + extra, extra if loss <= MOST_SHARED else 0

    def _median(self) -> int:
        ordered = sorted(self._samples)
        return ordered[(len(ordered) - 1) // 2]
