"""A step back of the time of day is noticed at the next reading; being interrupted is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.ledger.engine.clock import TOLERANCE_MS, Watch
from zosnet.model.errors import HostError


class Times:
    """Both clocks; each reading may take a while."""

    def __init__(self) -> None:
        self.day, self.steady = 1_000_000, 0
        self.pauses: Iterator[int] = iter(())

    def _pass(self) -> None:
        for pause in self.pauses:
            self.go(pause)
            return

    def go(self, milliseconds: int) -> None:
        self.day += milliseconds
        self.steady += milliseconds

    def read_day(self) -> int:
        self._pass()
        return self.day

    def read_steady(self) -> int:
        self._pass()
        return self.steady


@given(st.lists(st.integers(0, 10_000), max_size=60), st.lists(st.integers(0, 5000), max_size=30))
def test_pauses_are_no_steps(pauses: list[int], between: list[int]) -> None:
    times = Times()
    times.pauses = iter(pauses)
    watch = Watch(times.read_day, times.read_steady)
    for each in between:
        watch.read()
        times.go(each)
    watch.read()


@given(st.integers(TOLERANCE_MS + 1, 10**9), st.integers(0, 10**6))
def test_a_step_back_is_refused_until_it_is_made_up(step: int, later: int) -> None:
    times = Times()
    watch = Watch(times.read_day, times.read_steady)
    watch.read()
    times.go(later)
    shown = times.day
    times.day -= step
    with pytest.raises(HostError, match="behind"):
        watch.read()
    times.go(step - 1)
    with pytest.raises(HostError, match="1 ms behind"):
        watch.read()
    times.go(1)
    assert watch.read() == shown
    times.day += 3_600_000  # set forward
    assert watch.read() == times.day


def test_a_block_of_before_is_a_floor() -> None:
    times = Times()
    watch = Watch(times.read_day, times.read_steady, 1_000_500)
    with pytest.raises(HostError, match="500 ms"):
        watch.read()
    times.go(500)
    assert watch.read() == 1_000_500
