"""Datagram links of real data planes over loopback, with and without somebody between them."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from tests.dataplane.middleman import RELAYED, SESSION_FRAME, Middleman
from tests.dataplane.stations import Station, join, until

from zosnet.dataplane import events
from zosnet.wire.echo import EchoReply, decode_answer

Make = Callable[..., Station]
ROUNDS = 60


@contextlib.contextmanager
def between(one: Station, other: Station) -> Iterator[tuple[Middleman, int, int]]:
    """A link from `one` to `other` through somebody, and its number at both ends."""
    middleman = Middleman(other.port("udp"))
    try:
        one.plane.dial(1, "udp", "127.0.0.1", middleman.port, 0, 5.0)
        yield middleman, one.take(events.LinkUp).link, other.take(events.LinkUp).link
    finally:
        middleman.close()


@contextlib.contextmanager
def talking(station: Make) -> Iterator[tuple[Station, Station, Middleman]]:
    """Two in our session suite, over a link through somebody."""
    one, other = (station(seed, udp=True, session_suite=True) for seed in (1, 2))
    with between(one, other) as (middleman, there, back):
        one.route(other, there, ours=True)
        other.route(one, back, ours=True)
        echoes(one, other, 1)
        yield one, other, middleman


def echoes(source: Station, target: Station, first: int) -> Counter[int]:
    """How often each of `ROUNDS` echoes was answered; one by one, so that each has a frame of its own."""
    answered: Counter[int] = Counter()
    for number in range(first, first + ROUNDS):
        source.echo(target, number, size=100)
        while answered[number] == 0:
            reply = decode_answer(source.take(events.ProbeReceived).packet)
            assert isinstance(reply, EchoReply)
            answered[reply.sequence] += 1
    return answered


def has_grown(station: Station, name: str, before: int) -> bool:
    return station.count(name) > before


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("session_suite", [False, True])
def test_a_ping_goes_there_and_back(station: Make, lanes: int, session_suite: bool) -> None:
    how = {"lanes": lanes, "udp": True, "session_suite": session_suite}
    one, other = station(1, **how), station(2, **how)
    there, back = join(one, other, "udp")
    one.route(other, there, ours=session_suite)
    other.route(one, back, ours=session_suite)
    assert echoes(one, other, 1) == Counter(range(1, ROUNDS + 1))
    assert [each.via for each in one.plane.sessions()] == ["direct"] * session_suite


def test_between_two_nodes_nothing_but_counters_changes(station: Make) -> None:
    """What is repeated, out of order, cut short, forged, or sent from elsewhere."""
    with talking(station) as (one, other, middleman):
        before = [dict(each.plane.counters()) for each in (one, other)]
        middleman.attack()
        numbers = range(1000, 1000 + ROUNDS)
        assert echoes(one, other, 1000) == Counter(numbers), "each once"
        for each, was in zip((one, other), before, strict=True):
            each.none_of(events.ProbeReceived, 0.05)
            each.none_of(events.LinkDown, 0)
            opened = each.count("rx.packets") - was["rx.packets"]
            assert opened == ROUNDS, "no packet was opened twice, and none that wasn't sent"
            for name in ("drop.replayed", "drop.not_authentic", "udp.replayed", "udp.forged"):
                until(partial(has_grown, each, name, was[name]))
        assert middleman.passed[SESSION_FRAME] >= 2 * ROUNDS


def test_links_with_the_same_ends_are_one_path_and_lose_nothing(station: Make) -> None:
    """Who dials each other has two. No frame tells which one it took: both ends count it for both."""
    one, other = (station(seed, udp=True, session_suite=True) for seed in (1, 2))
    (there, _), (back, _) = join(one, other, "udp"), join(other, one, "udp")
    one.route(other, there, ours=True)
    other.route(one, back, ours=True)
    for first in itertools.count(1, 2 * ROUNDS):
        echoes(one, other, first)
        echoes(other, one, first + ROUNDS)
        mine, theirs = one.measured(), other.measured()
        if min(len(mine.get(there, ())), len(theirs.get(back, ()))) >= 3:
            break
        assert first < 60_000, (mine, theirs)
    for measured in (mine, theirs):
        assert all(loss[-1] < 0.01 for loss in measured.values()), (mine, theirs)


def test_what_a_lossy_link_swallows_is_given_back(station: Make) -> None:
    with talking(station) as (one, other, middleman):
        assert one.count("tx.repairs") == other.count("tx.repairs") == 0, "nothing was lost so far"
        middleman.lose(one_of=30)
        numbers, answered = itertools.count(1000), Counter[int]()

        def both_were_given_some() -> bool:
            for _ in range(8):
                one.echo(other, next(numbers), size=100)
            one.gather(0)
            while any(isinstance(event, events.ProbeReceived) for event in one.seen):
                reply = decode_answer(one.take(events.ProbeReceived).packet)
                assert isinstance(reply, EchoReply)
                answered[reply.sequence] += 1
            return min(one.count("rx.repaired"), other.count("rx.repaired")) >= 3

        until(both_were_given_some, within=30.0)
        assert min(middleman.lost[way] for way in (True, False)) >= 3
        assert set(answered.values()) == {1}, "what was given back is answered once, as what came"


def test_a_relay_forwards_only_what_its_neighbour_sent(station: Make) -> None:
    left, middle, right = (station(seed, udp=True) for seed in (1, 2, 3))
    with between(left, middle) as (middleman, to_middle, from_left):
        to_right, from_middle = join(middle, right, "udp")
        left.route(right, to_middle)
        middle.route(right, to_right)
        middle.route(left, from_left)
        right.route(left, from_middle)
        echoes(left, right, 1)
        forwarded, arrived = middle.count("forward.packets"), right.count("rx.packets")
        middleman.attack()
        assert echoes(left, right, 1000) == Counter(range(1000, 1000 + ROUNDS))
        until(lambda: middle.count("drop.replayed") > 0 and middle.count("drop.not_authentic") > 0)
        assert middleman.passed[RELAYED] >= 2 * ROUNDS
        assert middle.count("forward.packets") - forwarded == 2 * ROUNDS
        assert right.count("rx.packets") - arrived == ROUNDS
