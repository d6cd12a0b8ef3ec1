"""The application behind ABCI, without CometBFT: what a block does, and what is kept of it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from tests.ledger.chain import OPERATOR, genesis_of
from tests.ledger.comet_driver import Driver
from tests.ledger.embedded import Clock, blocks_of, opened, running
from tests.ledger.test_vectors import FILE

from zosnet.ledger.comet import abci
from zosnet.ledger.comet.signed import chain_name
from zosnet.ledger.encoding import decode
from zosnet.ledger.engine.database import KEPT_ROOTS, Snapshot
from zosnet.ledger.genesis import Genesis, Switch
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.records import ClaimRecord, account_key, claim_key
from zosnet.ledger.signature import Signer
from zosnet.ledger.state import Result
from zosnet.ledger.transaction import ClaimDomain, RotateKeys
from zosnet.ledger.tree import prove, verify
from zosnet.ledger.wallet import key_set
from zosnet.model.errors import HostError


def test_recorded_blocks_have_the_same_roots_as_in_the_vectors(tmp_path: Path) -> None:
    written = json.loads(FILE.read_text())
    driver = Driver(tmp_path, decode(Genesis, bytes.fromhex(written["genesis"])))
    for block in written["blocks"]:
        header = SignedHeader.parse(bytes.fromhex(block["header"])).header
        driver.now = header.time_ms
        found = driver.finalize(*map(bytes.fromhex, block["transactions"]), name=header.hash)
        assert found.app_hash == header.root and not any(each.code for each in found.tx_results)
        driver.application.commit()
    assert len(written["blocks"]) > 10
    driver.database.close()


def test_blocks_of_the_embedded_engine_have_the_same_roots_here(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path / "embedded", clock) as ledger:
        wallets = [opened(ledger, number, clock.now) for number in range(1, 8)]
        for turn in range(20):
            clock.now += 10_000
            raws = []
            for number, wallet in enumerate(wallets):
                raws.append(wallet.transaction(ClaimDomain(f"d{turn}x{number}.example"), clock.now).raw)
                wallet.done()
            assert all(receipt.is_done for receipt in ledger.submit(raws).result(timeout=30))
        blocks = blocks_of(ledger)
    driver = Driver(tmp_path, ledger.genesis)
    for signed, raws_ in blocks:
        driver.now = signed.header.time_ms
        # Proposed, voted on and decided: each of them carries the block out, or finds that it has been.
        assert driver.is_accepted(*raws_)
        assert driver.finalize(*raws_, name=signed.header.hash).app_hash == signed.header.root
        driver.application.commit()
    driver.database.close()


def test_what_the_disk_broke_off_leaves_nothing(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("disk I/O error")

    (one,) = driver.claims(driver.wallet(1), 1)
    mempool = driver.application.mempool
    with monkeypatch.context() as broken:
        handlers = {**mempool._ahead._handlers, ClaimDomain: refuse}
        broken.setattr(mempool._ahead, "_handlers", handlers)
        with pytest.raises(OSError):
            mempool.admit(one)
    assert mempool.admit(one).is_done


def test_what_is_not_committed_is_not_there_after_a_crash(driver: Driver) -> None:
    a = driver.wallet(1)
    before = driver.application.handle(abci.Info())
    (signed,) = driver.claims(a, 1)
    root = driver.finalize(signed.raw).app_hash
    driver.database.close()
    assert driver.open().handle(abci.Info()) == before
    assert driver.finalize(signed.raw).app_hash == root
    driver.application.commit()
    driver.database.close()
    found = driver.open().handle(abci.Info())
    assert isinstance(found, abci.InfoAnswer)
    assert (found.last_block_height, found.last_block_app_hash) == (driver.height - 1, root)


def test_rules_that_are_not_known_yet_stop_the_node_with_a_remedy(tmp_path: Path) -> None:
    driver = Driver(tmp_path, genesis_of(schedule=(Switch(1, 1), Switch(3, 9))))
    driver.block()
    driver.finalize()
    with pytest.raises(HostError) as error:
        driver.application.commit()
    assert "newer" in error.value.remedy
    driver.database.close()


def test_a_decided_block_is_carried_out_whatever_it_has(driver: Driver) -> None:
    a = driver.wallet(1)
    (good,) = driver.claims(a, 1)
    found = driver.finalize(b"junk", good.raw, good.raw)
    assert [each.code for each in found.tx_results] == [1, 0, 1]
    driver.application.commit()
    assert isinstance(driver.application.kept.root, bytes) and list(driver.done[-1].receipts) == [good.copy]


def test_the_last_roots_can_be_proven_whatever_was_proposed_between(driver: Driver) -> None:
    a, b = driver.wallet(1), driver.wallet(2)
    roots: dict[int, bytes] = {}
    for number in range(KEPT_ROOTS + 4):
        new = [Signer(bytes([3 + number % 2]) * 32)]
        one = driver.sign(a, RotateKeys(key_set(new, 1)[0]))
        a.done()
        a.rotated(new, 1)
        assert driver.is_accepted(driver.sign(b, ClaimDomain("other.example")).raw)  # a round that fails
        root = driver.block(one.raw)
        roots[driver.application.kept.height] = root
    snapshot = Snapshot(driver.directory / "ledger.sqlite")
    top = snapshot.top()
    assert top == max(roots)
    key, values = account_key(a.account), set()
    for at in range(top - KEPT_ROOTS + 1, top + 1):
        value = snapshot.record(key, at, top)
        values.add(value)
        proof = prove(partial(snapshot.page, height=at, newest=top), key)
        assert value and verify(roots[at], key, value, proof), at
    assert len(values) == KEPT_ROOTS
    snapshot.close()


def test_a_disk_that_refuses_keeps_nothing_and_is_told(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = driver.wallet(1)
    (signed,) = driver.claims(a, 1)
    root, kept = driver.finalize(signed.raw).app_hash, driver.application.kept

    def refuse(*_: object, **__: object) -> None:
        raise HostError("full")

    with monkeypatch.context() as patch:
        patch.setattr(driver.database, "keep", refuse)
        with pytest.raises(HostError):
            driver.application.commit()
    assert driver.application.kept == kept
    driver.application.commit()  # it can be tried again
    assert driver.application.kept.root == root


def test_another_ledgers_genesis_is_refused(driver: Driver) -> None:
    own = abci.ValidatorUpdate(abci.PublicKey(OPERATOR.public), 1)
    name = chain_name(driver.genesis)
    assert driver.application.begin(abci.InitChain(driver.time, name, (own,))).app_hash
    for bad in (abci.InitChain(driver.time, "other", (own,)), abci.InitChain(driver.time, name, ())):
        with pytest.raises(HostError):
            driver.application.begin(bad)
    with pytest.raises(HostError, match="block 9"):
        driver.application.finalize(abci.FinalizeBlock((), (), b"h" * 32, 9, driver.time))


def test_questions_that_need_no_state(driver: Driver) -> None:
    answer = driver.application.handle
    assert answer(abci.Echo("hello")) == abci.Echo("hello")
    assert answer(abci.Named("list_snapshots")) == answer(abci.Named("flush")) == abci.Empty()
    for word in ("extend_vote", "verify_vote_extension"):
        with pytest.raises(HostError):
            answer(abci.Named(word))
    a = driver.wallet(1)
    found = answer(abci.Query(account_key(a.account)))
    assert isinstance(found, abci.QueryAnswer) and found.code == 0 and found.value
    assert answer(abci.Query(b"\x05none")).code == 1  # type: ignore[attr-defined]


def test_a_result_has_the_epoch_of_its_record(driver: Driver) -> None:
    a = driver.wallet(1)
    (signed,) = driver.claims(a, 1)
    driver.block(signed.raw)
    raw = driver.database.get(claim_key(a.account, "d1x0.example"))
    assert raw is not None
    assert decode(ClaimRecord, raw).epoch == driver.done[-1].receipts[signed.copy].epoch > 0
    assert claim_key(a.account, "d1x0.example") in driver.done[-1].changed
    assert Result().is_done
