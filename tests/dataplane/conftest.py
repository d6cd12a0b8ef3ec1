"""Stations for every test. Without the compiled core the modules that import them are skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.dataplane.stations import Station


@pytest.fixture
def station() -> Iterator[Callable[..., Station]]:
    """Makes stations, and closes them."""
    from tests.dataplane.stations import Station

    made: list[Station] = []

    def make(seed: int, **how: object) -> Station:
        made.append(Station(seed, **how))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.plane.close()


@pytest.fixture
def line(station: Callable[..., Station]) -> tuple[Station, Station, Station]:
    """Three stations in a row, with routes between the ends."""
    from tests.dataplane.stations import join

    left, middle, right = station(1), station(2), station(3)
    to_middle, from_left = join(left, middle)
    to_right, from_middle = join(middle, right)
    left.route(right, to_middle)
    left.route(middle, to_middle)
    middle.route(right, to_right)
    middle.route(left, from_left)
    right.route(left, from_middle)
    right.route(middle, from_middle)
    return left, middle, right
