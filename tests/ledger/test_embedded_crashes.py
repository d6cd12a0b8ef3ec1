"""The embedded engine after a crash, or on a full disk: what it acknowledged is kept."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.ledger.chain import OPERATOR, START
from tests.ledger.embedded import SMALL, Clock, blocks_of, claim, opened, running, send

from zosnet.ledger.engine.embedded import Embedded, now_ms
from zosnet.ledger.records import account_key
from zosnet.ledger.replay import replay
from zosnet.ledger.transaction import ClaimDomain
from zosnet.model.errors import HostError

PROJECT = Path(__file__).parents[2]


def test_state_that_is_not_that_of_the_header_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as ledger:
        opened(ledger, 1, START + 1000)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("UPDATE page SET value = x'00000000' WHERE key = x''")
    connection.close()
    with pytest.raises(HostError, match="not that of its last header"):
        Embedded(tmp_path, OPERATOR)


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
