"""The application behind ABCI, without CometBFT: what may wait for a block, and on what it is judged."""

from __future__ import annotations

from tests.ledger.comet_driver import Driver

from zosnet.ledger.comet import abci
from zosnet.ledger.comet.envelope import pack
from zosnet.ledger.engine.cometbft.mempool import PATIENT


def test_what_comes_after_a_block_is_judged_on_top_of_all_that_waits(driver: Driver) -> None:
    one, two, three = driver.claims(driver.wallet(1), 3)
    mempool = driver.application.mempool
    assert mempool.admit(one).is_done and mempool.admit(two).is_done
    driver.block(one.raw)
    # Nobody has asked for `two` again yet.
    assert mempool.admit(three).is_done
    for _ in range(PATIENT + 1):
        driver.block()
    # Nor ever did, so it isn't in the mempool any more.
    assert mempool.admit(three).reason == "nonce"


def test_what_may_wait_goes_ahead_of_the_blocks_and_back(driver: Driver) -> None:
    a = driver.wallet(1)
    one, two, three = driver.claims(a, 3)
    assert driver.check(one, two).code == 0
    assert driver.check(one).code == 0  # by way of another operator: still the same
    assert driver.check(three).code == 0
    assert driver.refused == []
    driver.block(one.raw)
    assert driver.check(one, two, kind=abci.RECHECK).code == 0 and driver.refused == []
    driver.block()
    assert driver.check(one, two, kind=abci.RECHECK).code == 0 and driver.refused == [(one.copy, "nonce")]
    assert driver.check(three, kind=abci.RECHECK).code == 0
    driver.block(two.raw, three.raw)
    assert driver.check(one, two, kind=abci.RECHECK).code == 1
    assert driver.application.mempool.check(abci.CheckTx(b"nonsense")).code == 1
    assert driver.application.mempool.check(abci.CheckTx(pack([b"nonsense"]))).code == 1


def test_what_comes_before_the_block_that_it_follows_waits_for_it(driver: Driver) -> None:
    a = driver.wallet(1)
    one, two, _ = driver.claims(a, 3)
    assert driver.check(two).code == 0 and driver.refused == []
    assert driver.prepare(pack([two.raw])) == ()
    driver.block(one.raw)
    assert driver.check(two, kind=abci.RECHECK).code == 0
    assert driver.prepare(pack([two.raw])) == (two.raw,)


def test_what_never_can_be_carried_out_doesnt_wait_for_long(driver: Driver) -> None:
    a = driver.wallet(1)
    _, two = driver.claims(a, 2)
    codes = []
    for kind in (0, abci.RECHECK, abci.RECHECK):
        codes.append(driver.check(two, kind=kind).code)
        driver.block()
    assert codes == [0, 0, 1] and driver.refused == [(two.copy, "nonce")]


def test_a_signature_is_verified_once_from_the_first_look_to_the_block(driver: Driver) -> None:
    a = driver.wallet(1)
    checked = driver.application.mempool.verifier.checked
    claims = driver.claims(a, 10)
    for each in claims:
        assert driver.application.mempool.admit(each).is_done
    assert driver.check(*claims).code == 0
    proposed = driver.prepare(pack(each.raw for each in claims))
    assert driver.is_accepted(*proposed)
    driver.block(*proposed)
    assert driver.check(*claims, kind=abci.RECHECK).code == 1
    assert driver.application.mempool.verifier.checked == checked + 10
