"""A node's own clients: whose turn it is, how much waits for blocks at a time, and what becomes of it."""

from __future__ import annotations

import pytest

from zosnet.ledger.comet.envelope import MOST_AWAITED, MOST_BYTES, MOST_IN_ENVELOPE, pack, unpack
from zosnet.ledger.engine.cometbft import front as module
from zosnet.ledger.engine.cometbft.front import (
    MOST_HURRIED,
    MOST_LARGE,
    MOST_SMALL,
    PORTION,
    PORTION_HURRIED,
    REST,
    Front,
)
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.engine.turns import SMALL, Envelope, Turns, Waiting
from zosnet.ledger.transaction import LARGEST
from zosnet.model.errors import HostError


class Desk:
    """A front with a clock that stands, and a sender that finds everything good."""

    def __init__(self) -> None:
        self.now = 0.0
        self.front = Front(lambda: self.now)
        self._made = 0

    def submit(self, count: int) -> Envelope:
        self._made += 1
        return self.front.submit([b"%d %d" % (self._made, number) for number in range(count)])[0]

    def send(self, *, is_hurried: bool) -> list[Waiting]:
        portion = self.front.portion(is_hurried)
        for one in portion:
            assert self.front.send(one.raw, one)
        self.front.judged(portion, [], 0, 0.0)
        return portion

    def send_all(self, *, is_hurried: bool) -> list[Waiting]:
        sent = []
        while portion := self.send(is_hurried=is_hurried):
            sent += portion
        return sent


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_largest_portion_fits_into_an_envelope() -> None:
    envelope = pack([bytes(LARGEST)] * PORTION)
    assert len(envelope) <= MOST_BYTES and len(unpack(envelope)) == PORTION <= MOST_IN_ENVELOPE
    assert SMALL == MOST_AWAITED < PORTION


def test_small_ones_and_large_ones_are_never_sent_together_and_take_turns(desk: Desk) -> None:
    large, small = desk.submit(1000), [desk.submit(1) for _ in range(20)]
    portions = [desk.send(is_hurried=False) for _ in range(5)]
    kinds = [{one.envelope is large for one in portion} for portion in portions]
    assert all(len(kind) == 1 for kind in kinds)
    assert [len(portion) for portion in portions[:4] if portion[0].envelope is not large] == [SMALL, SMALL]
    assert {one.envelope for portion in portions for one in portion} >= {large, small[0], small[-1]}


def test_few_large_ones_wait_for_blocks_at_a_time_and_fewer_while_somebody_waits(desk: Desk) -> None:
    large = desk.submit(2 * MOST_LARGE)
    first = desk.send(is_hurried=True)
    assert len(first) == PORTION_HURRIED
    hurried = first + desk.send_all(is_hurried=True)
    assert len(hurried) == MOST_HURRIED
    small = desk.submit(1)
    assert [one.envelope for one in desk.send_all(is_hurried=True)] == [small]
    assert len(hurried + desk.send_all(is_hurried=False)) == MOST_LARGE
    desk.front.settle(first[0].raw, Receipt(bytes(32)))
    assert [one.envelope for one in desk.send_all(is_hurried=False)] == [large]
    assert len(desk.front) == 2 * MOST_LARGE


def test_small_ones_are_bounded_too(desk: Desk) -> None:
    for _ in range(MOST_SMALL + 10):
        desk.submit(1)
    assert len(desk.send_all(is_hurried=False)) == MOST_SMALL


def test_after_refusals_the_large_ones_rest_while_somebody_waits(desk: Desk) -> None:
    desk.submit(100)
    portion = desk.front.portion(True)
    desk.front.judged(portion, [], len(portion), 0.5)
    assert desk.front.rest() == REST * 0.5 and not desk.front.portion(True)
    small = desk.submit(1)
    assert [one.envelope for one in desk.send(is_hurried=True)] == [small]
    desk.now += REST * 0.5
    assert desk.front.rest() == 0
    portion = desk.front.portion(True)
    desk.front.judged(portion, portion[1:], 0, 0.5)
    assert not desk.front.portion(True) and desk.front.portion(False)


def test_what_is_early_waits_for_what_comes_before_it(desk: Desk) -> None:
    name = b"\x00" * 35 + b"account".ljust(32)
    (later, _), (former, _) = desk.front.submit([name + b"2"]), desk.front.submit([name + b"1"])
    portion = desk.front.portion(False)
    by_envelope = {one.envelope: one for one in portion}
    assert desk.front.is_first(by_envelope[later]) and not desk.front.is_first(by_envelope[former])
    desk.front.send(b"early", by_envelope[former])
    desk.front.unsend(b"early")
    desk.front.judged(portion, [by_envelope[former]], 0, 0.0)
    assert desk.front.portion(False) == [by_envelope[former]]


def test_the_same_transaction_is_sent_once_and_answered_to_all(desk: Desk) -> None:
    (first, _), (second, _) = desk.front.submit([b"same"]), desk.front.submit([b"same"])
    sent = [desk.front.send(one.raw, one) for one in desk.front.portion(False)]
    assert sent == [True, False]
    receipt = Receipt(b"same".ljust(32), height=7)
    desk.front.settle(b"same", receipt)
    assert first.future.result() == second.future.result() == [receipt]
    desk.front.settle(b"same", receipt)
    assert len(desk.front) == 0


def test_too_much_makes_room_for_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Turns", lambda: Turns(10))
    front = Front(lambda: 0.0)
    _, nobody = front.submit([b"%d" % number for number in range(10)])
    _, evicted = front.submit([b"%d" % number for number in range(10, 20)])
    assert not nobody and len(evicted) == 10 and len(front) == 10


def test_what_has_waited_for_long_is_given_up_sent_or_not(desk: Desk) -> None:
    old = desk.submit(2 * PORTION)
    desk.send(is_hurried=False)
    desk.now = 10.0
    new = desk.submit(1)
    desk.front.give_up(HostError("too long"), older_than_s=5.0)
    assert isinstance(old.future.exception(), HostError) and not new.future.done()
    assert [one.envelope for one in desk.send_all(is_hurried=False)] == [new]
    desk.front.give_up(HostError("the end"))
    assert isinstance(new.future.exception(), HostError) and len(desk.front) == 0


def test_what_a_block_has_while_it_is_judged_is_settled_and_waits_no_more(desk: Desk) -> None:
    """It came by way of another operator as well."""
    envelope = desk.submit(1)
    (one,) = desk.front.portion(False)
    assert desk.front.send(b"id", one)
    desk.front.settle(b"id", Receipt(b"id", height=7))
    assert not desk.front.unsend(b"id")
    desk.front.judged([one], [], 1, 0.0)
    assert envelope.future.result(timeout=0)[0].height == 7 and len(desk.front) == 0
