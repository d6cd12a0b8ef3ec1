"""Which of several links: the cost in routing, weights, metered links, spreading, and the return."""

from random import Random

import pytest
from tests.babel.dialogue import KEYS, B, C, D, Dialogue, Happens, Heard, Silence, net, rid, update

from zosnet.babel import ORDERED_ZONE, SESSION_ZONE, Install, Send
from zosnet.babel.cost import SHORTEST_HOLD
from zosnet.babel.neighbour import METERED, SHORTEST_RETURN
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import INFINITY, Hello, Ihu

OURS = RouterId.of(KEYS["D"], ORDERED_ZONE | SESSION_ZONE, bytes(6))


def talk_over(*kinds: str) -> Dialogue:
    """A, with links to one node D under the numbers 2, 3, …, one of each kind, each measured at 10 ms."""
    return beside(*((kind, "", 0.01) for kind in kinds))


def linked(peer: int, kind: str, static: int = 4, place: str = "") -> Happens:
    return Happens(lambda speaker, now: speaker.neighbour_up(peer, static, now, kind=kind, place=place))


def measured(peer: int, rtt: float, loss: float = 0.0) -> Happens:
    return Happens(lambda speaker, now: speaker.neighbour_measured(peer, rtt, loss, now))


def weighed(peer: int, weight: int, metered: bool = False) -> Happens:
    return Happens(lambda speaker, now: speaker.neighbour_weighed(peer, weight, metered, now))


def stalled(peer: int, is_stalled: bool = True) -> Happens:
    if is_stalled:
        return Happens(lambda speaker, now: speaker.neighbour_stalled(peer, now))
    return Happens(lambda speaker, now: speaker.neighbour_resumed(peer, now))


def costs(talk: Dialogue) -> dict[int, int]:
    return {each.peer: each.cost for each in talk.speaker.neighbours(talk.now)}


def installs(talk: Dialogue) -> list[Install]:
    return [said for said in talk.said if isinstance(said, Install)]


def ways(talk: Dialogue) -> tuple[int, int | None, bool]:
    (route,) = talk.speaker.selected()
    return route.next_hop, route.backup, route.is_spread


def test_measurements_make_the_cost_and_metrics_follow() -> None:
    talk = Dialogue(B, C, static=4) >> measured(B, 0.02) >> measured(C, 0.02)
    talk = talk >> Heard(B, update("D", 0, 0)) << Send(C, update("D", 0, 24))
    for _ in range(8):
        talk = talk >> Silence(0.5) >> measured(B, 0.02, 0.05)
    assert costs(talk)[B] > 200
    (status, _) = talk.speaker.neighbours(talk.now)
    assert status.loss == pytest.approx(0.05)


def test_a_lossy_link_is_left_for_a_clean_one_and_stays_the_backup() -> None:
    talk = Dialogue(B, C, static=4) >> measured(B, 0.01) >> measured(C, 0.03)
    talk = talk >> Heard(B, update("D", 0, 0)) >> Heard(C, update("D", 0, 0))
    assert ways(talk)[:2] == (B, C)
    for _ in range(10):
        talk = talk >> Silence(0.5) >> measured(B, 0.01, 0.05) >> measured(C, 0.03)
    assert ways(talk)[:2] == (C, B)


def test_a_weight_is_added_and_a_change_of_it_applies_at_once() -> None:
    talk = Dialogue(B, C, static=4) >> measured(B, 0.01) >> measured(C, 0.02) >> weighed(B, 50)
    talk = talk >> Heard(B, update("D", 0, 0)) >> Heard(C, update("D", 0, 0))
    assert costs(talk) == {B: 64, C: 24}
    assert ways(talk)[:2] == (C, B)
    talk = talk >> weighed(B, 0)
    assert costs(talk)[B] == 14
    talk = talk >> weighed(C, 1_000_000)
    assert ways(talk)[:2] == (B, C)


def test_a_metered_link_carries_only_what_has_no_other_way() -> None:
    talk = Dialogue(B, C, static=4) >> measured(B, 0.001) >> measured(C, 0.8, 0.03) >> weighed(B, 0, True)
    talk = talk >> Heard(B, update("D", 0, 0)) >> Heard(C, update("D", 0, 1000))
    assert ways(talk)[:2] == (C, B)
    talk = talk >> stalled(C)
    assert ways(talk)[:2] == (B, None)
    assert METERED <= costs(talk)[B] < INFINITY


