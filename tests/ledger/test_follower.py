"""Following: what is believed, what is not, and what becomes of it when the ledger falls silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.ledger.chain import OPERATOR, START
from tests.ledger.embedded import Clock, opened, running

from zosnet.ledger.client import follower as following
from zosnet.ledger.client.desk import Desk, NotDone
from zosnet.ledger.client.follower import LONGEST_MS, STALE_MS, Follower, Pin, TooOld
from zosnet.ledger.client.transport import LocalTransport
from zosnet.ledger.engine.embedded import Embedded
from zosnet.ledger.engine.interface import Answer, Event
from zosnet.ledger.header import SignedHeader, sign_header
from zosnet.ledger.records import account_key, name_key, route_key
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import ClaimDomain
from zosnet.model.errors import PeerError, ZosnetError


class Liar(LocalTransport):
    """An engine's answers, bent on the way."""

    answer: Answer | None = None
    more: tuple[SignedHeader, ...] = ()

    def query(self, keys: list[bytes], height: int | None = None) -> Answer:
        found = super().query(keys, height)
        if self.answer is not None:
            found = self.answer
        return found

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        return [*super().headers(start, limit), *self.more]


@contextmanager
def followed(directory: Path) -> Iterator[tuple[Embedded, Clock, Liar, Follower]]:
    clock = Clock()
    with running(directory, clock) as ledger:
        way = Liar(ledger)
        yield ledger, clock, way, Follower(way, clock=lambda: clock.now)


def heard(ledger: Embedded, *changed: bytes) -> Event:
    return Event(ledger.headers(ledger.status().height, 1)[0], changed)


def test_a_name_is_followed_from_reserve_to_release(tmp_path: Path) -> None:
    with followed(tmp_path) as (ledger, clock, _, follower):
        desk = Desk(follower, bytes(32), clock=lambda: clock.now)
        follower.catch_up()
        key = name_key("shop")
        follower.watch([key])
        assert follower.name("shop") is None
        receipt = desk.reserve("shop")
        follower.hear(heard(ledger, key))
        record = follower.name("shop")
        assert record and record.holder == desk.account and record.epoch == receipt.epoch
        with pytest.raises(NotDone) as no:
            Desk(follower, bytes([1]) * 32, clock=lambda: clock.now).reserve("shop")
        assert no.value.reason == "held"
        assert desk.renew("shop").epoch > receipt.epoch
        desk.release("shop")
        follower.hear(heard(ledger, key))
        assert follower.name("shop") is None and desk.name("shop") is None


def test_a_change_that_is_kept_from_us_is_found(tmp_path: Path) -> None:
    with followed(tmp_path) as (ledger, clock, _, follower):
        desk = Desk(follower, bytes(32), clock=lambda: clock.now)
        follower.catch_up()
        follower.watch([name_key("shop")])
        follower.hear(heard(ledger))
        desk.reserve("shop")
        follower.hear(heard(ledger))  # says that nothing changed
        clock.now += following.PROVE_AGAIN_MS
        desk.do(ClaimDomain("a.example"))
        follower.hear(heard(ledger))
        assert follower.name("shop") is not None and following.PROVE_AGAIN_MS < STALE_MS


def test_silence_is_stale_then_refused_and_never_outlives_the_grace(tmp_path: Path) -> None:
    with followed(tmp_path) as (_, clock, __, follower):
        desk = Desk(follower, bytes(32), clock=lambda: clock.now)
        desk.reserve("shop")
        follower.catch_up()
        follower.watch([name_key("shop"), route_key("shop")])
        stale = follower.is_stale
        assert not stale and follower.name("shop") and follower.known(route_key("shop")) is None
        clock.now += STALE_MS + 1
        stale = follower.is_stale
        assert stale and follower.name("shop")
        clock.now += LONGEST_MS
        with pytest.raises(TooOld):
            follower.name("shop")
        with pytest.raises(TooOld):
            follower.known(name_key("shop"))
        patient = Follower(follower.transport, clock=lambda: clock.now, longest_ms=10**15)
        clock.now -= LONGEST_MS
        patient.catch_up()
        patient.watch([name_key("shop")])
        record = patient.name("shop")
        assert record
        clock.now = record.expires_ms + patient.genesis.parameters.grace_ms - 1
        assert patient.name("shop")
        clock.now += 1
        assert patient.name("shop") is None
        with pytest.raises(TooOld, match="not been proven"):
            patient.known(b"\x05other")


