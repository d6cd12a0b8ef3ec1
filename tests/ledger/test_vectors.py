"""Recorded blocks with every operation, and bytes of each kind: what another program must agree with.

`python -m tests.ledger.test_vectors` writes the file anew; a change of it is a change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.chain import OPERATOR, Chain, genesis_of

from zosnet.ledger.encoding import decode, encode
from zosnet.ledger.engine.embedded import Embedded
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import Header, SignedHeader, sign_header, transactions_hash
from zosnet.ledger.records import cluster_id, name_key
from zosnet.ledger.replay import Memory, replay
from zosnet.ledger.signature import Signer
from zosnet.ledger.state import Block
from zosnet.ledger.transaction import (
    AcceptName,
    ClaimDomain,
    ClusterBody,
    CommitName,
    Delegate,
    DomainHost,
    DropDomain,
    GatewayBody,
    NameHost,
    NetworkBody,
    Operation,
    PutCluster,
    PutGateway,
    PutNetwork,
    PutRevocations,
    PutRoute,
    ReleaseName,
    RenewName,
    RevealName,
    RevocationsBody,
    RotateKeys,
    RouteBody,
    SignedTransaction,
    Stamp,
    TransferName,
    commitment,
    stamp_value,
)  # fmt: skip
from zosnet.ledger.tree import Proof, Tree, prove, verify
from zosnet.ledger.wallet import Wallet, consent, key_set, work

FILE = Path(__file__).parents[2] / "docs" / "protocols" / "ledger-vectors.json"
SALT = bytes(range(32))
NETWORK, GATEWAY = Signer(b"\x02" * 32), Signer(b"\x03" * 32)


class Recorder:
    """Blocks with headers, as an engine would make them, of one transaction each."""

    def __init__(self, genesis: Genesis) -> None:
        self.chain = Chain(genesis)
        self.memory = Memory()
        self.tree = Tree(self.memory.pages.get)
        self.blocks: list[tuple[SignedHeader, tuple[bytes, ...]]] = []
        self.previous = genesis.chain

    def add(self, *transactions: SignedTransaction) -> list[int]:
        chain, machine = self.chain, self.chain.machine
        chain.height += 1
        chain.now += 1000
        machine.begin(Block(chain.height, chain.now, self.previous))
        results = [machine.apply(each) for each in transactions]
        assert all(result.is_done for result in results), results
        records = chain.end()
        root, pages = self.tree.update(records)
        self.memory.keep(records, pages)
        self.tree.settle()
        raws = tuple(each.raw for each in transactions)
        content, genesis = transactions_hash(raws), chain.genesis
        header = Header(1, genesis.chain, chain.height, chain.now, self.previous, content, root)
        self.blocks.append((sign_header(header, OPERATOR), raws))
        self.previous = header.hash
        return [result.epoch for result in results]

    def do(self, wallet: Wallet, operation: Operation) -> int:
        (epoch,) = self.add(wallet.transaction(operation, self.chain.now + 1000))
        wallet.done()
        return epoch

    def open(self, number: int, threshold: int, keys: int) -> Wallet:
        wallet = Wallet(
            self.chain.genesis, [Signer(bytes([number, each]) * 16) for each in range(keys)], threshold
        )
        bits = self.chain.genesis.parameters.stamp_bits
        self.do(wallet, wallet.opening(work(wallet.chain, wallet.account, wallet.chain, bits)))
        return wallet


def record() -> Recorder:
    """Every operation at least once."""
    to = Recorder(genesis_of(stamp_bits=8, reserved=("www", "admin")))
    to.add()
    a, b = to.open(1, 2, 3), to.open(2, 1, 1)
    to.do(a, CommitName(commitment(a.chain, a.account, "shop", SALT)))
    name = to.do(a, RevealName("shop", SALT))
    name = to.do(a, RenewName("shop", name))
    cluster = PutCluster("eu", 0, ClusterBody(("eu.example", "gate.example"), (GATEWAY.public,)))
    to.do(a, cluster)
    to.do(a, PutGateway(GATEWAY.public, 0, GatewayBody(("[2001:db8::1]:443",))))
    word = consent(a.chain, a.account, NETWORK)
    to.do(a, PutNetwork(NETWORK.public, 0, NetworkBody(bytes(32), 1), word))
    to.do(a, PutRevocations(NETWORK.public, 0, RevocationsBody(bytes(32), 1)))
    body = RouteBody(NETWORK.public, "web", 443, 0, 0, cluster_id(a.account, "eu"))
    to.do(a, PutRoute(NameHost("shop"), 0, body))
    to.do(a, Delegate("api.shop", 0, b.account))
    to.do(b, PutRoute(NameHost("v1.api.shop"), 0, body))
    claim = to.do(b, ClaimDomain("shop.example"))
    to.do(b, PutRoute(DomainHost("shop.example"), 0, body))
    to.do(b, DropDomain("shop.example", claim))
    new = [Signer(b"\x09" * 32)]
    to.do(a, RotateKeys(key_set(new, 1)[0]))
    a.rotated(new, 1)
    offer = to.do(a, TransferName("shop", name, b.account))
    mine = to.do(b, AcceptName("shop", offer))
    to.do(b, ReleaseName("shop", mine))
    to.do(b, CommitName(commitment(b.chain, b.account, "blog", SALT)))
    to.do(b, RevealName("blog", SALT))
    return to


def vectors() -> dict[str, Any]:
    """The file's content."""
    to = record()
    genesis = to.chain.genesis
    root = to.blocks[-1][0].header.root
    proofs = []
    for key in (name_key("blog"), name_key("shop")):
        value = to.memory.get(key)
        proof = prove(to.memory.pages.get, key)
        assert verify(root, key, value, proof)
        proofs.append(
            {"key": key.hex(), "value": value.hex() if value else None, "proof": encode(proof).hex()}
        )
    stamp = Stamp(genesis.chain, 7)
    return {
        "genesis": encode(genesis).hex(),
        "chain": genesis.chain.hex(),
        "commitment": {
            "account": "00" * 32, "name": "shop", "salt": SALT.hex(),
            "commitment": commitment(genesis.chain, bytes(32), "shop", SALT).hex(),
        },
        "stamp": {
            "account": "00" * 32, "stamp": encode(stamp).hex(),
            "value": f"{stamp_value(genesis.chain, bytes(32), stamp):064x}",
        },
        "blocks": [
            {
                "header": header.raw.hex(), "hash": header.header.hash.hex(),
                "root": header.header.root.hex(),
                "transactions": [raw.hex() for raw in raws],
                "ids": [SignedTransaction.parse(raw).id.hex() for raw in raws],
            }
            for header, raws in to.blocks
        ],
        "proofs": proofs,
    }  # fmt: skip


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def test_the_vectors_are_those_that_are_written_down(written: dict[str, Any]) -> None:
    assert vectors() == written


