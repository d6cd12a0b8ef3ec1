"""An operator's node without its CometBFT: a receipt is of the bytes that a client sent, of no other copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.chain import OPERATOR, START, genesis_of

from zosnet.ledger.comet import abci
from zosnet.ledger.comet.envelope import pack
from zosnet.ledger.engine.cometbft.engine import Comet
from zosnet.ledger.engine.cometbft.home import Home
from zosnet.ledger.engine.cometbft.mempool import PATIENT
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.signature import Signer
from zosnet.ledger.state import Result
from zosnet.ledger.transaction import ClaimDomain, SignedTransaction, Stamp
from zosnet.ledger.wallet import Wallet
from zosnet.model.errors import HostError


class Node:
    """A node whose blocks, and what other operators send it, come from the test."""

    def __init__(self, directory: Path) -> None:
        self.now = START
        home = Home(directory / "comet", genesis_of(), OPERATOR, Signer(b"n" * 32), "127.0.0.1:1")
        self.engine = Comet(directory, home, Path("none"), clock=lambda: self.now)
        self.mempool = self.engine.application.mempool

    def opening(self, number: int = 5) -> SignedTransaction:
        wallet = Wallet(self.engine.genesis, [Signer(bytes([number]) * 32)])
        return wallet.transaction(wallet.opening(Stamp(wallet.chain, 0)), self.now)

    def judge(self) -> list[SignedTransaction]:
        """One turn of the thread that sends."""
        sender = self.engine._sender
        return sender._judge(sender._front.portion(False))

    def gossip(self, signed: SignedTransaction) -> int:
        """From another operator: whether it may not wait."""
        return self.mempool.check(abci.CheckTx(pack([signed.raw]))).code

    def block(self, *raws: bytes) -> None:
        application, time = self.engine.application, abci.Time(self.now // 1000)
        application.finalize(abci.FinalizeBlock(raws, (), b"h" * 32, application.kept.height + 1, time))
        application.commit()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.engine.close()


def forged(signed: SignedTransaction) -> SignedTransaction:
    """A copy of the same operation, so of the same id, whose signature is wrong."""
    found = SignedTransaction.parse(signed.raw[:-1] + bytes([signed.raw[-1] ^ 1]))
    assert found.id == signed.id and found.raw != signed.raw
    return found


def test_a_forged_copy_from_another_operator_answers_nobody(node: Node) -> None:
    """It comes when the node no longer takes the good one to be in CometBFT's mempool."""
    good = node.opening()
    future = node.engine.submit([good.raw])
    assert node.judge() == [good]
    for _ in range(PATIENT + 1):
        node.block()
    assert node.gossip(forged(good)) == 1
    assert not future.done()
    node.block(good.raw)
    (receipt,) = future.result(timeout=0)
    assert receipt.is_done and (receipt.id, receipt.height) == (good.id, PATIENT + 2)


def test_a_forged_copy_that_comes_while_the_good_one_is_judged_answers_nobody(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, admit = node.opening(), node.mempool.admit

    def late(signed: SignedTransaction, *, is_own: bool = False) -> Result:
        if signed == good:
            assert node.gossip(forged(good)) == 1
        return admit(signed, is_own=is_own)

    monkeypatch.setattr(node.mempool, "admit", late)
    future = node.engine.submit([good.raw])
    assert node.judge() == [good]
    assert not future.done()


def test_a_forged_copy_in_a_block_answers_nobody(node: Node) -> None:
    good = node.opening()
    future = node.engine.submit([good.raw])
    node.judge()
    node.block(forged(good).raw)
    assert not future.done()
    node.block(good.raw)
    assert future.result(timeout=0)[0].is_done


@pytest.mark.parametrize("is_forged_first", [True, False])
def test_clients_that_send_the_good_and_a_forged_copy_get_a_receipt_each(
    node: Node, *, is_forged_first: bool
) -> None:
    good = node.opening()
    raws = [good.raw, forged(good).raw]
    futures = {raw: node.engine.submit([raw]) for raw in (reversed(raws) if is_forged_first else raws)}
    assert node.judge() == [good]
    (refused,) = futures[raws[1]].result(timeout=0)
    assert not refused.is_done and not futures[good.raw].done()
    node.block(good.raw)
    assert futures[good.raw].result(timeout=0) == [Receipt(good.id, height=1, epoch=1)]


def test_a_forged_copy_is_no_good_because_the_good_one_waits(node: Node) -> None:
    good = node.opening()
    assert node.gossip(good) == 0
    assert node.gossip(forged(good)) == 1


def test_a_forged_copy_that_came_early_takes_nothing_from_the_good_one(node: Node) -> None:
    wallet = Wallet(node.engine.genesis, [Signer(b"w" * 32)])
    first = wallet.transaction(wallet.opening(Stamp(wallet.chain, 0)), node.now)
    wallet.done()
    node.block(first.raw)
    wallet.done()
    early = wallet.transaction(ClaimDomain("d.example"), node.now)
    assert node.gossip(forged(early)) == 1
    for _ in range(PATIENT):
        node.block()
    assert node.gossip(early) == 0


def test_whoever_submits_while_the_node_stops_is_told_so(node: Node) -> None:
    node.engine.close()
    with pytest.raises(HostError, match="stopping"):
        node.engine.submit([node.opening().raw]).result(timeout=0)
    assert node.engine.submit([]).result(timeout=0) == []