@pytest.mark.parametrize("what", ["value", "absence", "key", "proof", "header", "signature", "root"])
def test_a_bent_answer_is_never_believed(tmp_path: Path, what: str) -> None:
    with followed(tmp_path) as (ledger, clock, way, follower):
        a = opened(ledger, 1, clock.now)
        key = account_key(a.account)
        good = ledger.query([key])
        assert follower.ask([key])[key].keys == a.keys
        (item,), header, stranger = good.items, good.header, Signer(bytes([9]) * 32)
        assert item.value
        bent = {
            "value": replace(good, items=(replace(item, value=item.value[:-1] + b"\x07"),)),
            "absence": replace(good, items=(replace(item, value=None),)),
            "key": replace(good, items=(replace(item, key=account_key(bytes(32))),)),
            "proof": replace(
                good, items=(replace(item, proof=replace(item.proof, siblings=(bytes(32),) * 3)),)
            ),
            "header": replace(good, header=replace(header, header=replace(header.header, time_ms=1))),
            "signature": replace(good, header=sign_header(replace(header.header, height=9), stranger)),
            "root": replace(good, header=replace(header, header=replace(header.header, root=bytes(32)))),
        }
        way.answer = bent[what]
        with pytest.raises(PeerError):
            Follower(way, clock=lambda: clock.now).ask([key])


def test_headers_must_be_a_chain_of_the_operators(tmp_path: Path) -> None:
    with followed(tmp_path) as (ledger, clock, way, follower):
        opened(ledger, 1, clock.now)
        top = follower.catch_up()
        after = replace(top, height=top.height + 1, previous=top.hash, time_ms=top.time_ms + 1)
        for wrong, signer in [
            (after, Signer(bytes([9]) * 32)),
            (replace(after, height=top.height + 2), OPERATOR),
            (replace(after, previous=bytes(32)), OPERATOR),
            (replace(after, chain=bytes(32)), OPERATOR),
            (replace(after, time_ms=top.time_ms), OPERATOR),
        ]:
            way.more = (sign_header(wrong, signer),)
            with pytest.raises(PeerError):
                follower.catch_up()
            assert follower.newest == top
        way.more = (sign_header(replace(after, time_ms=clock.now + STALE_MS + 10), OPERATOR),)
        with pytest.raises(PeerError, match="future"):
            follower.catch_up()


def test_two_headers_of_one_height_end_all_belief(tmp_path: Path) -> None:
    with followed(tmp_path) as (ledger, clock, way, follower):
        opened(ledger, 1, clock.now)
        top = follower.catch_up()
        with pytest.raises(PeerError, match="lies"):
            follower.take(sign_header(replace(top, root=bytes(32)), OPERATOR))
        with pytest.raises(PeerError, match="lies"):
            follower.known(b"")
        way.more = ()
        with pytest.raises(PeerError, match="lies"):
            follower.take(ledger.headers(1, 1)[0])


def test_a_pin_and_a_leap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LONGEST_WALK", 5)
    with followed(tmp_path) as (ledger, clock, way, follower):
        for number in range(1, 31):
            opened(ledger, number, clock.now)
        assert follower.catch_up().height == 31 and follower.leaps == 1
        tenth = ledger.headers(10, 1)[0].header
        pinned = Follower(way, ledger.genesis.chain, pin=Pin(10, tenth.hash), clock=lambda: clock.now)
        assert pinned.catch_up().height == 31
        # An operator that is behind is no liar.
        for pin, trouble in ((Pin(10, bytes(32)), "not the one"), (Pin(99, tenth.hash), "no block 99 yet")):
            with pytest.raises(PeerError, match=trouble):
                Follower(way, pin=pin, clock=lambda: clock.now).catch_up()
        with pytest.raises(PeerError, match="another one"):
            Follower(way, bytes(32))


def test_following_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with followed(tmp_path) as (ledger, clock, _, follower):
        opened(ledger, 1, clock.now)
        follower.watch([name_key("shop")])
        seen: list[int] = []

        def until() -> bool:
            assert follower.newest
            seen.append(follower.newest.height)
            if len(seen) == 1:
                opened(ledger, 2, clock.now)
            return len(seen) == 2

        follower.follow(until)
        assert seen == [2, 3] and follower.age_ms < 1000 and START
        assert issubclass(TooOld, ZosnetError)
