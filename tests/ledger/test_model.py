"""The machine against the naive model: Hypothesis looks for the shortest quarrel, a seed for a rare one."""

from __future__ import annotations

import os
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.ledger.naive import Draw, Twin
from tests.ledger.proposals import propose

#: `make soak` runs a million.
OPERATIONS = int(os.environ.get("ZOSNET_LEDGER_OPERATIONS", "100000"))
SEED = int(os.environ.get("ZOSNET_LEDGER_SEED", "1"))


def digits(number: int) -> Draw:
    """Draws out of one number, as its digits in changing bases."""
    left = number

    def draw(below: int) -> int:
        nonlocal left
        left, found = divmod(left, below)
        return found

    return draw


class Twins(RuleBasedStateMachine):
    """Each step is one operation, out of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.twin = Twin()
        self.steps = 0

    @rule(number=st.integers(0, 2**64 - 1))
    def operate(self, number: int) -> None:
        self.steps += 1
        self.twin.step(digits(number), propose)

    @invariant()
    def both_say_the_same(self) -> None:
        if self.steps % 20 == 0:
            self.twin.compare()

    def teardown(self) -> None:
        self.twin.compare()


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=250, stateful_step_count=200)


def test_a_long_seeded_run_with_clock_jumps() -> None:
    twin, draw = Twin(accounts=6), random.Random(SEED).randrange
    for number in range(OPERATIONS):
        twin.step(draw, propose)
        if number % 250 == 0:
            twin.compare()
    twin.compare()
    assert twin.done > OPERATIONS // 10 and twin.refused > OPERATIONS // 10
