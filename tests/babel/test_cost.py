"""The cost of a link: what RTT, loss and load make of it, and that it can't oscillate."""

from math import ceil, log
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zosnet.babel.cost import (
    LONGEST_HOLD,
    MARGIN,
    MOST_FOR_LOSS,
    SHORTEST_HOLD,
    LinkCost,
)
from zosnet.babel.hold import STOOD, Hold

EVERY = 0.5
"""Seconds between two measurements, as often as the data plane makes them."""
QUICK = settings(deadline=None, max_examples=60, derandomize=True)


def measured(rtt: float, loss: float | None = None, *, static: int = 4, times: int = 20) -> LinkCost:
    """A link that was measured for a while, always with the same result."""
    link = LinkCost(static)
    for tick in range(times):
        link.measure(rtt, loss, EVERY * tick)
    return link


def test_a_clean_link_costs_its_round_trip() -> None:
    assert measured(0.03, 0.0).total == 34
    assert measured(0.03, None).total == 34
    assert measured(0.03, 0.001).total == 34, "a packet in a thousand is noise"


@pytest.mark.parametrize("rtt", [0.01, 0.03, 0.1, 0.3])
def test_loss_makes_a_link_dearer_than_a_clean_one_of_several_times_its_round_trip(rtt: float) -> None:
    one_percent, five_percent = measured(rtt, 0.01), measured(rtt, 0.05)
    assert one_percent.total > measured(2.5 * rtt).total
    assert five_percent.total > measured(min(8 * rtt, rtt + 2.9)).total
    assert measured(rtt, 1.0).total <= int(1000 * rtt) + 4 + MOST_FOR_LOSS


def test_loss_is_noticed_within_two_seconds_and_forgiven_within_ten() -> None:
    link, now = LinkCost(4), 0.0
    for _ in range(20):
        link.measure(0.02, 0.0, now)
        now += EVERY
    began = now
    while link.total < 60:
        link.measure(0.02, 0.1, now)
        now += EVERY
    assert now - began <= 2.0
    for _ in range(20):
        link.measure(0.02, 0.1, now)
        now += EVERY
    began = now
    while link.total > 24 + MARGIN:
        link.measure(0.02, 0.0, now)
        now += EVERY
    assert SHORTEST_HOLD <= now - began <= 10.0


def test_measurements_are_preferred_to_the_answers_to_hellos() -> None:
    """In a control channel that retransmits, an answer may come late for a reason that data doesn't have."""
    link = measured(0.02)
    for tick in range(20, 40):
        link.measure(0.02, 0.0, EVERY * tick)
        link.sample(0.5, EVERY * tick)
    assert link.rtt == 0.02
    for tick in range(80, 100):
        link.sample(0.5, EVERY * tick)
    assert link.rtt == 0.5


def test_without_a_round_trip_loss_alone_is_kept_for_later() -> None:
    link = LinkCost(4)
    assert not link.measure(None, 0.05, 0.0)
    assert link.sample(0.02, 1.0)
    assert link.in_use == 20 + int(200 * 0.05 * 24)
    assert link.loss == 0.05


def test_of_the_queue_that_we_make_ourselves_half_counts() -> None:
    link = measured(0.02)
    link.is_busy = True
    for tick in range(20, 30):
        link.measure(0.1, 0.0, EVERY * tick)
    assert link.in_use == 60
    for tick in range(30, 300):
        link.measure(0.1, 0.0, EVERY * tick)
    assert link.in_use == 100, "but what stays for a minute is no queue"


@given(
    st.floats(0.001, 2.0),
    st.lists(st.floats(-1.0, 1.0), min_size=50, max_size=400),
)
@QUICK
def test_noise_within_the_margin_never_moves_a_settled_cost(rtt: float, noise: list[float]) -> None:
    """Whatever its shape: the median stays within the noise, and the noise within the band around it."""
    link = LinkCost(4)
    swing = max(0.09 * rtt, 0.0045)
    for tick in range(10):
        link.measure(rtt, 0.0, EVERY * tick)
    moves = sum(
        link.measure(max(0.0, rtt + swing * each), 0.0, 5.0 + EVERY * tick) for tick, each in enumerate(noise)
    )
    assert moves == 0


@given(
    st.floats(0.001, 1.0),
    st.floats(1.0, 8.0),
    st.floats(0.0, 0.2),
    st.integers(100, 3000),
    st.randoms(use_true_random=False),
)
@QUICK
def test_bounded_noise_of_any_size_moves_the_cost_a_bounded_number_of_times(
    low: float, spread: float, loss: float, ticks: int, rng: Random
) -> None:
    """Conditions that an enemy chooses within bounds: bursts, steps, anything. Falls are rare, rises between
    two falls few: each is a fifth of what was, and there is nothing above the bound.
    """
    link, highest, falls, rises = LinkCost(4), low * spread, 0, 0
    state, until = 0.0, 0
    for tick in range(ticks):
        if tick >= until:
            state, until = rng.random(), tick + rng.choice([1, 3, 7, 10, 20, 80])
        before = link.in_use
        link.measure(low + (highest - low) * state, loss * rng.random() * state, EVERY * tick)
        falls += link.in_use < before
        rises += link.in_use > before
    duration = EVERY * ticks
    assert falls <= 10 + duration / (STOOD * SHORTEST_HOLD)
    dearest = 1000 * highest + min(MOST_FOR_LOSS, 200 * loss * (1000 * highest + 4)) + 1
    steps = ceil(log(max(2.0, dearest / max(1.0, 1000 * low)), 1.2)) + 3
    assert rises <= (falls + 1) * steps


@pytest.mark.parametrize("seed", range(5))
def test_steady_noise_far_beyond_the_margin_settles(seed: int) -> None:
    """An hour of round trips between 20 and 100 ms and of loss between none and 2 %, at random."""
    link, rng = LinkCost(4), Random(seed)
    moves = [
        link.measure(rng.uniform(0.02, 0.1), rng.uniform(0.0, 0.02), EVERY * tick) for tick in range(7200)
    ]
    assert sum(moves) <= 24
    assert sum(moves[3600:]) <= 6


@pytest.mark.parametrize("queue", [0.01, 0.06, 0.5])
@pytest.mark.parametrize("loss", [0.0, 0.03])
def test_a_link_that_is_bad_only_while_it_is_used_draws_traffic_a_few_times_an_hour(
    queue: float, loss: float
) -> None:
    """The feedback that makes load-aware routing swing: the better link is too small for the traffic."""
    good, other = LinkCost(4), measured(0.04)
    uses_good, switches = True, 0
    for tick in range(7200):
        good.is_busy = uses_good
        good.measure(0.01 + queue * uses_good, loss * uses_good, EVERY * tick)
        better = good.total + 10 < other.total
        worse = other.total + 10 < good.total
        if (better and not uses_good) or (worse and uses_good):
            uses_good, switches = not uses_good, switches + 1
    assert switches <= 2 * (log(LONGEST_HOLD / SHORTEST_HOLD, 2) + 3600 / LONGEST_HOLD + 2)


def test_patience_doubles_with_each_disappointment_and_halves_with_each_success() -> None:
    hold = Hold(3.0, 20.0)
    seconds = []
    for now in (0.0, 100.0, 200.0, 300.0):
        hold.trust(now)
        hold.fail(now + 1.0)
        hold.fail(now + 2.0)
        seconds.append(hold.seconds)
    assert seconds == [6.0, 12.0, 20.0, 20.0]
    for expected in (10.0, 5.0, 3.0, 3.0):
        hold.trust(1000.0)
        hold.fail(1000.0 + STOOD * hold.seconds)
        assert hold.seconds == expected
