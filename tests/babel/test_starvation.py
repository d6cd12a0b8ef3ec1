"""Starvation among stock relays: what was lost on the way to the originator, and who is asked next."""

import pytest
from tests.babel.dialogue import (
    B,
    C,
    Dialogue,
    Happens,
    Heard,
    Silence,
    Silent,
    down,
    net,
    originators,
    up,
    update,
    wanted,
)

from zosnet.babel import Install, Limits, Send, Unreachable
from zosnet.wire.babel import RouteRequest, SeqnoRequest, Update


def starving() -> Dialogue:
    """D was reached through B, cheaply, and C has been told so; then B's link broke and B came back empty."""
    return Dialogue(B, C) >> Heard(B, update("D", 0, 100)) >> down(B) >> Silence(0.1) >> up(B)


def test_a_neighbour_that_gains_an_unfeasible_route_is_asked_at_once() -> None:
    """A restarted relay's link costs more at first. Earlier requests found no way through it."""
    talk = starving() >> Heard(C, update("D", 0, 5000)) << Send(C, wanted("D", 1))
    talk = talk >> Heard(B, update("D", 0, 2000)) << Send(B, wanted("D", 1)) << Silent()
    assert any(isinstance(said, Install) for said in (talk >> Heard(B, update("D", 1, 2000))).said)


def test_a_repeated_request_also_asks_for_the_seqno_after() -> None:
    """A stock relay that passed the first one into a dead link drops its repetitions for a minute."""
    talk = starving() >> Heard(C, update("D", 0, 5000)) << Send(C, wanted("D", 1))
    talk = talk >> Silence(1.1) << Send(C, wanted("D", 1)) << Send(C, wanted("D", 2))
    talk << Send(C, RouteRequest(net("D"), 0))


@pytest.mark.parametrize("used", ["D", "E"])
def test_what_packets_wait_for_is_asked_for_first(used: str) -> None:
    """Neighbours pass on only so many requests a second: with thousands of routes the last ones wait."""
    talk = Dialogue(B, C)
    for name in ("D", "E"):
        talk = talk >> Heard(B, update(name, 0, 100)) >> Silence(0.1) >> Heard(C, update(name, 0, 5000))
    told = Happens(lambda speaker, now: speaker.route_used([net(used)], now))
    said = (talk >> told >> down(B)).said
    tlvs = [action.tlv for action in said if isinstance(action, Send)]
    asked = [tlv.prefix for tlv in tlvs if isinstance(tlv, SeqnoRequest)]
    assert asked[0] == net(used)
    assert {*asked} == {net("D"), net("E")}


def test_what_packets_wait_for_is_asked_for_before_the_rest_is_decided() -> None:
    """With 10,000 routes the rest is a tenth of a second, in which the traffic in use would stand still."""
    far = originators(32, 6, zone=0)
    used = far[16].subnet
    talk = Dialogue(B, C, limits=Limits(slice=4))
    for router_id in far:
        talk = talk >> Heard(B, Update(router_id.subnet, router_id, 0, 100))
    talk = talk >> Silence(0.1)
    for router_id in far:
        talk = talk >> Heard(C, Update(router_id.subnet, router_id, 0, 5000))
    talk = talk >> Happens(lambda speaker, now: speaker.route_used([used], now))
    talk.speaker.neighbour_down(B, talk.now)
    first = talk.speaker.poll()
    assert next(action.prefix for action in first if isinstance(action, Unreachable)) == used
    tlvs = [action.tlv for action in first if isinstance(action, Send)]
    asked = [tlv.prefix for tlv in tlvs if isinstance(tlv, SeqnoRequest)]
    assert asked == [used]
    assert talk.speaker.is_deciding
