"""What Updates do: filters, feasibility, backups, expiry, restarts and keys, as dialogues."""

import pytest
from tests.babel.dialogue import (
    KEYS,
    OUR_ID,
    B,
    C,
    D,
    Dialogue,
    Happens,
    Heard,
    Silence,
    Silent,
    address,
    down,
    net,
    retraction,
    rid,
    up,
    update,
    wanted,
)

from zosnet.babel import ORDERED_ZONE, Install, Remove, Send, Unreachable, incarnation
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import INFINITY, Ihu, RouteRequest, Update


def ordered(name: str, second: int) -> RouterId:
    return RouterId.of(KEYS[name], ORDERED_ZONE, incarnation(second, b"xy"))


def test_a_lost_neighbour_withdraws_its_routes_and_they_are_forgotten_after_six_seconds() -> None:
    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 20)) << Install(net("D"), rid("D"), B, None, 1021)
    talk = talk >> down(B) << Unreachable(net("D"), rid("D")) << Send(C, retraction("D"))
    talk = talk >> Silence(5.9) << Silent()
    talk = talk >> Silence(0.2) << Remove(net("D"))
    assert talk.speaker.counters["prefixes"] == 0


def test_a_feasible_second_route_is_the_backup_and_takes_over_before_anything_is_said() -> None:
    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 20)) << Install(net("D"), rid("D"), B, None, 1021)
    talk = talk >> Heard(C, update("D", 0, 30)) << Install(net("D"), rid("D"), B, C, 1021) << Silent()
    talk = talk >> down(B) << Install(net("D"), rid("D"), C, None, 1031) << Silent()
    assert [route.next_hop for route in talk.speaker.selected()] == [C]


def test_installs_come_before_sends() -> None:
    talk = Dialogue(B, C, D) >> Heard(B, update("E", 0, 20)) >> Heard(C, update("E", 0, 900))
    talk = talk >> down(B)
    kinds = [type(action) for action in talk.said]
    assert Send in kinds
    assert Install not in kinds[kinds.index(Send) :]


def test_a_longer_route_is_no_backup_once_its_metric_was_advertised_by_ourselves() -> None:
    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 20)) >> Heard(C, update("D", 0, 1021)) << Silent()
    assert [route.next_hop for route in talk.speaker.fallback()] == [C]
    talk = (
        talk
        >> down(B)
        << Unreachable(net("D"), rid("D"))
        << Send(C, wanted("D", 1))
        << Send(C, retraction("D"))
    )
    talk = talk >> Heard(C, update("D", 1, 1021)) << Install(net("D"), rid("D"), C, None, 2022) << Silent()


def test_a_newer_seqno_takes_back_a_backup_that_it_makes_unfeasible() -> None:
    talk = Dialogue(B, C, D) >> Heard(B, update("E", 0, 20)) >> Heard(C, update("E", 0, 30))
    talk = talk >> Heard(B, update("E", 1, 20)) << Silent()
    talk = talk >> Heard(D, RouteRequest(net("E"), 0))
    talk = talk << Install(net("E"), rid("E"), B, None, 1021) << Send(D, update("E", 1, 1021)) << Silent()


def test_an_unfeasible_update_for_the_route_in_use_is_not_believed_but_asks_for_a_newer_seqno() -> None:
    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 20))
    talk = talk >> Heard(B, update("D", 0, 3000)) << Send(B, wanted("D", 1)) << Silent()
    talk = talk >> Silence(1.1) << Send(B, wanted("D", 1)) << Send(B, RouteRequest(net("D"), 0)) << Silent()
    talk = talk >> Heard(B, update("D", 1, 3000)) << Send(C, update("D", 1, 4001)) << Silent()
    talk = talk >> Silence(30.0) << Silent()


def test_an_unfeasible_update_for_the_route_in_use_makes_way_for_a_backup_that_is_shorter() -> None:
    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 20)) >> Heard(C, update("D", 0, 900))
    talk = talk >> Heard(B, update("D", 0, 3000)) << Install(net("D"), rid("D"), C, None, 1901)


def test_a_shorter_route_that_is_not_feasible_is_asked_to_become_so() -> None:
    talk = Dialogue(B, C, D) >> Heard(B, update("E", 5, 2000)) >> Heard(C, update("E", 4, 20))
    talk << Send(C, wanted("E", 6)) << Silent()
    talk = talk >> Silence(600.0, answering=(B, C, D))
    assert 3 <= sum(action == Send(C, wanted("E", 6)) for action in talk.said) <= 6
    talk = talk >> Heard(C, update("E", 6, 20))
    assert [route.next_hop for route in talk.speaker.selected()] == [C]


