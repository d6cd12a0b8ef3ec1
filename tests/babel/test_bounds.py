"""Hostile neighbours: whatever they send, and however much of it, memory stays within the limits."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.babel.dialogue import B, C, D, Dialogue, Heard, Silence, down, net, rid, update

from zosnet.babel import Limits, Speaker
from zosnet.babel.agenda import Agenda
from zosnet.babel.source import SourceTable, is_feasible
from zosnet.model.keys import PublicKey
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import INFINITY, Hello, Ihu, RouteRequest, SeqnoRequest, Tlv, Update

SMALL = Limits(
    neighbours=4,
    routes=40,
    routes_per_neighbour=25,
    sources=60,
    sources_per_neighbour=40,
    queries=10,
    queries_per_neighbour=4,
    seqno_requests=12,
    answers_per_neighbour=5,
    slice=16,
)
KEYS = [PublicKey(Random(seed).randbytes(32)) for seed in range(80)]


def node(key: PublicKey, random: int = 0) -> tuple[RouterId, Prefix]:
    return RouterId.of(key, 0, random.to_bytes(6, "big")), key.subnet()


def noise(rng: Random) -> Tlv:
    """Some TLV that a decoder could return."""
    router_id, prefix = node(rng.choice(KEYS), rng.choice([0, 0, 0, rng.randrange(50)]))
    if rng.random() < 0.1:
        prefix = Prefix.of(rng.getrandbits(128), rng.randrange(129))
    seqno = rng.choice([0, 1, 2, rng.randrange(65536)])
    kind = rng.randrange(12)
    if kind < 6:
        return Update(
            prefix, router_id, seqno, rng.choice([0, 5, 900, 65534, INFINITY]), rng.randrange(65536)
        )
    if kind < 8:
        return RouteRequest(rng.choice([None, prefix]), rng.randrange(256))
    if kind < 10:
        return SeqnoRequest(prefix, router_id, seqno, rng.randrange(1, 256))
    return Ihu(rng.randrange(65536)) if kind == 10 else Hello(seqno)


def assert_within(speaker: Speaker, limits: Limits) -> None:
    sizes = speaker.counters
    assert sizes["routes"] <= limits.routes
    assert sizes["queries"] <= limits.queries
    assert sizes["seqno_requests"] <= limits.seqno_requests
    assert sizes["sources"] <= limits.sources + limits.routes
    assert sizes["prefixes"] <= limits.routes + limits.sources
    timers = speaker._node.agenda
    assert len(timers) <= sizes["routes"] + sizes["prefixes"] + limits.neighbours + 4
    assert timers.slots <= 2 * len(timers) + 1024
    for neighbour in speaker._node.neighbours.values():
        assert len(neighbour.routes) <= limits.routes_per_neighbour
        assert len(neighbour.answers) <= limits.answers_per_neighbour


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=25, derandomize=True)
def test_random_tlvs_from_hostile_neighbours_leave_the_bounds_intact(seed: int) -> None:
    rng = Random(seed)
    talk = Dialogue(B, C, D, limits=SMALL)
    for _ in range(600):
        what = rng.randrange(30)
        if what == 0:
            talk.speaker.neighbour_down(rng.randrange(1, 7), talk.now)
        elif what == 1:
            talk.speaker.neighbour_up(rng.randrange(1, 7), 10, talk.now)
        elif what == 2:
            talk.now += rng.random() * 3
            talk.drain()
        elif what == 3:
            talk.speaker.neighbour_busy(rng.randrange(1, 7), rng.random() < 0.5, talk.now)
        elif what == 4:
            rng.choice([talk.speaker.neighbour_stalled, talk.speaker.neighbour_resumed])(
                rng.randrange(1, 7), talk.now
            )
        else:
            talk.speaker.receive(rng.randrange(1, 7), noise(rng), talk.now)
        assert_within(talk.speaker, SMALL)
    talk.drain()
    for route in talk.speaker.selected():
        entry = talk.speaker._node.table.entries[route.prefix]
        source = talk.speaker._node.sources.of(route.prefix).get(route.router_id.raw)
        assert entry.selected is not None
        assert is_feasible(route.seqno, route.advertised, source)


def announce(talk: Dialogue, peer: int, keys: list[PublicKey], metric: int = 20) -> None:
    for key in keys:
        router_id, prefix = node(key)
        talk.speaker.receive(peer, Update(prefix, router_id, 0, metric), talk.now)
    talk.drain()


def test_strangers_with_many_links_leave_room_for_the_neighbours_that_were_wanted() -> None:
    """All their routes are selected, as nobody else has them: none could be evicted."""
    talk = Dialogue(B, limits=SMALL)
    for peer in (5, 6, 7):
        talk.speaker.neighbour_up(peer, 1, talk.now, wanted=False)
    for peer in (5, 6, 7):
        announce(talk, peer, KEYS[(peer - 5) * 20 : (peer - 4) * 20])
    assert talk.speaker.counters["routes"] == 30
    announce(talk, B, KEYS[60:70])
    assert sum(route.next_hop == B for route in talk.speaker.selected()) == 10
    assert talk.speaker.counters["routes"] == 40


def test_one_neighbour_fills_its_own_share_and_no_more() -> None:
    talk = Dialogue(B, C, limits=SMALL)
    announce(talk, B, KEYS)
    assert talk.speaker.counters["routes"] == 25
    assert talk.speaker.counters["refused.route"] == 55
    announce(talk, C, KEYS[60:70])
    assert {route.next_hop for route in talk.speaker.selected()} == {B, C}


def test_below_its_fair_share_a_neighbour_takes_the_place_of_anothers_unused_route() -> None:
    talk = Dialogue(B, C, D, 6, limits=SMALL)
    announce(talk, B, KEYS[:10])
    announce(talk, C, KEYS[:10], metric=25)
    announce(talk, D, KEYS[:20], metric=30)
    assert talk.speaker.counters["routes"] == 40
    used = {(route.prefix, route.next_hop) for route in talk.speaker.selected()}
    announce(talk, 6, KEYS[30:36])
    assert talk.speaker.counters["routes"] == 40
    now_used = {(route.prefix, route.next_hop) for route in talk.speaker.selected()}
    assert used <= now_used
    assert sum(hop == 6 for _, hop in now_used) == 6


def test_selected_routes_are_nobodys_to_evict() -> None:
    talk = Dialogue(B, C, D, limits=SMALL)
    announce(talk, B, KEYS[:25])
    announce(talk, C, KEYS[25:40])
    announce(talk, D, KEYS[40:50])
    assert {route.next_hop for route in talk.speaker.selected()} == {B, C}
    assert talk.speaker.counters["refused.route"] == 10
    announce(talk, B, KEYS[60:61])
    assert talk.speaker.counters["refused.route"] == 11


def test_churn_of_prefixes_is_bounded_by_sources_which_idle_ones_leave_when_pressed() -> None:
    talk = Dialogue(B, C, limits=SMALL)
    for key in KEYS:
        router_id, prefix = node(key)
        talk = (
            talk
            >> Heard(B, Update(prefix, router_id, 0, 20))
            >> Heard(B, Update(prefix, router_id, 0, INFINITY))
        )
    assert talk.speaker.counters["sources"] == 40
    assert talk.speaker.counters["refused.source"] == 40
    announce(talk, C, KEYS[40:60])
    assert talk.speaker.counters["sources"] == 60
    talk = talk >> Silence(61.0, answering=(B, C))
    announce(talk, C, KEYS[60:61])
    assert len(talk.speaker.selected()) == 20 + 1
    talk = talk >> Silence(1900.0, answering=(B, C))
    assert talk.speaker.counters["sources"] == 0


def test_the_incarnation_longest_unused_makes_way_for_one_more() -> None:
    talk = Dialogue(B, C)
    for start in range(12):
        router_id, prefix = node(KEYS[0], start)
        talk = talk >> Heard(B, Update(prefix, router_id, 0, 20)) >> Silence(1.0)
    known = talk.speaker._node.sources.of(KEYS[0].subnet())
    assert len(known) == 8
    assert node(KEYS[0], 11)[0].raw in known
    assert node(KEYS[0], 0)[0].raw not in known


def test_churn_cannot_grow_the_heap_of_timers() -> None:
    talk = Dialogue(B, C)
    for _ in range(3000):
        talk.speaker.receive(B, update("D", 0, 20), talk.now)
        talk.speaker.receive(B, update("D", 0, INFINITY), talk.now)
        talk.speaker.receive(C, update("E", 0, 20), talk.now)
        talk.speaker.poll()
    assert talk.speaker._node.agenda.slots < 1100


class Item:
    def __init__(self) -> None:
        self.timer = float("inf")


def test_an_agenda_takes_the_earlier_time_and_forgets_what_is_cancelled() -> None:
    agenda, a, b = Agenda(), Item(), Item()
    assert agenda.deadline() is None
    agenda.put(a, 5.0)
    agenda.put(a, 9.0)
    agenda.put(a, 3.0)
    agenda.put(b, 4.0)
    assert (len(agenda), agenda.deadline()) == (2, 3.0)
    agenda.cancel(a)
    agenda.cancel(a)
    assert agenda.deadline() == 4.0
    assert agenda.take(3.9) is None
    assert agenda.take(9.0) is b
    assert agenda.take(9.0) is None
    assert len(agenda) == 0


@pytest.mark.parametrize(
    ("seqno", "metric", "feasible"),
    [(5, 99, True), (5, 100, False), (6, 9999, True), (4, 0, False), ((5 + 0x8000) & 0xFFFF, 0, False)],
)
def test_feasibility(seqno: int, metric: int, feasible: bool) -> None:
    talk = Dialogue(B)
    talk.speaker._node.table.add(talk.speaker._node.neighbours[B], update("D", 5, 50), talk.now)
    route = talk.speaker._node.neighbours[B].routes[net("D")]
    sources = SourceTable(10, 10, 10)
    assert sources.advertise(route, 100, 0.0)
    assert not sources.advertise(route, 100, 0.0)
    assert is_feasible(seqno, metric, sources.of(net("D"))[rid("D").raw]) is feasible


def test_a_neighbour_that_leaves_takes_everything_with_it() -> None:
    talk = Dialogue(B, C)
    announce(talk, B, KEYS)
    announce(talk, C, KEYS)
    talk = talk >> down(B) >> down(C) >> Silence(7.0)
    assert talk.speaker.counters["routes"] == talk.speaker.counters["prefixes"] == 0
    assert len(talk.speaker._node.agenda) == 3
