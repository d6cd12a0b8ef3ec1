"""Figures out of what the tools recorded."""

from __future__ import annotations

import math

from zosnet.lab.measure import Beat, gaps, quantile, rate


def test_an_outage_is_from_the_last_answer_to_the_next() -> None:
    times = [0.0, 0.01, 0.02, 0.5, 0.51]
    assert [round(gap.milliseconds) for gap in gaps(times, 0.05)] == [480]
    beat = Beat(tuple((number, at - 0.001, at) for number, at in enumerate(times)))
    assert [gap.began for gap in beat.outages()] == [0.02]
    assert beat.outages(since=0.5) == []
    assert round(beat.longest()) == 480
    assert round(beat.longest(since=0.5)) == 10
    assert round(beat.quantile(0.5)) == 1


def test_a_beat_reads_only_replies() -> None:
    records: list[dict[str, object]] = [
        {"event": "ready", "at": 1.0},
        {"event": "reply", "seq": 3, "sent": 1.0, "got": 2.0},
    ]
    assert Beat.of(records).replies == ((3, 1.0, 2.0),)
    assert Beat(()).longest() == 0.0


def test_quantiles_are_of_the_nearest_rank() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert math.isnan(quantile([], 0.5))


def test_a_rate_is_of_the_bytes_between_two_moments() -> None:
    progress = [(0.0, 0), (1.0, 1_000_000), (2.0, 3_000_000)]
    assert rate(progress, 0.0, 1.0) == 8.0
    assert rate(progress, 1.0, 2.0) == 16.0
    assert rate(progress, 2.0, 1.0) == 0.0
    assert rate([], 0.0, 1.0) == 0.0
