"""Links: greetings, cost, liveness, and suspicion."""

from random import Random

import pytest
from tests.babel.dialogue import B, C, Dialogue, Happens, Heard, Silence, Silent, net, rid, update

from zosnet.babel import Disconnect, Install, Limits, Send
from zosnet.babel.cost import LinkCost
from zosnet.wire.babel import Hello, Ihu

busy = Happens(lambda speaker, now: speaker.neighbour_busy(B, True, now))
idle = Happens(lambda speaker, now: speaker.neighbour_busy(B, False, now))


def hellos(talk: Dialogue, peer: int = B) -> int:
    return sum(isinstance(a, Send) and a.peer == peer and isinstance(a.tlv, Hello) for a in talk.said)


def cost(talk: Dialogue) -> int:
    return talk.speaker.neighbours(talk.now)[0].cost


def test_the_first_answer_counts_in_full_and_metrics_follow_it_at_once() -> None:
    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 0)) << Send(C, update("D", 0, 1001))
    talk = talk >> Heard(B, Ihu(10), rtt=0.0205) << Send(C, update("D", 0, 21)) << Silent()
    assert talk.speaker.neighbours(talk.now)[0].rtt == 0.02


def test_hellos_are_frequent_at_first_then_every_twenty_seconds_and_twice_a_second_when_busy() -> None:
    talk = Dialogue(B) >> Heard(B, Ihu(1), rtt=0.001) >> Silence(2.0, answering=(B,))
    assert hellos(talk) == 4
    assert hellos(talk >> Silence(58.0, answering=(B,))) in (2, 3)
    assert hellos(talk >> busy >> Silence(10.0, answering=(B,))) in (19, 20)
    assert hellos(talk >> idle >> Silence(60.0, answering=(B,))) in (2, 3, 4)


def test_a_neighbour_that_never_answers_is_disconnected_after_43_seconds() -> None:
    talk = Dialogue(B) >> Heard(B, update("D", 0, 20)) >> Silence(42.9)
    assert talk.speaker.neighbours(talk.now)
    talk = talk >> Silence(0.2) << Disconnect(B, "no IHU for 43 s")
    assert talk.speaker.neighbours(talk.now) == []
    assert talk.speaker.selected() == []


def test_a_hello_is_answered_at_once_with_what_the_link_costs() -> None:
    Dialogue(B) >> Heard(B, Hello(4)) << Send(B, Ihu(1001))


def test_without_a_measurement_of_the_data_plane_the_time_since_our_hello_counts() -> None:
    talk = Dialogue(B) >> Silence(0.0505) >> Heard(B, Ihu(1))
    assert cost(talk) == 51


def test_an_ihu_nobody_asked_for_is_no_sample() -> None:
    talk = Dialogue(B) >> Heard(B, Ihu(1), rtt=0.03) >> Heard(B, Ihu(1), rtt=0.0)
    assert cost(talk) == 31


def test_a_busy_neighbour_that_stops_answering_is_the_last_resort_until_it_answers() -> None:
    talk = Dialogue(B, C, static=10) >> Heard(B, Ihu(1)) >> Heard(C, Ihu(1)) >> Silence(3.0, answering=(B, C))
    talk = talk >> Heard(B, update("D", 0, 20)) >> Heard(C, update("D", 0, 25)) >> busy
    talk = talk >> Silence(3.0, answering=(B, C)) << Silent()
    talk = talk >> Silence(3.0, answering=(C,)) << Install(net("D"), rid("D"), C, B, 35)
    talk = talk << Send(B, update("D", 0, 35)) << Silent()
    assert [n.is_suspect for n in talk.speaker.neighbours(talk.now)] == [True, False]
    talk = talk >> Heard(B, Ihu(1), rtt=0.001)
    assert [n.is_suspect for n in talk.speaker.neighbours(talk.now)] == [False, False]


def test_a_slow_neighbour_that_always_answers_is_never_suspected() -> None:
    talk = Dialogue(B, static=10) >> busy
    for _ in range(10):
        talk = talk >> Silence(4.0, answering=(B,), rtt=1.9)
        assert not talk.speaker.neighbours(talk.now)[0].is_suspect


def test_one_neighbour_too_many_is_refused() -> None:
    talk = Dialogue(B, limits=Limits(neighbours=1)) >> Happens(lambda s, now: s.neighbour_up(C, 1, now))
    talk << Disconnect(C, "too many neighbours") << Silent()


def test_noise_and_outliers_do_not_move_the_cost() -> None:
    link, rng, moves = LinkCost(10), Random(1), 0
    for tick in range(400):
        rtt = 0.05 + 0.008 * (rng.random() - 0.5) + (1.0 if rng.random() < 0.05 else 0.0)
        moves += link.sample(rtt, 0.5 * tick)
    assert moves <= 3
    assert abs(link.total - 60) <= 10


@pytest.mark.parametrize("after", [0.2, 0.005])
def test_a_lasting_change_moves_the_cost_within_five_seconds_of_busy_sampling(after: float) -> None:
    link = LinkCost(10)
    for tick in range(20):
        link.sample(0.05, 0.5 * tick)
    for tick in range(20, 30):
        link.sample(after, 0.5 * tick)
    assert link.in_use == int(1000 * after)


def test_costs_are_bounded() -> None:
    link = LinkCost(0)
    assert link.rtt is None
    link.sample(-1.0, 0.0)
    assert link.total == 1
    far = LinkCost(70_000)
    far.sample(1e9, 0.0)
    assert far.in_use == 10_000
    assert far.total == 65534
