"""The files of an embedded ledger: lost, damaged, or of two copies, and what a loss of power leaves."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.ledger.chain import OPERATOR, genesis_of
from tests.ledger.embedded import SMALL, Clock, claim, opened, running

from zosnet.ledger.engine.embedded import Embedded
from zosnet.model.errors import HostError


def test_files_of_two_copies_are_refused_though_their_heights_fit(tmp_path: Path) -> None:
    for name, number in ("a", 1), ("b", 2):
        with running(tmp_path / name, clock := Clock()) as ledger:
            opened(ledger, number, clock.now)
    shutil.copy(tmp_path / "b" / "blocks.sqlite", tmp_path / "a" / "blocks.sqlite")
    with pytest.raises(HostError, match="or two copies"), running(tmp_path / "a"):
        pass


def test_blocks_of_another_copy_that_change_nothing_are_refused(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path / "a", clock):
        pass
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name in ("a", "b", "b"):
        with running(tmp_path / name, clock):
            pass
    shutil.copy(tmp_path / "b" / "blocks.sqlite", tmp_path / "a" / "blocks.sqlite")
    with pytest.raises(HostError, match="or two copies"), running(tmp_path / "a"):
        pass


def test_a_disk_that_refuses_to_be_read_as_well_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        journal = ledger._store.journal
        with monkeypatch.context() as broken:
            broken.setattr(journal, "append", refuse)
            broken.setattr(journal, "newest", refuse)
            with pytest.raises((HostError, sqlite3.Error), match="disk I/O error"):
                claim(ledger, a, "a.example", clock.now)
            assert "disk I/O error" in ledger.status().trouble
        assert claim(ledger, a, "b.example", clock.now).is_done


def test_a_genesis_outlives_a_loss_of_power_as_its_first_block_does(tmp_path: Path) -> None:
    with running(tmp_path / "ledger") as ledger:
        (tmp_path / "kept").mkdir()
        # Of what was not synced nothing may be left: the state's log is synced only when it is worked in.
        for name in ("ledger.sqlite", "blocks.sqlite", "blocks.sqlite-wal"):
            shutil.copy(tmp_path / "ledger" / name, tmp_path / "kept" / name)
        height = ledger.status().height
    found = Embedded(tmp_path / "kept", OPERATOR).start()
    try:
        assert found.genesis == genesis_of() and found.status().height > height
    finally:
        found.close()


def test_a_long_recovery_keeps_what_it_has_on_the_way(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, clock) as ledger:
        a = opened(ledger, 1, clock.now)
        for number in range(30):
            claim(ledger, a, f"d{number}.example", clock.now)
        status = ledger.status()
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    found = Embedded(tmp_path, OPERATOR, genesis=genesis_of(), clock=clock, limits=SMALL)
    try:
        assert len(found._store._recent) <= 3 * SMALL.blocks
        assert found.start().status().root == status.root
    finally:
        found.close()


@pytest.mark.parametrize("name", ["blocks.sqlite", "ledger.sqlite"])
def test_damaged_files_are_one_clear_error(tmp_path: Path, name: str) -> None:
    with running(tmp_path, clock := Clock(), limits=SMALL) as ledger:
        opened(ledger, 1, clock.now)
    path = tmp_path / name
    raw = path.read_bytes()
    for page in range(1, len(raw) // 4096):
        path.write_bytes(raw[: page * 4096] + b"\xff" * 4096 + raw[(page + 1) * 4096 :])
        with suppress(HostError):  # a page that nobody has asked for may be any
            Embedded(tmp_path, OPERATOR, clock=clock, steady=lambda: 0).close()
    path.write_bytes(raw[:4096] + b"\xff" * (len(raw) - 4096))
    with pytest.raises(HostError, match=r"refuses|damaged"):
        Embedded(tmp_path, OPERATOR, clock=clock, steady=lambda: 0)


def test_blocks_without_their_state_are_no_new_ledger(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    (tmp_path / "ledger.sqlite").unlink()
    other = replace(genesis_of(), time_ms=genesis_of().time_ms + 1)
    for genesis in (None, other, other):
        with pytest.raises(HostError, match="state is gone"):
            Embedded(tmp_path, OPERATOR, genesis=genesis)
    with running(tmp_path) as ledger:
        assert ledger.status().height == 2


@pytest.mark.parametrize("column", ["header", "transactions"])
@pytest.mark.parametrize("value", ["text", 7, b"\x00"])
def test_a_block_that_is_no_block_is_one_clear_error(tmp_path: Path, column: str, value: object) -> None:
    clock, kept = Clock(), tmp_path / "kept"
    with running(tmp_path / "ledger", clock) as ledger:
        opened(ledger, 1, clock.now)
        shutil.copytree(tmp_path / "ledger", kept)  # nothing is flushed yet: all blocks are carried out again
    with sqlite3.connect(kept / "blocks.sqlite") as connection:
        connection.execute(f"UPDATE block SET {column} = ? WHERE height = 2", (value,))
    connection.close()
    with pytest.raises(HostError, match=r"damaged|carried out|state"):
        Embedded(kept, OPERATOR)
