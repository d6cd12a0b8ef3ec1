"""Waiting for something to become true, with a deadline.

Nothing in the lab sleeps and hopes: whatever has to happen is asked for until it has, and if it does not, the
error says what was waited for, how long, and what was seen last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from zosnet.lab.errors import LabError

T = TypeVar("T")


def until(
    what: str,
    condition: Callable[[], T | None],
    *,
    within: float = 10.0,
    every: float = 0.01,
    seen: Callable[[], object] | None = None,
) -> T:
    """The first true value of `condition`, asked for every `every` seconds.

    `seen` is asked once more for the error's sentence when the time is over: what was there instead.
    An OSError of the condition counts as "not yet".

    Raises LabError after `within` seconds.
    """
    deadline = time.monotonic() + within
    trouble = ""
    while True:
        try:
            value = condition()
        except OSError as error:
            value, trouble = None, f" ({error})"
        if value:
            return value
        if time.monotonic() >= deadline:
            last = f"; there is: {seen()}" if seen is not None else trouble
            raise LabError(f"not within {within:g} s: {what}{last}")
        time.sleep(every)
