"""A node in whose mempool little may wait: whoever floods it makes room, and nobody is told what isn't so."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.ledger.chain import OPERATOR, genesis_of
from tests.ledger.comet_driver import Driver

from zosnet.ledger.comet import abci
from zosnet.ledger.comet.envelope import pack
from zosnet.ledger.engine.cometbft import mempool
from zosnet.ledger.engine.cometbft.envelopes import Envelopes
from zosnet.ledger.engine.cometbft.home import Home
from zosnet.ledger.engine.cometbft.mempool import PATIENT
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import LARGEST, ClaimDomain, SignedTransaction
from zosnet.ledger.wallet import Wallet


@pytest.fixture
def cramped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """A node in whose mempool little may wait."""
    monkeypatch.setattr(mempool, "MOST_PENDING", 6)
    monkeypatch.setattr(mempool, "MOST_OWN", 2)
    made = Driver(tmp_path)
    yield made
    made.database.close()


def test_what_waits_is_capped(cramped: Driver) -> None:
    claims, pool = cramped.claims(cramped.wallet(1), 7), cramped.application.mempool
    assert [pool.admit(each).reason for each in claims] == [""] * 6 + ["busy"]


def test_an_accounts_flood_keeps_no_other_out(cramped: Driver) -> None:
    flood, a, b = (
        cramped.claims(cramped.wallet(number), count) for number, count in ((1, 7), (2, 3), (3, 2))
    )
    assert [cramped.check(each).code for each in flood] == [0] * 6 + [1]
    assert [cramped.check(each).code for each in (*a, *b)] == [0] * 5
    assert cramped.check(flood[6]).code == 1
    waiting = cramped.application.mempool._waiting
    assert set(waiting) == {each.copy for each in (*flood[:2], *a[:2], *b)}
    # What made room is judged again after a block.
    cramped.block(*(each.raw for each in a[:2]))
    found = [cramped.check(each, kind=abci.RECHECK).code for each in (*flood[:6], a[2], *b)]
    assert found == [0, 0, 0, 0, 1, 1, 0, 0, 0]


def test_what_others_send_keeps_no_client_of_the_node_out(cramped: Driver) -> None:
    flood, own = cramped.claims(cramped.wallet(1), 7), cramped.claims(cramped.wallet(2), 3)
    for each in flood:
        cramped.check(each)
    reasons = [cramped.application.mempool.admit(each, is_own=True).reason for each in own]
    assert reasons == ["", "", "busy"]
    assert cramped.check(*own[:2]).code == 0
    cramped.block(*(each.raw for each in own[:2]))
    assert cramped.application.mempool.admit(own[2], is_own=True).is_done


def test_what_made_room_before_it_was_sent_is_not_refused_for_having_been_there(cramped: Driver) -> None:
    """It's carried out ahead, though it has no place, and will be in the block with what it was sent with."""
    (one, two), (other,) = cramped.claims(cramped.wallet(1), 2), cramped.claims(cramped.wallet(2), 1)
    pool = cramped.application.mempool
    assert all(pool.admit(each, is_own=True).is_done for each in (one, two, other))
    assert set(pool._waiting) == {one.copy, other.copy}
    assert cramped.check(one, two, other).code == 0 and cramped.refused == []
    assert set(pool._waiting) == {one.copy, other.copy, two.copy}
    proposed = cramped.prepare(pack(each.raw for each in (one, two, other)))
    assert proposed == (one.raw, two.raw, other.raw)


def test_what_made_room_for_another_is_busy_or_a_clients_own_and_judged_again_after_a_block(
    cramped: Driver,
) -> None:
    flood, other = cramped.claims(cramped.wallet(1), 6), cramped.claims(cramped.wallet(2), 2)
    pool = cramped.application.mempool
    assert [cramped.check(each).code for each in (*flood, *other)] == [0] * 8
    assert cramped.check(flood[5]).code == 1 and cramped.refused == [(flood[5].copy, "busy")]
    assert pool.admit(flood[4], is_own=True).is_done and pool.admit(flood[5], is_own=True).is_done
    cramped.block(*(each.raw for each in flood[:4]))
    assert [cramped.check(each).code for each in (*flood[4:], *other)] == [0] * 4
    cramped.block(*(each.raw for each in flood[4:]))
    assert pool.admit(flood[5], is_own=True).reason == "nonce"