def test_a_node_of_our_kind_says_in_its_ihu_that_its_end_is_metered() -> None:
    talk = talk_over("udp") >> Heard(B, Ihu(10))
    assert costs(talk)[B] == 14
    talk = talk >> Heard(B, Ihu(METERED + 10))
    assert costs(talk)[B] == METERED + 14
    assert talk.speaker.neighbours(talk.now)[0].is_metered
    talk = talk >> Heard(B, Hello(1)) << Send(B, Ihu(14))  # what it said isn't said back
    talk = talk >> Heard(B, Ihu(8192 + 10)) >> Silence(SHORTEST_HOLD)
    assert costs(talk)[B] == 14, "that is suspicion, which is its own affair"
    stranger = Dialogue(B, static=4) >> measured(B, 0.01) >> Heard(B, Ihu(METERED + 10))
    assert costs(stranger)[B] == 14
    ours = talk_over("udp") >> weighed(B, 7, True) >> Heard(B, Hello(1))
    ours << Send(B, Ihu(METERED + 21))
    heavy = talk_over("udp") >> weighed(B, 4000) >> measured(B, 2.0) >> measured(B, 2.0) >> measured(B, 2.0)
    heavy >> Heard(B, Hello(1)) << Send(B, Ihu(METERED - 1))


def test_the_end_of_metered_is_believed_once_it_was_said_for_a_moment() -> None:
    talk = talk_over("udp") >> Heard(B, Ihu(METERED + 10)) >> Silence(10.0) >> Heard(B, Ihu(10))
    talk = talk >> Silence(SHORTEST_HOLD - 0.1) >> Heard(B, Ihu(METERED + 10)) >> Silence(1.0)
    assert costs(talk)[B] == METERED + 14, "it was taken back"
    talk = talk >> Heard(B, Ihu(10)) >> Silence(SHORTEST_HOLD - 0.1)
    assert costs(talk)[B] == METERED + 14
    assert costs(talk >> Silence(0.1))[B] == 14, "and no IHU is waited for"
    assert costs(talk >> Heard(B, Ihu(METERED + 10)))[B] == METERED + 14


def test_who_is_metered_and_not_by_turns_is_believed_less_and_less_often() -> None:
    """Each change has all routes over the link decided again. At worst a neighbour says what it isn't now."""
    talk, changes, before = talk_over("udp"), 0, False
    for _ in range(1200):
        talk = talk >> Heard(B, Ihu(10 if before else METERED + 10), rtt=0.01) >> Silence(0.5)
        is_metered = talk.speaker.neighbours(talk.now)[0].is_metered
        changes += is_metered != before
        before = is_metered
    assert 2 < changes <= 16, "in ten minutes: after 3 s, then 6, 12, and so on"


def test_flows_are_spread_over_two_equal_links_to_one_node() -> None:
    talk = talk_over("udp", "udp")
    assert ways(talk) == (B, C, True)
    assert installs(talk)[-1] == Install(
        net("D"), OURS, B, C, 14, spread=True, originates=True, backup_originates=True
    )


def test_flows_are_not_spread_over_links_of_two_kinds_or_qualities_or_nodes() -> None:
    assert ways(talk_over("udp", "tcp")) == (B, C, False)
    slower = talk_over("udp") >> linked(C, "udp") >> Heard(C, Hello(0)) >> measured(C, 0.018)
    assert ways(slower >> Heard(C, update("D", 0, 0, OURS))) == (B, C, False)
    metered = talk_over("udp", "udp") >> weighed(C, 0, True)
    assert ways(metered) == (B, C, False)
    relays = Dialogue() >> linked(B, "udp") >> linked(C, "udp") >> measured(B, 0.01) >> measured(C, 0.01)
    relays = relays >> Heard(B, update("B", 0, 0, rid("B"))) >> Heard(C, update("C", 0, 0, rid("C")))
    relays = relays >> Heard(B, update("D", 0, 5, OURS)) >> Heard(C, update("D", 0, 5, OURS))
    route = next(route for route in relays.speaker.selected() if route.prefix == net("D"))
    assert (route.next_hop, route.backup, route.is_spread) == (B, C, False)


def test_an_equal_link_to_the_same_node_is_preferred_as_backup_to_a_stranger_between() -> None:
    talk = talk_over("udp", "udp") >> linked(D, "udp") >> measured(D, 0.01)
    talk = talk >> Heard(D, update("D", 0, 1, OURS)) >> weighed(C, 3)
    assert ways(talk) == (B, C, True)


def beside(*links: tuple[str, str, float]) -> Dialogue:
    """A, with links to one node D under the numbers 2, 3, …: (kind, place, round trip) of each."""
    talk = Dialogue()
    for peer, (kind, place, rtt) in enumerate(links, start=2):
        talk = talk >> linked(peer, kind, place=place) >> Heard(peer, Hello(0)) >> measured(peer, rtt)
        talk = talk >> Heard(peer, update("D", 0, 0, OURS))
    return talk


