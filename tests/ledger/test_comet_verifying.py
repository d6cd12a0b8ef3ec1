"""What other operators send is verified while others have the lock, and what is judged stays in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.chain import genesis_of
from tests.ledger.comet_driver import Driver

from zosnet._core import verify_signatures
from zosnet.ledger import signature
from zosnet.ledger.comet import abci
from zosnet.ledger.comet.envelope import pack
from zosnet.ledger.engine.cometbft import mempool
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import ClaimDomain, NetworkBody, PutNetwork, SignedTransaction, Stamp
from zosnet.ledger.wallet import Wallet, admit, consent, key_set

GOVERNORS = [Signer(bytes([60 + number]) * 32) for number in range(3)]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    made = Driver(tmp_path, genesis_of(governors=key_set(GOVERNORS, 2)[0]))
    yield made
    made.database.close()


class Watch:
    """Whether whoever verifies a signature has the application's lock meanwhile."""

    def __init__(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        self.with_lock: list[bool] = []
        self.meanwhile: Callable[[], Any] = lambda: None
        self._driver = driver
        monkeypatch.setattr(mempool, "verify_signatures", self._wrap(verify_signatures))
        monkeypatch.setattr(signature, "verify", self._wrap(signature.verify))

    def _wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def verify(*args: Any) -> Any:
            # In these tests no other thread asks, so one gets the lock exactly if this one hasn't got it.
            self.with_lock.append(not self.is_free())
            self.meanwhile()
            return real(*args)

        return verify

    def is_free(self) -> bool:
        lock, found = self._driver.application.lock, list[bool]()

        def look() -> None:
            if is_free := lock.acquire(blocking=False):
                lock.release()
            found.append(is_free)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return found[0]


@pytest.fixture
def watch(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(driver, monkeypatch)


def envelope(*signed: SignedTransaction) -> abci.CheckTx:
    return abci.CheckTx(pack(each.raw for each in signed))


def code(driver: Driver, *signed: SignedTransaction) -> int:
    answer = driver.application.handle(envelope(*signed))
    assert isinstance(answer, abci.CheckedTx)
    return answer.code


def wrong(signed: SignedTransaction) -> SignedTransaction:
    return SignedTransaction.parse(signed.raw[:-1] + bytes([signed.raw[-1] ^ 1]))


def all_kinds(driver: Driver) -> list[SignedTransaction]:
    """An account with the governors' word, what it does next, and what another key must consent to."""
    wallet = Wallet(driver.genesis, [Signer(b"n" * 32)])
    word = admit(wallet.chain, wallet.account, driver.now + 10_000, dict(enumerate(GOVERNORS[:2])))
    network = Signer(b"net".ljust(32))
    agreed = consent(wallet.chain, wallet.account, network)
    operations = (
        wallet.opening(word),
        ClaimDomain("d.example"),
        PutNetwork(network.public, 0, NetworkBody(bytes(32), 1), agreed),
    )
    found = []
    for each in operations:
        found.append(driver.sign(wallet, each))
        wallet.done()
    return found


def test_no_signature_of_an_envelope_is_verified_under_the_lock(driver: Driver, watch: Watch) -> None:
    signed = all_kinds(driver)
    assert code(driver, *signed) == 0
    assert set(driver.application.mempool._waiting) == {each.copy for each in signed}
    assert watch.with_lock and not any(watch.with_lock)
    claim = driver.claims(driver.wallet(1), 1)[0]
    watch.with_lock.clear()
    assert code(driver, wrong(claim)) == 1 and code(driver, claim) == 0
    assert watch.with_lock == [False, False]


def test_no_signature_of_a_proposal_is_verified_under_the_lock(driver: Driver, watch: Watch) -> None:
    claims = driver.claims(driver.wallet(1), 5)
    txs = tuple(each.raw for each in claims)
    watch.with_lock.clear()
    vote = abci.ProcessProposal((*txs, b"junk"), b"h" * 32, driver.height, driver.time)
    assert driver.application.handle(vote) == abci.Verdict(abci.REJECT)
    vote = abci.ProcessProposal(txs, b"h" * 32, driver.height, driver.time)
    assert driver.application.handle(vote) == abci.Verdict(abci.ACCEPT)
    assert watch.with_lock == [False]


def test_what_a_block_has_while_its_signature_is_verified_is_not_refused(
    driver: Driver, watch: Watch
) -> None:
    (claim,) = driver.claims(driver.wallet(1), 1)
    blocks: list[bytes] = []

    def meanwhile() -> None:
        if not blocks:
            blocks.append(b"")
            blocks[0] = driver.block(claim.raw)

    watch.meanwhile = meanwhile
    assert code(driver, claim) == 1
    assert driver.refused == [] and not driver.application.mempool._waiting
    assert list(driver.done[-1].receipts) == [claim.copy]


def test_what_comes_by_two_ways_at_once_waits_once_and_in_order(driver: Driver) -> None:
    wallets = [driver.wallet(number) for number in range(1, 5)]
    rows = [driver.claims(wallet, 30) for wallet in wallets]
    begin = threading.Barrier(3)

    def own() -> list[str]:
        begin.wait(30)
        return [driver.application.mempool.admit(each, is_own=True).reason for row in rows for each in row]

    def foreign(order: int) -> list[int]:
        begin.wait(30)
        return [code(driver, *row[start : start + 10]) for start in (0, 10, 20) for row in rows[::order]]

    with ThreadPoolExecutor(3) as pool:
        mine, one, other = pool.submit(own), pool.submit(foreign, 1), pool.submit(foreign, -1)
        assert mine.result(60) == [""] * 120 and one.result(60) == other.result(60) == [0] * 12
    assert driver.refused == []
    pool_ = driver.application.mempool
    assert len(pool_._waiting) == 120 == len(pool_._own) + len(pool_._others)
    waiting = [each.signed for each in pool_._waiting.values()]
    for row in rows:
        assert row == [each for each in waiting if each.transaction.account == row[0].transaction.account]
    txs = driver.prepare(*(pack(each.raw for each in row) for row in rows))
    assert len(txs) == 120 and driver.is_accepted(*txs)


def test_an_opening_by_stamp_needs_nothing_else(driver: Driver, watch: Watch) -> None:
    wallet = Wallet(driver.genesis, [Signer(b"s" * 32)])
    assert code(driver, driver.sign(wallet, wallet.opening(Stamp(wallet.chain, 0)))) == 0
    assert watch.with_lock == [False]