def blocks_of(written: dict[str, Any]) -> list[tuple[SignedHeader, tuple[bytes, ...]]]:
    return [
        (SignedHeader.parse(bytes.fromhex(each["header"])), tuple(map(bytes.fromhex, each["transactions"])))
        for each in written["blocks"]
    ]


def test_recorded_blocks_give_the_recorded_roots(written: dict[str, Any]) -> None:
    genesis = decode(Genesis, bytes.fromhex(written["genesis"]))
    roots = [header.root.hex() for header in replay(genesis, blocks_of(written))]
    assert roots == [each["root"] for each in written["blocks"]]
    for each in written["proofs"]:
        value = None if each["value"] is None else bytes.fromhex(each["value"])
        proof = decode(Proof, bytes.fromhex(each["proof"]))
        assert verify(bytes.fromhex(roots[-1]), bytes.fromhex(each["key"]), value, proof)


def test_the_engine_gives_the_same_roots(written: dict[str, Any], tmp_path: Path) -> None:
    genesis = decode(Genesis, bytes.fromhex(written["genesis"]))
    wanted = blocks_of(written)
    now = wanted[0][0].header.time_ms
    ledger = Embedded(
        tmp_path, OPERATOR, genesis=genesis, clock=lambda: now, steady=lambda: 0, idle_s=60.0
    ).start()
    try:
        for header, raws in wanted[1:]:
            now = header.header.time_ms
            assert all(receipt.is_done for receipt in ledger.submit(list(raws)).result(timeout=30))
            made = ledger.block(header.header.height)
            assert made and made.header == header and made.transactions == raws
    finally:
        ledger.close()


def test_every_operation_is_in_the_vectors(written: dict[str, Any]) -> None:
    seen = {
        type(SignedTransaction.parse(raw).transaction.operation)
        for _, raws in blocks_of(written)
        for raw in raws
    }
    assert seen == set(Operation.__args__)


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