def busy(peer: int) -> Happens:
    return Happens(lambda speaker, now: speaker.neighbour_busy(peer, True, now))


def asked(talk: Dialogue) -> list[int]:
    return [said.peer for said in talk.said if isinstance(said, Send) and isinstance(said.tlv, Hello)]


TWINS_AND_ANOTHER = (("udp", "one", 0.01), ("udp", "one", 0.01), ("udp", "other", 0.03))


def test_a_backup_on_another_path_comes_before_one_that_would_be_lost_as_well() -> None:
    talk = beside(*TWINS_AND_ANOTHER)
    assert ways(talk) == (B, D, False)
    assert ways(talk >> weighed(D, 0, True)) == (B, C, False), "but not one that somebody pays for"
    assert ways(talk >> weighed(D, 0)) == (B, D, False)
    assert ways(talk >> stalled(D)) == (B, C, False)
    assert ways(beside(*reversed(TWINS_AND_ANOTHER)))[1] == B, "whichever comes first"
    assert ways(beside(("tcp", "one", 0.01), ("udp", "one", 0.03), ("tcp", "other", 0.04))) == (B, D, False)
    streams = beside(("tcp", "one", 0.01), ("tcp", "one", 0.01), ("tcp", "other", 0.03))
    assert ways(streams) == (B, C, True), "two streams on one path carry more than one"


def test_what_is_lost_with_a_link_goes_to_none_beside_it_before_that_is_heard() -> None:
    talk = beside(*TWINS_AND_ANOTHER) >> busy(B)
    cost = costs(talk)[C]
    talk = talk >> stalled(B)
    assert asked(talk) == [C]
    assert ways(talk)[:2] == (D, C) and costs(talk)[C] == cost
    talk = talk >> Silence(30, answering=(D,), rtt=0.03)
    assert ways(talk)[:2] == (D, C)
    talk = talk >> Heard(C, Ihu(14), rtt=0.01)
    assert ways(talk)[:2] == (C, D)


def test_in_doubt_the_only_way_is_taken_all_the_same() -> None:
    talk = beside(*TWINS_AND_ANOTHER[:2]) >> busy(B) >> stalled(B)
    assert ways(talk)[:2] == (C, None)
    assert installs(talk)[-1].metric == costs(talk)[C] == 14


@pytest.mark.parametrize("silent_is_busy", [True, False])
def test_a_doubt_takes_nothing_off_a_link_that_works(silent_is_busy: bool) -> None:
    talk = beside(*TWINS_AND_ANOTHER)
    talk = talk >> (busy(C) if silent_is_busy else Silence(0))
    talk = talk >> stalled(C)
    assert ways(talk)[0] == B
    assert asked(talk) == ([B] if silent_is_busy else []), "an idle link's lost Hello is no evidence"
    talk = beside(*TWINS_AND_ANOTHER) >> busy(B) >> busy(C) >> stalled(C)
    assert ways(talk)[0] == B and asked(talk) == [], "the data plane watches what is busy"


def test_a_doubt_is_no_reason_to_believe_in_another_incarnation() -> None:
    talk = beside(*TWINS_AND_ANOTHER[:2]) >> linked(D, "udp", place="other") >> measured(D, 0.03)
    talk = talk >> Heard(D, update("D", 0, 500, rid("D", "010203040506")))
    talk = talk >> busy(B) >> stalled(B)
    assert ways(talk)[0] == C
    talk = talk >> Heard(C, Ihu(14), rtt=0.01)
    assert ways(talk)[0] == C


def test_of_two_ways_one_in_doubt_is_worse_than_one_that_is_fresh() -> None:
    talk = beside(*TWINS_AND_ANOTHER) >> stalled(D) >> stalled(D, False) >> busy(B) >> stalled(B)
    assert ways(talk)[0] == D


def test_spreading_ends_while_one_of_the_links_is_silent_and_begins_again_when_it_is_stable() -> None:
    talk = talk_over("udp", "udp") >> stalled(C)
    assert ways(talk) == (B, None, False)
    talk = talk >> stalled(C, False)
    assert ways(talk) == (B, C, False)
    talk = talk >> Silence(SHORTEST_RETURN + 0.1, answering=(B, C), rtt=0.01)
    assert ways(talk) == (B, C, True)


