"""The embedded engine: what it acknowledges is kept, what it signs is true, and a bad clock stops it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.ledger.chain import OPERATOR, START, genesis_of

from zosnet.ledger.comet.signed import trouble_after
from zosnet.ledger.encoding import decode
from zosnet.ledger.engine import embedded
from zosnet.ledger.engine.database import KEPT_ROOTS, Database
from zosnet.ledger.engine.embedded import Embedded, now_ms
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.engine.pace import SHORT_BLOCK
from zosnet.ledger.engine.store import LIMITS, Limits
from zosnet.ledger.engine.turns import Turns
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.records import ClaimRecord, account_key, claim_key, name_key
from zosnet.ledger.replay import Memory, replay
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import (
    ClaimDomain,
    CommitName,
    DropDomain,
    RevealName,
    Stamp,
    commitment,
)
from zosnet.ledger.tree import verify
from zosnet.ledger.wallet import Wallet
from zosnet.model.errors import HostError, PeerError, UsageError

PROJECT = Path(__file__).parents[2]
#: A flush every few blocks.
SMALL = Limits(rows=40, blocks=7)


class Clock:
    """A clock that goes on by a millisecond each time it is read, and where it is told to."""

    def __init__(self) -> None:
        self.now = START + 1000

    def __call__(self) -> int:
        self.now += 1
        return self.now


@contextmanager
def running(
    directory: Path,
    clock: Callable[[], int] | None = None,
    idle_s: float = 60.0,
    steady: Callable[[], int] = lambda: 0,
    hook: Callable[[str], None] = lambda _: None,
    *,
    limits: Limits = LIMITS,
) -> Iterator[Embedded]:
    ledger = Embedded(
        directory,
        OPERATOR,
        genesis=genesis_of(),
        clock=clock or Clock(),
        steady=steady,
        idle_s=idle_s,
        hook=hook,
        limits=limits,
    ).start()
    try:
        yield ledger
    finally:
        ledger.close()


def send(ledger: Embedded, *raws: bytes) -> list[Receipt]:
    return ledger.submit(list(raws)).result(timeout=30)


def opened(ledger: Embedded, number: int, now: int) -> Wallet:
    wallet = Wallet(ledger.genesis, [Signer(bytes([number]) * 32)])
    (receipt,) = send(ledger, wallet.transaction(wallet.opening(Stamp(wallet.chain, 0)), now).raw)
    assert receipt.is_done, receipt
    wallet.done()
    return wallet


def claim(ledger: Embedded, wallet: Wallet, domain: str, now: int) -> Receipt:
    (receipt,) = send(ledger, wallet.transaction(ClaimDomain(domain), now).raw)
    if receipt.is_done:
        wallet.done()
    return receipt


def blocks_of(ledger: Embedded) -> list[tuple[SignedHeader, tuple[bytes, ...]]]:
    found = [ledger.block(height) for height in range(1, ledger.status().height + 1)]
    return [(block.header, block.transactions) for block in found if block]


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


def test_state_that_is_not_that_of_the_header_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as ledger:
        opened(ledger, 1, START + 1000)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("UPDATE page SET value = x'00000000' WHERE key = x''")
    connection.close()
    with pytest.raises(HostError, match="not that of its last header"):
        Embedded(tmp_path, OPERATOR)


def test_no_block_is_signed_while_the_clock_is_behind(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        height, present = ledger.status().height, clock.now
        clock.now -= 10_000
        with pytest.raises(HostError, match="behind"):
            claim(ledger, a, "a.example", present)
        assert ledger.status().height == height and "behind" in ledger.status().trouble
        clock.now = present
        assert claim(ledger, a, "a.example", clock.now).is_done
        assert ledger.status().trouble == "" and ledger.status().height == height + 1
        times = [signed.header.time_ms for signed in ledger.headers(1, 100)]
        assert times == sorted(set(times))


def test_a_step_back_is_noticed_though_no_block_is_that_young(tmp_path: Path) -> None:
    clock, steady = Clock(), Clock()
    with running(tmp_path, clock, steady=steady) as ledger:
        a = opened(ledger, 1, clock.now)
        clock.now += 60_000
        steady.now += 60_000
        height = ledger.status().height
        clock.now -= 30_000  # still half a minute after the last block
        with pytest.raises(HostError, match="behind"):
            claim(ledger, a, "a.example", clock.now)
        assert ledger.status().height == height and "behind" in ledger.status().trouble
        clock.now += 20_000
        with pytest.raises(HostError, match="behind"):
            claim(ledger, a, "a.example", clock.now)
        clock.now += 11_000
        assert claim(ledger, a, "a.example", clock.now).is_done and ledger.status().trouble == ""


def test_a_step_back_shows_in_the_status_before_anybody_submits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOOK_S", 0.01)
    clock, steady = Clock(), Clock()
    with running(tmp_path, clock, steady=steady) as ledger:
        steady.now += 1000
        ends = time.monotonic() + 30
        while not ledger.status().trouble:
            assert time.monotonic() < ends
            time.sleep(0.01)
        assert "behind" in ledger.status().trouble


def test_whoever_asks_first_after_a_start_gets_a_present_block(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        assert ledger.query([name_key("shop")]).header.header.height == 1
        opened(ledger, 1, clock.now)
    clock.now += 3_600_000
    with running(tmp_path, clock) as ledger:
        header = ledger.query([name_key("shop")]).header.header
        assert header.height == 3 and clock.now - header.time_ms < 5000
    clock.now -= 1_800_000
    with running(tmp_path, clock) as ledger:  # what there is can be read even so
        assert ledger.query([name_key("shop")]).header.header == header
        assert "behind" in ledger.status().trouble


def test_an_idle_ledger_makes_empty_blocks_and_judges_at_the_present_time(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock, idle_s=0.02) as ledger:
        events = ledger.subscribe()
        found = [events.get(timeout=30) for _ in range(3)]
        headers = [event.header.header for event in found if event]
        assert len({header.root for header in headers}) == 1
        assert [header.height for header in headers] == list(range(headers[0].height, headers[0].height + 3))
        a = opened(ledger, 1, clock.now)
        clock.now += 12 * 3_600_000  # a night
        late = a.transaction(ClaimDomain("a.example"), clock.now - 200_000)
        assert send(ledger, late.raw)[0].reason == "expired"
        assert claim(ledger, a, "a.example", clock.now).is_done
        newest = ledger.headers(ledger.status().height, 1)[0].header
        assert clock.now - newest.time_ms < 5000
    assert embedded.IDLE_S < 5


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


@pytest.mark.parametrize("which", ["journal", "database"])
def test_a_full_disk_loses_nothing(tmp_path: Path, which: str) -> None:
    clock = Clock()
    with running(tmp_path, clock, limits=SMALL) as ledger:
        a = opened(ledger, 1, clock.now)
        before = ledger.status()
        connection = getattr(ledger._store, which)._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(HostError, match="full"):
            for number in range(2000):
                claim(ledger, a, f"d{number}.example", clock.now)
                before = ledger.status()
        for number in range(2):
            with pytest.raises(HostError, match="full"):
                claim(ledger, a, f"again{number}.example", clock.now)
        assert ledger.status().root == before.root and "full" in ledger.status().trouble
        connection.execute("PRAGMA max_page_count = 1000000")
        assert claim(ledger, a, "after.example", clock.now).reason in ("", "quota")
        assert list(replay(ledger.genesis, blocks_of(ledger)))[-1].root == ledger.status().root


def test_what_memory_alone_had_is_carried_out_again(tmp_path: Path) -> None:
    clock, kept = Clock(), tmp_path / "kept"
    with running(tmp_path / "ledger", clock) as ledger:
        a = opened(ledger, 1, clock.now)
        for number in range(20):
            (receipt,) = send(ledger, a.transaction(ClaimDomain(f"d{number}.example"), clock.now).raw)
            a.done()
        shutil.copytree(tmp_path / "ledger", kept)  # as a crash leaves it
        status, height = ledger.status(), receipt.height - 9
        wanted = ledger.query([account_key(a.account)], height)
    with running(kept, clock) as ledger:
        assert (ledger.status().height, ledger.status().root) == (status.height + 1, status.root)
        assert ledger.find(receipt.id) == receipt.height
        assert ledger.query([account_key(a.account)], height) == wanted
        assert claim(ledger, a, "after.example", clock.now).is_done
    (kept / "blocks.sqlite").unlink()
    with pytest.raises(HostError, match="blocks are missing"):
        Embedded(kept, OPERATOR)


def test_a_block_that_gives_another_root_is_refused(tmp_path: Path) -> None:
    clock, kept = Clock(), tmp_path / "kept"
    with running(tmp_path / "ledger", clock) as ledger:
        opened(ledger, 1, clock.now)
        shutil.copytree(tmp_path / "ledger", kept)
    with sqlite3.connect(kept / "blocks.sqlite") as connection:
        connection.execute("UPDATE block SET transactions = x'' WHERE height = 2")
    connection.close()
    with pytest.raises(HostError, match="not that of its last header"):
        Embedded(kept, OPERATOR)


#: `make soak` takes 200.
KILLS = int(os.environ.get("ZOSNET_LEDGER_KILLS", "2"))
POINTS = ["before-write", "before-commit", "after-commit", "before-acknowledgement"]
#: A flush is every few blocks, so that these are passed less often.
STATE_POINTS = ["state-before-write", "state-between-writes", "state-before-commit", "state-after-commit"]


def kills() -> list[tuple[str, int]]:
    """Each point early, and some at random."""
    draw = random.Random(1)
    drawn = [(draw.choice(POINTS + STATE_POINTS), draw.randrange(1, 60)) for _ in range(KILLS)]
    return [(point, 2) for point in POINTS + STATE_POINTS] + [
        (point, count if point in POINTS else 1 + count // 8) for point, count in drawn
    ]


@pytest.mark.parametrize(("point", "count"), kills())
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, point: str, count: int) -> None:
    words = [sys.executable, "-m", "tests.ledger.crash_child", str(tmp_path), point, str(count)]
    child = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    acknowledged = [line.split() for line in child.stdout.splitlines()]
    assert all(len(words) == 1 for words in acknowledged)
    ledger = Embedded(tmp_path, OPERATOR, limits=SMALL).start()
    try:
        for (identity,) in acknowledged:
            assert ledger.find(bytes.fromhex(identity)) is not None
        blocks = blocks_of(ledger)
        assert list(replay(ledger.genesis, blocks))[-1].root == ledger.status().root
        known = sum(len(transactions) for _, transactions in blocks)
        assert len(acknowledged) <= known <= len(acknowledged) + 2
        fresh = opened(ledger, 200, now_ms())
        assert claim(ledger, fresh, "a.example", now_ms()).is_done
    finally:
        ledger.close()
    shutil.rmtree(tmp_path)
