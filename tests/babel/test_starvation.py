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
    up,
    update,
    wanted,
)

from zosnet.babel import Install, Send
from zosnet.wire.babel import RouteRequest, SeqnoRequest


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