@pytest.mark.parametrize("seed", range(4))
def test_two_equal_links_do_not_alternate_nor_does_spreading(seed: int) -> None:
    """Ten minutes of noise on both. After the first seconds the data plane hears nothing more."""
    talk, rng = talk_over("udp", "udp"), Random(seed)
    changes = 0
    for tick in range(1200):
        for peer in (B, C):
            talk.speaker.neighbour_measured(peer, rng.uniform(0.008, 0.014), rng.uniform(0, 0.0015), talk.now)
            if tick % 40 == 0:
                talk.speaker.receive(peer, Ihu(14), talk.now)
        talk.now += 0.5
        talk.said.clear()
        talk.drain()
        changes += len(installs(talk))
    assert changes <= 1


def test_a_datagram_link_takes_over_from_a_stream_to_the_same_node_and_keeps_it() -> None:
    talk = Dialogue() >> linked(B, "tcp", 10) >> Heard(B, Hello(0)) >> Heard(B, Ihu(1), rtt=0.01)
    talk = talk >> Heard(B, update("D", 0, 0, OURS))
    talk = talk >> linked(C, "udp") >> Heard(C, Hello(0)) >> measured(C, 0.01)
    talk = talk >> Heard(C, update("D", 0, 0, OURS))
    assert ways(talk)[:2] == (C, B), "6 less is no reason to switch between others"
    talk = talk >> weighed(C, 15)
    assert ways(talk)[:2] == (C, B)
    talk = talk >> weighed(C, 20)
    assert ways(talk)[:2] == (B, C)


@pytest.mark.parametrize(
    ("loss", "place", "stream_is_chosen"),
    [(0.01, "one", False), (0.05, "one", False), (0.05, "other", True), (0.3, "one", True)],
    ids=["some loss", "much loss", "another path", "datagrams are throttled"],
)
def test_a_stream_that_hides_the_losses_of_its_path_does_not_look_better(
    loss: float, place: str, stream_is_chosen: bool
) -> None:
    talk = Dialogue() >> linked(B, "udp", 4, "one") >> linked(C, "tcp", 10, place)
    for peer in (B, C):
        talk = talk >> Heard(peer, Hello(0)) >> Heard(peer, Ihu(1), rtt=0.01)
        talk = talk >> Heard(peer, update("D", 0, 0, OURS))
    for _ in range(20):
        talk = talk >> Silence(0.5, answering=(C,), rtt=0.01) >> measured(B, 0.01, loss)
    assert ways(talk)[0] == (C if stream_is_chosen else B)
    shared = costs(talk)[C]
    talk = talk >> stalled(B)
    assert ways(talk)[0] == C and costs(talk)[C] == 20, "a silent link knows nothing of the path"
    talk = talk >> stalled(B, False)
    assert costs(talk)[C] == shared
    talk = talk >> Happens(lambda speaker, now: speaker.neighbour_down(B, now))
    assert ways(talk)[0] == C and costs(talk)[C] == 20


def test_a_fresh_link_is_returned_to_at_once_where_the_other_is_suspect() -> None:
    talk = Dialogue(B, C, static=4) >> measured(B, 0.01) >> measured(C, 0.05)
    talk = talk >> Heard(B, update("D", 0, 0)) >> Heard(C, update("D", 0, 0))
    talk = talk >> stalled(B) >> busy(C) >> Silence(4.0)
    assert talk.speaker.neighbours(talk.now)[1].is_suspect
    talk = talk >> stalled(B, False)
    assert ways(talk)[:2] == (B, C)


def test_a_stall_that_ends_before_anything_was_decided_moves_nothing() -> None:
    talk = Dialogue(B, C, static=4) >> measured(B, 0.01) >> measured(C, 0.05)
    talk = talk >> Heard(B, update("D", 0, 0)) >> Heard(C, update("D", 0, 0))
    talk.said.clear()
    talk.speaker.neighbour_stalled(B, talk.now)
    talk.speaker.neighbour_resumed(B, talk.now)
    talk.drain()
    assert installs(talk) == [] and ways(talk)[:2] == (B, C)


def test_strangers_that_come_and_go_make_no_link_of_ours_fresh() -> None:
    def inbound(peer: int) -> Happens:
        return Happens(lambda speaker, now: speaker.neighbour_up(peer, 4, now, kind="udp", wanted=False))

    def gone(peer: int) -> Happens:
        return Happens(lambda speaker, now: speaker.neighbour_down(peer, now))

    talk = talk_over("udp")
    for peer in range(100, 120):
        talk = talk >> inbound(peer) >> Heard(peer, update("D", 0, 0, OURS)) >> gone(peer)
    talk = talk >> inbound(120) >> Heard(120, update("D", 0, 0, OURS)) >> linked(C, "udp")
    talk = talk >> Heard(C, update("D", 0, 0, OURS))
    fresh = {each.peer: each.is_fresh for each in talk.speaker.neighbours(talk.now)}
    assert fresh == {B: False, 120: True, C: False}
