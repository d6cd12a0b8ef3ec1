"""The embedded engine and the time: present blocks, and none that is signed while the clock is behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.ledger.embedded import Clock, claim, opened, running, send

from zosnet.ledger.engine import embedded
from zosnet.ledger.records import name_key
from zosnet.ledger.transaction import ClaimDomain
from zosnet.model.errors import HostError


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
