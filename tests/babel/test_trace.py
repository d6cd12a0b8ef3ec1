"""The reference's "router at work" (section 11.8), live between A and its stock neighbours B, C and D.

What we do besides, and a stock node doesn't: Hello and a request for the whole table at connect, and a
question to a stock neighbour for its route as it is when a seqno request is passed on to it.
"""

from tests.babel.dialogue import (
    OUR_ID,
    B,
    C,
    D,
    Dialogue,
    Happens,
    Heard,
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

from zosnet.babel import Install, Send, Unreachable
from zosnet.model.prefix import Prefix
from zosnet.wire.babel import Hello, Ihu, RouteRequest, SeqnoRequest, Update


def ours(seqno: int) -> Update:
    return update("A", seqno, 0, OUR_ID)


def test_a_router_at_work_says_what_the_reference_says() -> None:
    stranger = Prefix.of(0x0402 << 112, 64)
    forwarded = update("B", 0, 1001)
    talk = Dialogue() >> up(B) << Send(B, Hello(0)) << Send(B, ours(0)) << Send(B, RouteRequest(None, 0))
    talk = talk >> up(C) << Send(C, Hello(0)) << Send(C, ours(0))
    talk = talk >> Heard(B, Hello(0)) << Send(B, Ihu(1001)) << Silent()
    talk = (
        talk
        >> Heard(B, update("B", 0, 0))
        << Install(net("B"), rid("B"), B, None, 1001, originates=True)
        << Send(C, forwarded)
        << Silent()
    )
    talk = talk >> Heard(C, RouteRequest(net("B"), 0)) << Send(C, forwarded) << Silent()
    # A /128 is answered for its /64, where the reference forwards it and forgets the route for 15 s.
    talk = talk >> Heard(C, RouteRequest(Prefix(address("B"), 128), 0)) << Send(C, forwarded) << Silent()
    talk = talk >> Heard(C, RouteRequest(Prefix(address("A"), 128), 0)) << Send(C, ours(0)) << Silent()
    talk = talk >> Heard(C, RouteRequest(stranger, 0)) << Send(B, RouteRequest(stranger, 1)) << Silent()
    talk = talk >> Heard(B, RouteRequest(stranger, 0)) << Silent()
    other = Prefix.of(0x0403 << 112, 64)
    talk = talk >> Heard(C, RouteRequest(other, 15)) << Silent()
    talk = talk >> Heard(C, RouteRequest(other, 14)) << Send(B, RouteRequest(other, 15)) << Silent()
    talk = talk >> Heard(C, RouteRequest(None, 0)) << Send(C, ours(0)) << Send(C, forwarded) << Silent()
    talk = (
        talk
        >> Heard(C, wanted("B", 1))
        << Send(B, wanted("B", 1, hops=63))
        << Send(B, RouteRequest(net("B"), 0))
        << Silent()
    )
    talk = talk >> Heard(B, update("B", 1, 0)) << Send(C, update("B", 1, 1001)) << Silent()
    talk = talk >> Heard(C, wanted_ours(1)) << Send(B, ours(1)) << Send(C, ours(1)) << Silent()
    talk = talk >> Heard(C, Update(net("B"), rid("C"), 9, 0)) << Silent()
    talk = (
        talk
        >> Heard(B, Update(net("B"), rid("B"), 1, 0xFFFF))
        << Unreachable(net("B"), rid("B"))
        << Send(B, wanted("B", 2))
        << Send(B, retraction("B", 1))
        << Send(C, retraction("B", 1))
        << Silent()
    )
    talk = talk >> up(D) << Send(D, ours(1)) << Send(D, RouteRequest(None, 0)) << Silent()
    talk = talk >> Heard(D, Hello(0))
    talk = talk << Send(D, RouteRequest(stranger, 1)) << Send(D, RouteRequest(other, 15)) << Silent()
    talk = (
        talk >> Heard(C, update("C", 0, 0)) << Send(B, update("C", 0, 1001)) << Send(D, update("C", 0, 1001))
    )
    talk = talk >> down(C) << Unreachable(net("C"), rid("C"))
    talk = talk << Send(B, retraction("C", 1)) << Send(D, retraction("C", 1)) << Silent()
    assert talk.speaker.seqno == 1


def wanted_ours(seqno: int) -> SeqnoRequest:
    return wanted("A", seqno)._replace(router_id=OUR_ID)


def test_a_node_that_stops_retracts_its_prefix_everywhere() -> None:
    talk = Dialogue(B, C) >> Happens(lambda speaker, now: speaker.retire(now))
    talk << Send(B, retraction("A")) << Send(C, retraction("A")) << Silent()
