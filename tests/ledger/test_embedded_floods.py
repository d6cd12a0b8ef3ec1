"""The embedded engine in a flood: others get through, and what is pending has an end."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.ledger.embedded import Clock, blocks_of, claim, opened, running, send

from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.engine.pace import SHORT_BLOCK
from zosnet.ledger.engine.turns import Turns
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import ClaimDomain, Stamp
from zosnet.ledger.wallet import Wallet


def test_pending_transactions_are_capped_with_a_reason(tmp_path: Path) -> None:
    clock, gate = Clock(), threading.Event()

    def held() -> int:
        gate.wait(30)
        return clock()

    gate.set()
    with running(tmp_path, held) as ledger:
        a = opened(ledger, 1, clock.now)
        ledger._turns = Turns(most=3000)
        gate.clear()  # nothing is judged before all have come
        flood = [ledger.submit([b"nonsense"] * 1000) for _ in range(9)]
        mine = ledger.submit([a.transaction(ClaimDomain("a.example"), clock.now).raw])
        gate.set()
        assert mine.result(timeout=30)[0].is_done
        reasons = [receipt.reason for each in flood for receipt in each.result(timeout=30)]
        assert set(reasons) == {"malformed", "busy"} and reasons.count("busy") > 5000
        assert send(ledger) == [] and ledger.status().pending == 0


def test_one_envelope_of_many_accounts_lets_others_by(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        many = [Wallet(ledger.genesis, [Signer(number.to_bytes(32))]) for number in range(1000, 1400)]
        raws = [each.transaction(each.opening(Stamp(each.chain, 0)), clock.now).raw for each in many]
        large = ledger.submit(raws)
        for number in range(10):
            before = ledger.status().height
            receipt = claim(ledger, a, f"d{number}.example", clock.now)
            # The block that was on its way to the disk, the one being judged, its own.
            assert receipt.is_done and receipt.height <= before + 3
            if number:
                assert all(len(transactions) <= SHORT_BLOCK for _, transactions in blocks_of(ledger)[before:])
        assert not large.done() and all(receipt.is_done for receipt in large.result(timeout=60))


@pytest.mark.parametrize("whose", ["its own", "another's", "anybody's"])
def test_a_flood_of_wrong_signatures_lets_others_by(tmp_path: Path, whose: str) -> None:
    clock, gate = Clock(), threading.Event()

    def hook(_: str) -> None:
        gate.wait(30)

    gate.set()
    with running(tmp_path, clock, hook=hook) as ledger:
        a, b = (opened(ledger, number, clock.now) for number in (1, 2))
        who = {"its own": [b], "another's": [a]}.get(whose) or [
            Wallet(ledger.genesis, [Signer(number.to_bytes(32))]) for number in range(1000, 1020)
        ]
        good = [each.transaction(ClaimDomain("b.example"), clock.now).raw for each in who]
        wrong = [raw[:-1] + bytes([raw[-1] ^ 1 + number]) for number in range(250) for raw in good]
        order: list[Future[list[Receipt]]] = []
        gate.clear()  # nobody hears of anything before all have submitted
        flood = [ledger.submit(wrong[start : start + 10]) for start in range(0, len(wrong), 10)]
        mine = ledger.submit([a.transaction(ClaimDomain("a.example"), clock.now).raw])
        for each in (*flood, mine):
            each.add_done_callback(order.append)
        gate.set()
        assert mine.result(timeout=30)[0].is_done
        reasons = {receipt.reason for each in flood for receipt in each.result(timeout=60)}
        assert reasons and reasons <= {"signature", "account", "nonce"}
        assert len(order) - order.index(mine) > len(order) // 2


def test_what_comes_before_its_turn_waits_for_what_it_builds_on(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        made = []
        for number in range(50):
            made.append(a.transaction(ClaimDomain(f"d{number}.example"), clock.now).raw)
            a.done()
        futures = [ledger.submit([raw]) for raw in made[:40]]
        assert all(future.result(timeout=30)[0].is_done for future in futures)
        late = [ledger.submit([raw]) for raw in made[41:]]  # what they build on never comes
        assert {future.result(timeout=30)[0].reason for future in late} == {"nonce"}


def test_a_flood_of_nonsense_is_judged_in_portions(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        good = [a.transaction(ClaimDomain("a.example"), clock.now).raw]
        a.done()
        good.append(a.transaction(ClaimDomain("b.example"), clock.now).raw)
        nonsense = [b"nonsense"] * 250
        mixed = ledger.submit([*nonsense, good[0], *nonsense, good[1], *nonsense])
        other = ledger.submit([b"nonsense"] * 250)
        reasons = [receipt.reason for receipt in mixed.result(timeout=30)]
        assert [number for number, reason in enumerate(reasons) if not reason] == [250, 501]
        assert len(other.result(timeout=30)) == 250 and ledger.status().pending == 0