def test_small_differences_neither_switch_nor_are_announced() -> None:
    talk = Dialogue(B, C, D) >> Heard(B, update("E", 0, 80)) >> Heard(C, update("E", 0, 75))
    talk << Install(net("E"), rid("E"), B, C, 1081) << Silent()
    talk = talk >> Heard(B, update("E", 0, 85)) << Silent()
    talk = talk >> Heard(B, update("E", 0, 160)) << Install(net("E"), rid("E"), C, B, 1076)
    talk = talk << Send(B, update("E", 0, 1076)) << Silent()


@pytest.mark.parametrize(
    ("bad", "counter"),
    [
        (Update(Prefix.parse("fd00::/64"), rid("D"), 0, 20), "refused.prefix"),
        (Update(Prefix(address("D") >> 68 << 68, 60), rid("D"), 0, 20), "refused.prefix"),
        (Update(net("D"), rid("E"), 0, 20), "refused.router_id"),
        (Update(net("A"), rid("A"), 0, 20), "ignored.own_prefix"),
    ],
)
def test_filters(bad: Update, counter: str) -> None:
    talk = Dialogue(B) >> Heard(B, bad) << Silent()
    assert talk.speaker.counters[counter] == 1
    assert talk.speaker.counters["routes"] == 0


def test_a_longer_prefix_with_its_owners_address_is_a_route() -> None:
    host = Prefix(address("D"), 128)
    talk = Dialogue(B) >> Heard(B, Update(host, rid("D"), 0, 20)) << Install(host, rid("D"), B, None, 1021)
    talk = talk >> Heard(B, Update(host, rid("E"), 0, INFINITY)) << Unreachable(host, rid("D"))


def test_retractions_of_what_we_never_had_are_ignored() -> None:
    Dialogue(B) >> Heard(B, update("D", 0, INFINITY)) << Silent()


def test_another_key_for_a_known_prefix_is_refused_for_half_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    other = RouterId.of(KEYS["E"], 0, bytes(6))
    monkeypatch.setattr(RouterId, "address", property(lambda _: address("D")))
    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 900))
    talk = talk >> Heard(C, Update(net("D"), other, 0, 0)) << Silent()
    assert talk.speaker.counters["refused.key"] == 1
    talk = (
        talk
        >> down(B)
        >> Silence(600.0, answering=(C,))
        >> Heard(C, Update(net("D"), other, 0, 0))
        << Silent()
    )
    assert talk.speaker.counters["refused.key"] == 2
    talk = talk >> Silence(1300.0, answering=(C,)) >> Heard(C, Update(net("D"), other, 0, 0))
    talk << Install(net("D"), other, C, None, 2, originates=True)


def test_another_key_is_refused_before_we_announced_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    other = RouterId.of(KEYS["E"], 0, bytes(6))
    monkeypatch.setattr(RouterId, "address", property(lambda _: address("D")))
    talk = Dialogue(B, C)
    talk.speaker.receive(B, update("D", 0, 900), talk.now)
    talk.speaker.receive(C, Update(net("D"), other, 0, 0), talk.now)
    assert talk.speaker.counters["refused.key"] == 1


def test_a_forged_seqno_does_not_draw_traffic_from_a_route_that_works() -> None:
    talk = Dialogue(B, C) >> Heard(B, update("D", 7, 20)) >> Heard(C, update("D", 20_000, 0)) << Silent()
    assert talk.speaker.counters["refused.seqno_jump"] == 1
    talk = (
        talk
        >> down(B)
        >> Heard(C, update("D", 20_000, 0))
        << Install(net("D"), rid("D"), C, None, 1001, originates=True)
    )


def test_a_restart_is_believed_and_its_former_self_no_longer() -> None:
    old, new = ordered("D", 1000), ordered("D", 2000)
    talk = Dialogue(B, C) >> Heard(B, update("D", 9, 900, old)) >> Heard(C, update("D", 0, 500, new))
    talk << Install(net("D"), new, C, None, 1501)
    talk = talk >> Heard(B, update("D", 10, 20, old)) << Silent()
    talk = talk >> Heard(C, update("D", 0, INFINITY, new)) << Unreachable(net("D"), new)
    talk = talk >> Silence(5.5)
    assert talk.speaker.selected() == []
    talk = talk >> Silence(0.6) << Install(net("D"), old, B, None, 1021)


def test_of_two_starts_the_earlier_one_is_never_gone_back_to_however_near() -> None:
    old, new = ordered("D", 1000), ordered("D", 2000)
    talk = (
        Dialogue(B, C) >> Heard(B, update("D", 0, 500, new)) >> Heard(C, update("D", 9, 1, old)) << Silent()
    )
    talk = talk >> Heard(B, update("D", 0, 600, ordered("D", 3000)))
    talk << Install(net("D"), ordered("D", 3000), B, None, 1601)


