"""An embedded ledger that can't be opened or started gives back what it had: no thread, no file stays."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.chain import OPERATOR, genesis_of
from tests.ledger.embedded import Clock, claim, opened, running
from tests.ledger.left import Left, fail_at, refuse_at_each_step

from zosnet.ledger.engine import database, embedded, journal, keeper, recovery, store, wal
from zosnet.ledger.engine.embedded import Embedded
from zosnet.ledger.engine.store import Limits
from zosnet.model.errors import HostError

#: While a ledger is recovered, changes are flushed and the log is worked in, by threads.
TINY = Limits(rows=6, blocks=2)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger as a crash leaves it: nothing is flushed, so all blocks are carried out again."""
    directory, clock = tmp_path_factory.mktemp("kept"), Clock()
    with running(directory / "ledger", clock) as ledger:
        wallet = opened(ledger, 1, clock.now)
        for number in range(6):
            claim(ledger, wallet, f"d{number}.example", clock.now)
        shutil.copytree(directory / "ledger", directory / "copy")
    return directory / "copy"


def open_(directory: Path) -> Embedded:
    # The clock of a later time than the blocks'.
    clock = Clock()
    clock.now += 10_000
    return Embedded(
        directory, OPERATOR, genesis=genesis_of(), clock=clock, steady=lambda: 0, idle_s=60.0, limits=TINY
    )


@pytest.mark.parametrize("is_new", [True, False])
def test_a_disk_that_refuses_at_any_step_leaves_nothing_open(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, *, is_new: bool
) -> None:
    before = None if is_new else kept
    refuse_at_each_step(tmp_path, before, monkeypatch, lambda each: open_(each).start().close(), Left)


STEPS = [
    *((embedded, name) for name in ("Store", "kept_genesis", "BatchVerifier", "Ahead", "Machine", "Tree")),
    *((embedded, name) for name in ("recover", "Watch", "lock", "Turns", "Pace", "Keeper")),
    *((store, name) for name in ("Database", "Journal", "Snapshot", "ThreadPoolExecutor")),
    *((module, "Tidier") for module in (database, journal)),
    *((module, "ThreadPoolExecutor") for module in (keeper, wal)),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[0].__name__}.{step[1]}")
@pytest.mark.parametrize("error", [OSError("too many open files"), MemoryError(), KeyboardInterrupt()])
def test_what_fails_while_it_is_opened_leaves_nothing_open(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str], error: BaseException
) -> None:
    left = Left(tmp_path)
    shutil.copytree(kept, tmp_path / "ledger")
    fail_at(step, error, monkeypatch, lambda: open_(tmp_path / "ledger"), left)
    open_(tmp_path / "ledger").start().close()
    assert left() == ([], [])


def test_a_recovery_that_fails_at_its_end_leaves_nothing_open(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then changes have been flushed by threads."""
    shutil.copytree(kept, tmp_path / "ledger")
    left, real = Left(tmp_path), recovery.recover
    seen: list[int] = []

    def recover(*args: Any) -> None:
        real(*args)
        seen.extend([len(left()[0])])
        raise HostError("the end")

    with monkeypatch.context() as broken:
        broken.setattr(embedded, "recover", recover)
        with pytest.raises(HostError, match="the end"):
            open_(tmp_path / "ledger")
    assert seen[0] > 0 and left() == ([], [])


@pytest.mark.parametrize("name", ["blocks.sqlite", "ledger.sqlite"])
def test_a_corrupt_file_leaves_nothing_open(tmp_path: Path, kept: Path, name: str) -> None:
    shutil.copytree(kept, tmp_path / "ledger")
    for each in (tmp_path / "ledger").glob(f"{name}*"):
        each.write_bytes(b"\xff" * each.stat().st_size)
    left = Left(tmp_path)
    with pytest.raises(HostError) as held:
        open_(tmp_path / "ledger")
    assert held.value.remedy and left() == ([], [])


def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, ledger = Left(tmp_path), open_(tmp_path / "ledger")

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(ledger._store.journal, "append", refuse)
    with pytest.raises(HostError) as held:
        ledger.start()
    assert "full" in str(held.value) and left() == ([], [])
    ledger.close()
    assert left() == ([], [])
