"""The embedded engine: what it signs is true, and what it proves is of one state."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.ledger.chain import OPERATOR, genesis_of
from tests.ledger.embedded import SMALL, Clock, blocks_of, claim, opened, running, send

from zosnet.ledger.comet.signed import trouble_after
from zosnet.ledger.encoding import decode
from zosnet.ledger.engine.database import KEPT_ROOTS, Database
from zosnet.ledger.engine.embedded import Embedded
from zosnet.ledger.engine.store import LIMITS, Limits
from zosnet.ledger.records import ClaimRecord, account_key, claim_key, name_key
from zosnet.ledger.replay import Memory, replay
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import (
    ClaimDomain,
    CommitName,
    DropDomain,
    RevealName,
    commitment,
)
from zosnet.ledger.tree import verify
from zosnet.model.errors import HostError, PeerError, UsageError


def test_a_name_is_reserved_and_proven(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        hidden = CommitName(commitment(a.chain, a.account, "shop", bytes(32)))
        for operation in (hidden, RevealName("shop", bytes(32))):
            (receipt,) = send(ledger, a.transaction(operation, clock.now).raw)
            assert receipt.is_done and ledger.find(receipt.id) == receipt.height
            a.done()
        answer = ledger.query([name_key("shop"), name_key("blog")])
        root = answer.header.header.root
        there, absent = answer.items
        assert there.value and absent.value is None
        assert all(verify(root, item.key, item.value, item.proof) for item in answer.items)
        assert not verify(root, there.key, None, there.proof)
        with pytest.raises(UsageError):
            ledger.query([b""] * 1001)


def test_refused_transactions_make_no_block_and_have_a_reason(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        height = ledger.status().height
        good = a.transaction(ClaimDomain("a.example"), clock.now)
        bad = good.raw[:-1] + bytes([good.raw[-1] ^ 1])
        receipts = send(ledger, bad, b"nonsense", bytes(100_000), b"")
        assert [receipt.reason for receipt in receipts] == [
            "signature",
            "malformed",
            "malformed",
            "malformed",
        ]
        assert ledger.status().height == height and all(receipt.text for receipt in receipts)
        receipts = send(ledger, bad, good.raw, good.raw)  # each stands or falls alone
        assert [receipt.reason for receipt in receipts] == ["signature", "", "nonce"]


def test_a_signature_is_verified_once(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        for number in range(20):
            assert claim(ledger, a, f"d{number}.example", clock.now).is_done
        assert ledger.verifier.checked == 21


def test_headers_are_a_chain_and_blocks_replay_to_the_same_root(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        for number in range(30):
            clock.now += 40_000
            assert claim(ledger, a, f"d{number}.example", clock.now).is_done
        blocks, root = blocks_of(ledger), ledger.status().root
        before = None
        for signed in ledger.headers(1, 1000):
            assert trouble_after(ledger.genesis, before, signed) is None
            before = signed.header
        memory = Memory()
        assert list(replay(ledger.genesis, blocks, memory))[-1].root == root
        assert memory.get(account_key(a.account)) == ledger.query([account_key(a.account)]).items[0].value
    forged = [*blocks[:5], (blocks[5][0], ()), *blocks[6:]]
    with pytest.raises(PeerError, match="block 6"):
        list(replay(genesis_of(), forged))
    with pytest.raises(PeerError, match="block 7"):
        list(replay(genesis_of(), [*blocks[:5], *blocks[6:]]))
    stranger = genesis_of(lease_ms=1)
    with pytest.raises(PeerError, match="block 1 is wrong"):
        list(replay(stranger, blocks))


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        claim(ledger, a, "a.example", clock.now)
        before = ledger.status()
    with running(tmp_path, clock) as ledger:
        assert (ledger.status().height, ledger.status().root) == (before.height + 1, before.root)
        assert claim(ledger, a, "b.example", clock.now).is_done
        assert list(replay(ledger.genesis, blocks_of(ledger)))
    with pytest.raises(HostError, match="another operator"):
        Embedded(tmp_path, Signer(bytes([9]) * 32))
    with pytest.raises(HostError, match="another genesis"):
        Embedded(tmp_path, OPERATOR, genesis=genesis_of(lease_ms=1))
    with pytest.raises(HostError, match="no ledger here"):
        Embedded(tmp_path / "empty", OPERATOR)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with running(tmp_path), pytest.raises(HostError, match="running"):
        Embedded(tmp_path, OPERATOR)


def test_a_directory_of_several_operators_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.sqlite")
    database.set_meta("engine", b"cometbft")
    database.close()
    with pytest.raises(HostError, match="several operators"), running(tmp_path):
        pass


@pytest.mark.parametrize("limits", [LIMITS, SMALL])
def test_the_last_hundred_roots_can_be_proven(tmp_path: Path, limits: Limits) -> None:
    clock = Clock()
    with running(tmp_path, clock, limits=limits) as ledger:
        a = opened(ledger, 1, clock.now)
        wanted: dict[int, bytes | None] = {}
        key = claim_key(a.account, "a.example")
        epoch = 0
        for number in range(KEPT_ROOTS + 20):
            operation = ClaimDomain("a.example") if number % 2 == 0 else DropDomain("a.example", epoch)
            (receipt,) = send(ledger, a.transaction(operation, clock.now).raw)
            a.done()
            epoch = receipt.epoch
            wanted[receipt.height] = ledger.query([key]).items[0].value
        top = ledger.status().height
        for height in range(top - KEPT_ROOTS + 1, top + 1):
            answer = ledger.query([key], height)
            (item,) = answer.items
            assert item.value == wanted[height] and answer.header.header.height == height
            assert verify(answer.header.header.root, key, item.value, item.proof)
            assert item.value is None or decode(ClaimRecord, item.value).epoch
        assert KEPT_ROOTS >= 100 and ledger.status().oldest_root == top - KEPT_ROOTS + 1
        for height in (top - KEPT_ROOTS, top + 1, 0):
            with pytest.raises(UsageError):
                ledger.query([key], height)


def test_answers_are_of_one_height_while_blocks_are_kept_and_flushed(tmp_path: Path) -> None:
    clock, is_over = Clock(), threading.Event()
    with running(tmp_path, clock, limits=SMALL) as ledger:
        a = opened(ledger, 1, clock.now)
        keys = [account_key(a.account), claim_key(a.account, "d7.example"), name_key("none")]

        def read() -> int:
            draw, found = random.Random(1), 0
            while not is_over.is_set():
                top = ledger.status().height
                answer = ledger.query(keys, draw.choice([None, draw.randrange(max(1, top - 99), top + 1)]))
                root = answer.header.header.root
                assert all(verify(root, item.key, item.value, item.proof) for item in answer.items)
                found += 1
            return found

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for number in range(60):
                    assert claim(ledger, a, f"d{number}.example", clock.now).is_done
            finally:
                is_over.set()
            answers = sum(reader.result(timeout=30) for reader in readers)
    assert answers


def test_subscribers_hear_what_changed(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        events = ledger.subscribe()
        claim(ledger, a, "a.example", clock.now)
        event = events.get(timeout=30)
        assert event and claim_key(a.account, "a.example") in event.changed
        assert event.header.header.height == ledger.status().height
        assert events.get(timeout=0.001) is None
        events.close()
        with pytest.raises(EOFError):
            while True:
                events.get(timeout=0.001)
        assert ledger.status().subscribers == 0
