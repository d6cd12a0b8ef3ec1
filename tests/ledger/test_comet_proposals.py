"""The application behind ABCI, without CometBFT: what is proposed, and what is voted for."""

from __future__ import annotations

import pytest
from tests.ledger.comet_driver import Driver

from zosnet.ledger.comet.envelope import MOST_IN_BLOCK, pack
from zosnet.ledger.engine.cometbft import application as module
from zosnet.ledger.engine.cometbft.mempool import HURRIED_MS
from zosnet.ledger.records import claim_key
from zosnet.ledger.transaction import SignedTransaction


def test_a_proposal_has_what_is_good_and_others_accept_exactly_that(driver: Driver) -> None:
    a = driver.wallet(1)
    one, two, three = driver.claims(a, 3)
    bad = one.raw[:-1] + bytes([one.raw[-1] ^ 1])
    envelopes = [pack([bad, one.raw]), pack([three.raw]), b"nonsense", pack([two.raw, b"junk", one.raw])]
    proposed = driver.prepare(*envelopes)
    assert proposed == (one.raw, two.raw)  # three came before two: it waits for the next block
    assert driver.is_accepted(*proposed)
    assert driver.is_accepted()
    for lie in ([one.raw, one.raw], [two.raw], [bad], [b"junk"], [b""], [one.raw, three.raw, two.raw]):
        assert not driver.is_accepted(*lie)
    driver.block(*proposed)
    assert driver.prepare(*envelopes) == (three.raw,)
    assert list(driver.done[-1].receipts) == [one.copy, two.copy]


def test_a_proposal_has_no_more_than_fits(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    raws = [each.raw for each in driver.claims(driver.wallet(1), 30)]
    room = sum(len(raw) + 6 for raw in raws[:10])
    assert driver.prepare(pack(raws), room=room) == tuple(raws[:10])
    assert not driver.is_accepted(*[raws[0]] * (MOST_IN_BLOCK + 1))
    monkeypatch.setattr(module, "LONG_BLOCK", 7)
    assert driver.prepare(pack(raws[:4]), pack(raws[4:])) == tuple(raws[:7])


def test_blocks_are_short_while_somebody_waits_who_has_sent_little(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HURRIED_BLOCK", 4)
    many, few = driver.claims(driver.wallet(1), 20), driver.claims(driver.wallet(2), 2)
    forged = SignedTransaction.parse(few[0].raw[:-1] + bytes([few[0].raw[-1] ^ 1]))
    assert driver.check(*many).code == 0 and driver.check(forged, awaited=True).code == 1
    waiting = [pack(each.raw for each in many), pack((each.raw for each in few), awaited=True)]
    assert len(driver.prepare(*waiting)) == 22
    assert driver.check(*few, awaited=True).code == 0
    proposed = driver.prepare(*waiting)
    assert proposed == tuple(each.raw for each in [*few, *many[:2]])
    driver.block(*proposed)
    driver.now += HURRIED_MS
    assert driver.prepare(*waiting) == tuple(each.raw for each in many[2:])


def test_whoever_sends_much_is_not_held_up_for_ever_by_many_who_send_little(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HURRIED_BLOCK", 16)
    many, few = driver.claims(driver.wallet(1), 20), driver.claims(driver.wallet(2), 40)
    little = [pack([each.raw], awaited=True) for each in few]
    assert all(driver.check(each, awaited=True).code == 0 for each in few) and driver.check(*many).code == 0
    proposed = driver.prepare(*little, pack(each.raw for each in many))
    assert len(proposed) == 16 and len(set(proposed) & {each.raw for each in few}) >= 12
    assert many[0].raw in proposed and driver.is_accepted(*proposed)


def test_what_a_round_did_not_decide_leaves_nothing(driver: Driver) -> None:
    a, b = driver.wallet(1), driver.wallet(2)
    (mine,), (other,) = driver.claims(a, 1), driver.claims(b, 1)
    alone = driver.finalize(mine.raw).app_hash
    assert driver.is_accepted(other.raw) and driver.is_accepted(mine.raw, other.raw)
    assert driver.block(mine.raw) == alone
    assert driver.database.get(claim_key(a.account, "d1x0.example"))
    assert driver.database.get(claim_key(b.account, "d1x0.example")) is None
