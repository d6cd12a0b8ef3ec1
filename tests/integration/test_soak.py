"""The soak, in the half a minute that continuous integration can spare."""

from __future__ import annotations

import pytest
from rich.console import Console

from zosnet.lab import Grid, soak

pytestmark = [pytest.mark.privileged, pytest.mark.slow]


def test_half_a_minute_of_damage_leaves_no_trace(grid: Grid) -> None:
    soak.run(minutes=0.5, seed=5, console=Console(width=110))
