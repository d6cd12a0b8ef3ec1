"""The window and the time-out of a message."""

import pytest

from zosnet.message.pace import MAX_TIMEOUT, MIN_TIMEOUT, Pace


def test_the_time_out_begins_at_mycelium_s_and_never_falls_below() -> None:
    pace = Pace(64)
    assert pace.timeout == MIN_TIMEOUT == 0.1
    for _ in range(20):
        pace.answered(0.001, sent_once=True)
    assert pace.timeout == MIN_TIMEOUT


def test_the_time_out_follows_a_long_round_trip() -> None:
    pace = Pace(64)
    for _ in range(50):
        pace.answered(0.4, sent_once=True)
    assert 0.4 < pace.timeout < 0.45


def test_silence_doubles_the_time_out_up_to_a_bound_and_an_answer_ends_that() -> None:
    pace = Pace(64)
    for _ in range(30):
        pace.silent()
    assert pace.timeout == MAX_TIMEOUT
    pace.answered(0.05, sent_once=True)
    assert pace.timeout == pytest.approx(0.15)


def test_an_ambiguous_answer_is_only_the_first_guess() -> None:
    pace = Pace(64)
    pace.answered(60.0, sent_once=False)
    assert pace.timeout == MAX_TIMEOUT
    for _ in range(60):
        pace.answered(0.1, sent_once=True)
    settled = pace.timeout
    pace.answered(60.0, sent_once=False)
    assert pace.timeout == settled < 0.2


def test_the_window_opens_fast_then_slowly_and_halves_once_a_loss() -> None:
    pace = Pace(64)
    assert pace.window == 10
    for _ in range(100):
        pace.grow()
    assert pace.window == 64
    for _ in range(5):
        pace.lost(1.0, now=2.0)
    assert pace.window == 32, "all that left before the cut is one loss"
    for _ in range(32):
        pace.grow()
    assert pace.window in {32, 33}
    for at in range(3, 20):
        pace.lost(float(at), now=at + 0.5)
    assert pace.window == 2


def test_a_small_window_is_never_exceeded() -> None:
    assert Pace(4).window == 4