def test_a_next_hop_hears_that_we_know_an_earlier_incarnation_no_longer() -> None:
    old, new = ordered("D", 1000), ordered("D", 2000)
    talk = (
        Dialogue(B, C) >> Heard(B, update("D", 9, 900, old)) << Send(C, update("D", 9, 1901, old)) << Silent()
    )
    talk = talk >> Heard(C, update("D", 0, 20, new)) << Install(net("D"), new, C, None, 1021)
    talk << Send(B, update("D", 0, 1021, new)) << Send(C, update("D", 0, 1021, new)) << Silent()


def test_a_forged_start_draws_no_traffic_from_a_route_that_is_shorter() -> None:
    """Whatever start a stranger claims, its metric is weighed, as a stock node would."""
    real, forged = ordered("D", 1000), ordered("D", 2000)
    talk = Dialogue(B, C) >> Heard(B, update("D", 5, 0, real)) >> Heard(C, update("D", 0, 60_000, forged))
    assert [route.next_hop for route in talk.speaker.selected()] == [B]
    talk = Dialogue(B, C) >> Heard(B, update("D", 5, 20, real)) >> Heard(C, update("D", 0, 500, forged))
    talk = talk << Silent() >> down(B) << Install(net("D"), forged, C, None, 1501)


def test_a_forged_start_cannot_keep_out_the_originator_itself() -> None:
    real, forged = ordered("D", 1000), ordered("D", 2000)
    talk = Dialogue(B, C) >> Heard(C, update("D", 0, 500, forged)) << Install(net("D"), forged, C, None, 1501)
    talk = (
        talk >> Heard(B, update("D", 5, 0, real)) << Install(net("D"), real, B, None, 1001, originates=True)
    )
    talk = talk >> Heard(C, update("D", 1, 0, forged)) << Silent()


def test_a_start_in_the_future_is_believed_only_while_there_is_nothing_else() -> None:
    talk = Dialogue(B, C, epoch_at_zero=1_000_000.0)
    today, tomorrow, beyond = (ordered("D", 1_000_000 + s) for s in (0, 86_400, 90_000))
    talk = talk >> Heard(C, update("D", 0, 10, beyond)) << Install(net("D"), beyond, C, None, 1011)
    talk = talk >> Heard(B, update("D", 0, 500, today)) << Install(net("D"), today, B, None, 1501)
    talk = talk >> Heard(C, update("D", 1, 0, beyond)) << Silent()
    talk = (
        talk
        >> Heard(C, update("D", 0, 0, tomorrow))
        << Install(net("D"), tomorrow, C, None, 1001, originates=True)
    )


def test_a_node_whose_clock_stands_still_in_1970_has_routes_and_weighs_starts_all_the_same() -> None:
    old, new = ordered("D", 1_000_000), ordered("D", 2_000_000)
    talk = Dialogue(B, C, epoch_at_zero=0.0)
    talk = talk >> Heard(B, update("D", 0, 900, old)) >> Heard(C, update("D", 0, 20, new))
    talk << Install(net("D"), new, C, None, 1021)
    talk = talk >> Heard(B, update("D", 1, 1, old)) >> down(C) << Unreachable(net("D"), new)


def test_nobody_goes_back_to_a_router_id_that_was_succeeded() -> None:
    old, new = rid("D", "000000000001"), rid("D", "000000000002")
    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 900, old)) >> Heard(C, update("D", 0, 0, new))
    talk << Install(net("D"), new, C, None, 1001, originates=True)
    talk = talk >> Heard(B, update("D", 5, 1, old)) >> down(C) << Unreachable(net("D"), new)
    talk = talk >> Silence(6.1) << Install(net("D"), old, B, None, 1002)


def test_a_route_that_nobody_renews_expires_after_three_and_a_half_intervals() -> None:
    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 20))
    talk = talk >> Silence(900.0, answering=(B, C)) >> Heard(B, update("D", 0, 20))
    talk = talk >> Silence(1049.0, answering=(B, C))
    assert len(talk.speaker.selected()) == 1
    talk = (
        talk >> Silence(2.0, answering=(B, C)) << Unreachable(net("D"), rid("D")) << Send(C, retraction("D"))
    )


def test_a_route_in_use_is_asked_for_again_before_it_expires() -> None:
    used = Happens(lambda speaker, now: speaker.route_used([net("D"), net("E")], now))
    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 20)) >> used << Silent()
    talk = talk >> Silence(1000.0, answering=(B, C)) >> used << Send(B, RouteRequest(net("D"), 0)) << Silent()
    talk = talk >> used << Silent()
    talk = talk >> Heard(B, update("D", 0, 20)) >> Silence(100.0, answering=(B, C))
    assert len(talk.speaker.selected()) == 1


