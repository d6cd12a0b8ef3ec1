"""Metrics: sums, and when a difference is worth acting on (RFC 8966, sections 3.5.2 and 3.6)."""

from zosnet.wire.babel import INFINITY

__all__ = ["HYSTERESIS", "INFINITY", "LARGEST", "is_big_change", "is_worth_switching", "margin", "plus"]

LARGEST = INFINITY - 1
"""The largest finite metric."""

HYSTERESIS = 10
"""Milliseconds, more or less, that a route must gain to be preferred, or change by to be announced.

As Mycelium's.
"""


def plus(metric: int, cost: int) -> int:
    """The metric of a route behind a link, infinite from 65535 on.

    Mycelium's sums stop at 65534. But a metric that doesn't grow with a hop can't tell who is nearer:
    feasibility would no longer rule out a loop, so such a route is none.
    """
    return min(metric + cost, INFINITY)


def margin(metric: int) -> int:
    """The difference from `metric` that matters: 10, or a sixteenth of long metrics."""
    return max(HYSTERESIS, metric >> 4)


def is_worth_switching(best: int, current: int) -> bool:
    """Whether a route at `best` should replace the selected one at `current`."""
    return best + margin(current) < current


def is_big_change(announced: int, metric: int) -> bool:
    """Whether neighbours that heard `announced` should hear `metric` at once."""
    return abs(announced - metric) > margin(announced)
