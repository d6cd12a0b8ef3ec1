"""What the lab's tools recorded, made into figures. Pure: lists of numbers in, numbers out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which nothing came back: from the last answer before it to the first one after."""

    began: float
    ended: float

    @property
    def milliseconds(self) -> float:
        return (self.ended - self.began) * 1000


@dataclass(frozen=True, slots=True)
class Beat:
    """A probe's answers: (sequence number, sent, got), seconds on the lab's one clock."""

    replies: tuple[tuple[int, float, float], ...]

    @classmethod
    def of(cls, records: Iterable[Mapping[str, object]]) -> Beat:
        """From the records of `tools/probe.py`."""
        return cls(
            tuple(
                (int(str(record["seq"])), float(str(record["sent"])), float(str(record["got"])))
                for record in records
                if record.get("event") == "reply"
            )
        )

    def outages(self, longer_than: float = 0.05, *, since: float = 0.0) -> list[Outage]:
        """Gaps of more than `longer_than` seconds between two answers, of which the first came after `since`
        or the second did."""
        return [gap for gap in gaps([got for _, _, got in self.replies], longer_than) if gap.ended > since]

    def longest(self, *, since: float = 0.0) -> float:
        """The longest silence in ms that ended after `since`; 0 without two answers."""
        return max((gap.milliseconds for gap in self.outages(0.0, since=since)), default=0.0)

    def quantile(self, share: float) -> float:
        """That quantile of the round trip, in ms."""
        return quantile([(got - sent) * 1000 for _, sent, got in self.replies], share)


def gaps(times: Sequence[float], longer_than: float) -> list[Outage]:
    """Pairs of neighbouring times that lie further apart than `longer_than` seconds."""
    return [
        Outage(before, after)
        for before, after in itertools.pairwise(sorted(times))
        if after - before > longer_than
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank); nan without any."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def rate(progress: Sequence[tuple[float, int]], since: float, until: float) -> float:
    """Mbit/s between two moments, from (time, total bytes) in order; 0 where nothing is known.

    Totals at the two moments are those of the last line before each: progress is reported in small steps.
    """
    if until <= since or not progress:
        return 0.0

    def total(moment: float) -> int:
        return max((amount for at, amount in progress if at <= moment), default=0)

    return (total(until) - total(since)) * 8 / 1e6 / (until - since)