def test_a_used_route_gets_the_backup_back_that_a_newer_seqno_took() -> None:
    used = Happens(lambda speaker, now: speaker.route_used([net("E")], now))
    talk = Dialogue(B, C, D) >> Heard(B, update("E", 0, 20)) >> Heard(C, update("E", 0, 30))
    talk = talk >> Heard(D, update("E", 0, 1021))
    talk = talk >> Heard(B, update("E", 1, 20)) >> Heard(D, RouteRequest(net("E"), 0))
    talk = talk >> used << Send(C, wanted("E", 1)) << Silent()
    talk = talk >> used << Silent()
    talk = talk >> Heard(C, update("E", 1, 30)) << Install(net("E"), rid("E"), B, C, 1021) << Silent()
    talk = talk >> Silence(10.0) >> used << Silent()
    assert talk.speaker.counters["received.update"] == 5


def test_routes_are_told_again_to_neighbours_of_our_own_kind_alone() -> None:
    kin = RouterId.of(KEYS["C"], ORDERED_ZONE, bytes(6))
    talk = Dialogue(B, C, D) >> Heard(B, Ihu(1)) >> Heard(C, Ihu(1)) >> Heard(D, Ihu(1))
    talk = talk >> Heard(B, update("E", 0, 20)) >> Heard(C, update("C", 0, 0, kin))
    talk = talk >> Silence(306.0, answering=(B, C, D))
    again = [action for action in talk.said if isinstance(action, Send) and action.tlv == update("E", 0, 21)]
    assert again
    assert {action.peer for action in again} == {C}


def test_a_stalled_neighbour_is_used_for_nothing_until_it_is_resumed() -> None:
    stalled = Happens(lambda speaker, now: speaker.neighbour_stalled(B, now))
    resumed = Happens(lambda speaker, now: speaker.neighbour_resumed(B, now))
    talk = (
        Dialogue(B, C)
        >> Heard(B, update("D", 0, 20))
        >> Heard(B, update("E", 0, 20))
        >> Heard(C, update("D", 0, 40))
    )
    talk = talk >> stalled << Install(net("D"), rid("D"), C, None, 1041) << Unreachable(net("E"), rid("E"))
    talk << Send(C, retraction("E"))
    assert [n.cost for n in talk.speaker.neighbours(talk.now)] == [INFINITY, 1001]
    talk = talk >> stalled << Silent()
    talk = (
        talk
        >> resumed
        << Install(net("D"), rid("D"), C, B, 1041)
        << Install(net("E"), rid("E"), B, None, 1021)
    )
    talk << Send(C, update("E", 0, 1021))


def test_the_data_plane_knows_whether_it_sends_to_the_originator_itself() -> None:
    def said(metric: int, backup: int | None, *hints: bool) -> Install:
        return Install(net("D"), rid("D"), B, backup, metric, *hints)

    talk = Dialogue(B, C) >> Heard(B, update("D", 0, 0)) << said(1001, None, False, True, False)
    talk = talk >> Heard(C, update("D", 0, 0)) << said(1001, C, True, True, True)
    talk = talk >> Heard(C, update("D", 0, 1)) << said(1001, C, True, True, False) << Silent()
    talk = talk >> Heard(B, update("D", 0, 7)) << said(1008, C, True, False, False)
    talk >> down(B) >> down(C) << Unreachable(net("D"), rid("D"))


def test_ten_thousand_routes_are_decided_in_slices_installs_first() -> None:
    talk = Dialogue(B, C)
    talk.speaker.receive(B, update("D", 0, 0), talk.now)
    for host in range(3000):
        prefix = Prefix(net("E").network | host, 128)
        for peer, metric in ((B, 20), (C, 30)):
            talk.speaker._routing._node.table.add(
                talk.speaker._routing._node.neighbours[peer], Update(prefix, rid("E"), 0, metric), talk.now
            )
        talk.speaker._routing.decide(talk.speaker._routing._node.table.entries[prefix])
    talk.drain()
    talk.speaker.neighbour_down(B, talk.now)
    first = talk.speaker.poll()
    assert len(first) == 1024
    assert all(isinstance(action, Install | Unreachable) for action in first)
    assert talk.speaker.deadline() == talk.now
    talk.drain()
    assert len(talk.speaker.selected()) == 3000
    assert {route.next_hop for route in talk.speaker.selected()} == {C}


def test_what_we_say_of_ourselves_is_repeated_every_five_minutes() -> None:
    talk = Dialogue(B) >> Silence(301.0, answering=(B,)) << Send(B, update("A", 0, 0, OUR_ID))
    assert talk.speaker.router_id == OUR_ID


def test_a_link_that_is_up_already_and_one_that_nobody_knows_change_nothing() -> None:
    talk = Dialogue(B) >> up(B) << Silent()
    talk = talk >> down(D) << Silent()
    talk = talk >> Heard(D, update("D", 0, 0)) << Silent()
    assert talk.speaker.counters["ignored.unknown_neighbour"] == 1
