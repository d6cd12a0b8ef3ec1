"""Peering, as a dialogue: what happened, and what it wants done about it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from zosnet.model.endpoint import Endpoint
from zosnet.model.keys import SecretKey
from zosnet.model.router_id import RouterId
from zosnet.service.peer import (
    Address,
    Close,
    Dial,
    Forgotten,
    Limits,
    Linked,
    Resolve,
    Waiting,
    Weigh,
)
from zosnet.service.peering import Peering

A = Endpoint.parse("tcp://a.example:9651")
B = Endpoint.parse("tcp://192.0.2.2:9651")
SIX, FOUR = Address("2001:db8::1", 9651), Address("192.0.2.1", 9651)
LIMITS = Limits()


def router(name: str) -> RouterId:
    return RouterId.of(SecretKey(name.encode().ljust(32, b".")).public(), 0, bytes(6))


ONE, OTHER = sorted((router("one"), router("other")), key=lambda each: each.raw)
STRANGER = router("stranger")


def peering(own: RouterId = ONE, **limits: int) -> Peering:
    return Peering(own, rng=random.Random(1), limits=replace(LIMITS, **limits))


def dials(machine: Peering) -> list[Dial]:
    return [action for action in machine.poll() if isinstance(action, Dial)]


def linked(machine: Peering, endpoint: Endpoint = A, address: Address = SIX, link: int = 1) -> None:
    machine.want(endpoint, "static", 0.0)
    machine.resolved(endpoint, (address,), 0.0)
    (dial,) = dials(machine)
    assert machine.link_up(link, dial.token, "tcp", address, 0.0)


def state(machine: Peering, endpoint: Endpoint = A) -> object:
    return next(peer.state for peer in machine.peers() if peer.endpoint == endpoint)


def test_a_wanted_peer_is_resolved_dialled_and_linked() -> None:
    machine = peering()
    assert machine.want(A, "static", 0.0)
    assert machine.poll() == [Resolve(A)]
    machine.resolved(A, (SIX,), 0.1)
    assert machine.poll() == [Dial(1, "tcp", SIX, LIMITS.dial_timeout)]
    assert machine.link_up(7, 1, "tcp", SIX, 0.2)
    assert state(machine) == Linked(7, SIX, 0.2)
    assert machine.poll() == [] and machine.deadline() is None


def test_a_dial_asks_for_the_key_that_the_endpoint_names_and_the_link_gets_its_weight() -> None:
    machine, key = peering(), router("other").public_key
    wanted = Endpoint.parse(f"udp://{key.hex}@192.0.2.1:9651?weight=9&metered")
    machine.want(wanted, "static", 0.0)
    machine.resolved(wanted, (FOUR,), 0.0)
    (dial,) = dials(machine)
    assert (dial.proto, dial.key) == ("udp", key.raw)
    assert machine.link_up(3, dial.token, "udp", FOUR, 0.0)
    assert machine.poll() == [Weigh(3, 9, True)]


def test_other_wishes_for_a_peer_apply_to_its_link_unless_another_key_is_among_them() -> None:
    machine = peering()
    linked(machine)
    assert machine.want(replace(A, weight=5), "static", 1.0)
    assert machine.poll() == [Weigh(1, 5, False)]
    assert not machine.want(replace(A, weight=5), "static", 1.0)
    assert not machine.want(A, "discovered", 1.0), "a beacon wishes nothing"
    assert machine.want(replace(A, key=router("other").public_key), "static", 2.0)
    assert machine.poll() == [Close(1, "another key is wanted there"), Resolve(A)]
    machine.link_down(1, "closed", 2.1)
    assert machine.want(A, "static", 3.0) and machine.poll() == []


def test_a_peer_is_wanted_once() -> None:
    machine = peering()
    assert machine.want(A, "static", 0.0)
    assert not machine.want(A, "static", 0.0)


def test_all_addresses_of_a_name_are_tried_a_moment_apart_and_the_first_link_wins() -> None:
    machine = peering()
    machine.want(A, "static", 0.0)
    machine.resolved(A, (SIX, FOUR), 0.0)
    (first,) = dials(machine)
    assert first.address == SIX and machine.deadline() == LIMITS.stagger
    machine.wake(LIMITS.stagger)
    (second,) = dials(machine)
    assert second.address == FOUR
    assert machine.link_up(1, second.token, "tcp", FOUR, 0.3)
    assert not machine.link_up(2, first.token, "tcp", SIX, 0.4)
    assert machine.poll() == [Close(2, "another link to this peer was faster")]


def test_a_refused_address_is_followed_by_the_next_at_once() -> None:
    machine = peering()
    machine.want(A, "static", 0.0)
    machine.resolved(A, (SIX, FOUR), 0.0)
    (first,) = dials(machine)
    machine.dial_failed(first.token, "refused", 0.01)
    assert [dial.address for dial in dials(machine)] == [FOUR]


def test_a_failure_waits_longer_each_time_and_resolves_anew() -> None:
    machine = peering()
    machine.want(A, "static", 0.0)
    machine.poll()
    now, waits = 0.0, []
    for _ in range(12):
        machine.resolve_failed(A, "no such name", now)
        due = machine.deadline()
        assert due is not None
        waits.append(due - now)
        now = due
        machine.wake(now)
        assert machine.poll() == [Resolve(A)]
    for number, wait in enumerate(waits):
        longest = min(LIMITS.first_delay * 2**number, LIMITS.longest_delay)
        assert longest / 2 <= wait <= longest


def test_a_stable_link_resets_the_delay_and_an_unstable_one_does_not() -> None:
    machine = peering()
    linked(machine)
    now = LIMITS.stable_after
    machine.link_down(1, "reset", now)
    peer = machine.peers()[0]
    assert (peer.delay, peer.failures) == (LIMITS.first_delay, 1)
    machine.wake(now + 1)
    machine.resolved(A, (SIX,), now + 1)
    machine.link_up(2, dials(machine)[0].token, "tcp", SIX, now + 1)
    machine.link_down(2, "reset", now + 2)
    assert (peer.delay, peer.failures) == (2 * LIMITS.first_delay, 2)


def test_no_address_is_a_failure() -> None:
    machine = peering()
    machine.want(A, "static", 0.0)
    machine.resolved(A, (), 0.0)
    assert machine.peers()[0].last_error == "the name has no address"


def test_addresses_beyond_the_bound_are_not_dialled() -> None:
    machine = peering(addresses=2)
    machine.want(A, "static", 0.0)
    machine.resolved(A, (SIX, FOUR, Address("192.0.2.9", 9651)), 0.0)
    machine.wake(1.0)
    machine.wake(2.0)
    assert len(dials(machine)) == 2 and machine.deadline() is None


def test_a_discovered_peer_is_forgotten_after_three_failures() -> None:
    machine = peering()
    assert machine.discovered(B, OTHER, 0.0)
    for _ in range(3):
        due = machine.deadline()
        machine.wake(due if due is not None else 0.0)
        machine.resolved(B, (FOUR,), 0.0)
        machine.dial_failed(dials(machine)[-1].token, "no route", 0.0)
    assert machine.poll() == [Forgotten(B)]
    assert machine.peers() == []


def test_discovered_peers_are_bounded_and_counted() -> None:
    machine = peering(discovered=2)
    for number in range(4):
        machine.discovered(Endpoint.parse(f"tcp://192.0.2.{number + 1}:9651"), OTHER, 0.0)
    assert len(machine.peers()) == 2 and machine.refused == 2


def test_a_beacon_of_ones_own_or_of_a_linked_router_changes_nothing() -> None:
    machine = peering()
    assert not machine.discovered(B, ONE, 0.0)
    linked(machine)
    machine.recognised(1, OTHER, 0.0)
    assert not machine.discovered(B, OTHER, 0.0)


def test_an_inbound_peer_is_forgotten_when_it_goes() -> None:
    machine = peering()
    assert machine.link_up(1, None, "tcp", FOUR, 0.0)
    assert [(str(p.endpoint), p.kind) for p in machine.peers()] == [("tcp://192.0.2.1:9651", "inbound")]
    machine.link_down(1, "closed", 1.0)
    assert machine.peers() == [] and machine.deadline() is None


def test_a_newer_inbound_link_from_the_same_address_replaces_the_old() -> None:
    machine = peering()
    machine.link_up(1, None, "quic", SIX, 0.0)
    machine.link_up(2, None, "quic", SIX, 1.0)
    assert [action.link for action in machine.poll() if isinstance(action, Close)] == [1]
    machine.link_down(1, "closed", 1.1)
    assert [peer.link for peer in machine.peers()] == [2]


def test_inbound_links_are_bounded() -> None:
    machine = peering(inbound=1)
    assert machine.link_up(1, None, "tcp", FOUR, 0.0)
    assert not machine.link_up(2, None, "tcp", SIX, 0.0)
    assert machine.poll() == [Close(2, "too many inbound links")]


def test_two_names_for_one_address_make_one_link() -> None:
    machine = peering()
    linked(machine, A, FOUR, link=1)
    other = Endpoint.parse("tcp://b.example:9651")
    machine.want(other, "static", 0.0)
    machine.resolved(other, (FOUR,), 0.0)
    assert not machine.link_up(2, dials(machine)[0].token, "tcp", FOUR, 0.0)
    assert machine.poll() == [Close(2, "already linked to this address")]
    assert isinstance(state(machine, other), Waiting)


def test_a_link_to_oneself_is_closed_and_tried_again_only_late() -> None:
    machine = peering()
    linked(machine)
    assert not machine.recognised(1, ONE, 5.0)
    assert [action.link for action in machine.poll() if isinstance(action, Close)] == [1]
    peer = machine.peers()[0]
    assert "itself" in peer.last_error
    assert isinstance(peer.state, Waiting) and peer.state.until >= 5.0 + LIMITS.longest_delay / 2
    machine.link_down(1, "closed", 5.1)
    assert peer.failures == 1


def test_a_stranger_from_afar_that_claims_a_router_id_hides_no_beacon() -> None:
    machine = peering()
    machine.link_up(1, None, "tcp", FOUR, 0.0)
    machine.recognised(1, OTHER, 0.0)
    assert machine.discovered(B, OTHER, 0.0)


@pytest.mark.parametrize(("own", "other", "stays"), [(ONE, OTHER, True), (OTHER, ONE, False)])
def test_of_two_discovered_links_between_two_routers_both_sides_drop_the_same(
    own: RouterId, other: RouterId, stays: bool
) -> None:
    machine = peering(own)
    machine.link_up(1, None, "tcp", Address("fe80::1", 40000, 2), 0.0)
    machine.recognised(1, other, 0.0)
    machine.want(B, "discovered", 0.0)
    machine.resolved(B, (FOUR,), 0.0)
    machine.link_up(2, dials(machine)[0].token, "tcp", FOUR, 0.0)
    assert machine.recognised(2, other, 0.0) is stays
    assert (B in machine.wanted("discovered")) is stays


def test_forgetting_a_peer_closes_its_link_or_drops_its_dials() -> None:
    machine = peering()
    linked(machine)
    assert machine.forget(A, 1.0)
    assert machine.poll() == [Close(1, "peer removed")]
    assert not machine.forget(A, 1.0)
    machine.want(A, "static", 2.0)
    machine.resolved(A, (SIX,), 2.0)
    (dial,) = dials(machine)
    machine.forget(A, 2.1)
    assert not machine.link_up(3, dial.token, "tcp", SIX, 2.2)
    assert machine.poll() == [Close(3, "another link to this peer was faster")]


def test_an_inbound_peer_can_be_removed_by_its_address() -> None:
    machine = peering()
    machine.link_up(4, None, "tcp", FOUR, 0.0)
    assert machine.forget(Endpoint.parse("tcp://192.0.2.1:9651"), 1.0)
    assert machine.poll() == [Close(4, "peer removed")]


def test_what_is_told_about_unknown_things_is_ignored() -> None:
    machine = peering()
    machine.resolved(A, (SIX,), 0.0)
    machine.resolve_failed(A, "?", 0.0)
    machine.dial_failed(99, "?", 0.0)
    machine.link_down(99, "?", 0.0)
    assert not machine.recognised(99, OTHER, 0.0)
    assert machine.peers() == [] and machine.poll() == []


def test_a_link_local_inbound_peer_keeps_its_interface() -> None:
    machine = peering()
    machine.link_up(1, None, "tcp", Address("fe80::1", 9651, 3), 0.0)
    assert str(machine.peers()[0].endpoint) == "tcp://[fe80::1%3]:9651"


def test_the_accepting_end_of_a_link_to_oneself_waits_for_the_dialling_end() -> None:
    machine = peering()
    machine.link_up(1, None, "tcp", FOUR, 0.0)
    assert not machine.recognised(1, ONE, 0.0)
    assert machine.poll() == [] and machine.deadline() == LIMITS.mirror
    machine.wake(LIMITS.mirror)
    assert machine.poll() == [Close(1, "it comes from this node itself")]
    assert machine.deadline() is None


def test_a_router_that_is_not_listed_is_turned_away() -> None:
    machine = peering()
    machine.allow(frozenset({OTHER.public_key}), 0.0)
    linked(machine)
    machine.poll()
    assert machine.recognised(1, OTHER, 1.0)
    assert machine.poll() == []
    machine.link_up(2, None, "tcp", SIX, 1.0)
    assert not machine.recognised(2, STRANGER, 2.0)
    (closed,) = machine.poll()
    assert isinstance(closed, Close) and (closed.link, machine.peer_of(2)) == (2, None)
    assert machine.counters() == {"peers_refused": 0, "links_unlisted": 1}
    assert not machine.discovered(B, STRANGER, 3.0), "nor is it dialled where a beacon names it"


def test_where_only_some_may_link_a_link_that_says_nothing_does_not_stay() -> None:
    machine = peering()
    machine.allow(frozenset({OTHER.public_key}), 0.0)
    machine.link_up(1, None, "tcp", SIX, 0.0)
    machine.link_up(2, None, "tcp", FOUR, 0.0)
    assert machine.recognised(2, OTHER, 1.0)
    assert machine.deadline() == machine.limits.naming
    machine.wake(machine.limits.naming)
    assert [action.link for action in machine.poll() if isinstance(action, Close)] == [1]
    assert machine.deadline() is None


def test_a_new_list_closes_the_links_of_those_who_left_it() -> None:
    machine = peering()
    linked(machine)
    machine.link_up(2, None, "tcp", FOUR, 0.0)
    assert machine.recognised(1, OTHER, 1.0) and machine.recognised(2, STRANGER, 1.0)
    machine.poll()
    machine.allow(frozenset({OTHER.public_key}), 2.0)
    assert [action.link for action in machine.poll() if isinstance(action, Close)] == [2]
    machine.allow(frozenset({STRANGER.public_key}), 3.0)
    assert [action.link for action in machine.poll() if isinstance(action, Close)] == [1]
    assert isinstance(state(machine), Waiting), "a wanted peer is tried again, late"
    machine.allow(None, 4.0)
    machine.link_up(3, None, "tcp", FOUR, 4.0)
    assert machine.recognised(3, STRANGER, 5.0)
