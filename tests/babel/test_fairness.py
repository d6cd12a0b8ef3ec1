"""One neighbour whose link's cost changes all the time keeps nobody else's routes from being worked on."""

import pytest
from tests.babel.dialogue import B, C, Dialogue, Heard, Silence, originators

from zosnet.babel import Action, Limits, Send, Unreachable
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Update

POLLS, EVERY = 400, 0.01


def announce(talk: Dialogue, peer: int, far: list[RouterId]) -> Dialogue:
    own = originators(1, 100 + peer)[0]
    talk = talk >> Heard(peer, Update(own.subnet, own, 0, 0))
    for router_id in far:
        talk = talk >> Heard(peer, Update(router_id.subnet, router_id, 0, 100))
    return talk >> Silence(0.1)


def flip_on(talk: Dialogue, polls: int = 1) -> list[Action]:
    """The link to B is metered, and not metered, once in so many polls: no other change is as frequent."""
    said: list[Action] = []
    for n in range(POLLS):
        talk.now += EVERY
        if n % polls == 0:
            talk.speaker.neighbour_weighed(B, 0, n // polls % 2 == 1, talk.now)
        talk.speaker.wake(talk.now)
        said += talk.speaker.poll()
    return said


@pytest.mark.parametrize("polls", [1, 17])
def test_updates_go_out_though_there_is_always_something_to_decide(polls: int) -> None:
    """Or nearly so: after 16 polls all is decided."""
    (new,) = originators(1, 2)
    talk = announce(announce(Dialogue(B, C, limits=Limits(slice=4)), B, originators(64, 1)), C, [])
    flip_on(talk, polls)
    talk.speaker.receive(C, Update(new.subnet, new, 0, 100), talk.now)
    said = flip_on(talk, polls)
    told = {
        action.tlv.prefix for action in said if isinstance(action, Send) and isinstance(action.tlv, Update)
    }
    assert new.subnet in told


@pytest.mark.parametrize("are_used", [True, False])
def test_what_is_not_in_use_is_decided_though_used_routes_are_marked_all_the_time(are_used: bool) -> None:
    flipping, lost = originators(64, 1), originators(8, 2)
    talk = announce(announce(Dialogue(B, C, limits=Limits(slice=4)), B, flipping), C, lost)
    if are_used:
        talk.speaker.route_used([router_id.subnet for router_id in flipping], talk.now)
    talk.speaker.neighbour_weighed(B, 0, True, talk.now)
    talk.speaker.neighbour_down(C, talk.now)
    gone: set[Prefix] = {a.prefix for a in flip_on(talk) if isinstance(a, Unreachable)}
    assert gone == {router_id.subnet for router_id in (*lost, originators(1, 100 + C)[0])}