def test_a_flood_of_what_cannot_be_carried_out_yet_keeps_no_other_out(cramped: Driver) -> None:
    """Nor does one whose signatures nobody can verify yet, or are wrong."""
    flood, a = (cramped.claims(cramped.wallet(number), 8) for number in (1, 2))
    forged = SignedTransaction.parse(a[1].raw[:-1] + bytes([a[1].raw[-1] ^ 1]))
    assert [cramped.check(each).code for each in flood[1:]] == [0] * 6 + [1]
    assert [cramped.check(each).code for each in (forged, *a[1:4])] == [1, 0, 0, 0]
    assert cramped.check(flood[7]).code == 1
    strangers = [Wallet(cramped.genesis, [Signer(bytes([number]) * 32)]) for number in range(20, 40)]
    for each in strangers:
        cramped.check(cramped.sign(each, ClaimDomain("d.example")))
    assert [cramped.check(each).code for each in (*flood[1:3], *a[1:3])] == [0] * 4
    assert len(cramped.application.mempool._early) == 6


def test_others_envelopes_leave_room_for_a_nodes_own_however_little_they_hold(
    cramped: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CometBFT's mempool has its own size, and where it is full nobody is asked."""
    monkeypatch.setattr(mempool, "MOST_PENDING", 100)
    monkeypatch.setattr(mempool, "MOST_ENVELOPES", 9)
    cramped.database.close()
    cramped.open()
    flood, other = cramped.claims(cramped.wallet(1), 10), cramped.claims(cramped.wallet(2), 2)
    own = pack([other[1].raw, other[0].raw])
    assert [cramped.check(each).code for each in (*flood, other[0])] == [0] * 9 + [1, 1]
    assert [cramped.check(each, kind=abci.RECHECK).code for each in flood[:9]] == [0] * 9
    assert cramped.check(other[0]).code == 1
    cramped.application.mempool.expect(own)
    assert cramped.application.mempool.check(abci.CheckTx(own)).code == 0
    cramped.block(*(each.raw for each in flood[:2]))
    found = [cramped.check(each, kind=abci.RECHECK).code for each in flood[:9]]
    assert found == [1, 1] + [0] * 7
    assert [cramped.check(each).code for each in (flood[9], other[0], other[1])] == [0, 0, 1]
    assert cramped.refused == []


def test_others_bytes_leave_room_as_well(cramped: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mempool, "MOST_ENVELOPE_BYTES", 2000)
    cramped.database.close()
    cramped.open()
    (good,), (other,) = (cramped.claims(cramped.wallet(number), 1) for number in (1, 2))
    stuffed = pack([good.raw, *[b"x" * 100] * 17])
    assert cramped.application.mempool.check(abci.CheckTx(stuffed)).code == 0
    assert cramped.check(other).code == 1
    for _ in range(PATIENT + 1):  # and CometBFT, started anew, asks for it no more
        cramped.block()
    assert cramped.check(other).code == 0


def test_comets_mempool_has_room_for_others_and_for_its_own(tmp_path: Path) -> None:
    Home(tmp_path, genesis_of(), OPERATOR, Signer(b"n" * 32), "127.0.0.1:1").write()
    room = tomllib.loads((tmp_path / "config" / "config.toml").read_text())["mempool"]
    assert room["size"] == mempool.MOST_ENVELOPES + mempool.MOST_OWN
    # In the worst case each is alone in its envelope.
    largest = len(pack([bytes(LARGEST)]))
    assert room["max_txs_bytes"] >= mempool.MOST_ENVELOPE_BYTES + mempool.MOST_OWN * largest


@given(
    some.lists(
        some.tuples(some.sampled_from(["ask", "own", "drop", "block"]), some.integers(0, 9)), max_size=80
    )
)
def test_envelopes_are_counted(steps: list[tuple[str, int]]) -> None:
    envelopes, height = Envelopes(4, 20), 0
    there: dict[bytes, tuple[bool, int]] = {}
    for what, number in steps:
        each = bytes(number + 1)
        if what == "own":
            envelopes.expect(each, height)
            there.setdefault(each, (True, height))
        elif what == "drop":
            envelopes.drop(each)
            there.pop(each, None)
        elif what == "block":
            height += 1
            envelopes.forget(height - 2)
            there = {key: found for key, found in there.items() if found[1] >= height - 2}
        others = [key for key, (is_own, _) in there.items() if not is_own]
        if what == "ask":
            fits = len(others) < 4 and sum(map(len, others)) + len(each) <= 20
            assert envelopes.has_room(each) == (each in there or fits)
            if each in there or fits:
                envelopes.put(each, height)
                there[each] = (there.get(each, (False, 0))[0], height)
        assert len(envelopes) == sum(not is_own for is_own, _ in there.values()) <= 4
