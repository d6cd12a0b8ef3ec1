"""Route requests and seqno requests, beyond what the trace shows."""

from tests.babel.dialogue import (
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
    rid,
    up,
    update,
    wanted,
)

from zosnet.babel import Limits, Send
from zosnet.model.prefix import Prefix
from zosnet.wire.babel import Hello, RouteRequest, SeqnoRequest, Update


def needed(destination: int) -> Happens:
    return Happens(lambda speaker, now: speaker.route_needed(destination, now))


def test_a_needed_route_is_asked_for_once_in_fifteen_seconds() -> None:
    ask = RouteRequest(net("D"), 0)
    talk = Dialogue(B, C) >> needed(address("D")) << Send(B, ask) << Send(C, ask) << Silent()
    talk = talk >> needed(address("D")) << Silent()
    assert [(q.prefix, q.asked_by) for q in talk.speaker.queries(talk.now)] == [(net("D"), None)]
    talk = talk >> up(D) >> Heard(D, Hello(0)) << Send(D, ask)
    talk = talk >> Silence(15.0) >> needed(address("D")) << Send(B, ask)
    talk = talk >> Heard(B, update("D", 0, 0))
    assert talk.speaker.queries(talk.now) == []
    talk = talk >> needed(address("D")) << Silent()


def test_addresses_outside_the_overlay_and_our_own_are_never_asked_for() -> None:
    talk = Dialogue(B) >> needed(0x2001 << 112) << Silent()
    talk = talk >> needed(address("A")) << Silent()
    talk = talk >> Heard(B, RouteRequest(Prefix.parse("fd00::/64"), 0)) << Silent()
    talk = talk >> Heard(B, RouteRequest(Prefix.parse("400::/7"), 0)) << Silent()
    assert talk.speaker.counters["refused.request_prefix"] == 2


def test_our_own_need_overrides_a_request_that_came_from_afar() -> None:
    talk = (
        Dialogue(B, C)
        >> Heard(B, RouteRequest(net("D"), 9))
        << Send(C, RouteRequest(net("D"), 10))
        << Silent()
    )
    assert talk.speaker.queries(talk.now)[0].asked_by == B
    talk = (
        talk
        >> needed(address("D"))
        << Send(B, RouteRequest(net("D"), 0))
        << Send(C, RouteRequest(net("D"), 0))
    )


def test_the_next_hop_is_not_told_its_own_route() -> None:
    Dialogue(B, C) >> Heard(B, update("D", 0, 0)) >> Heard(B, RouteRequest(net("D"), 0)) << Silent()


def test_a_query_never_hides_a_route() -> None:
    talk = (
        Dialogue(B, C) >> Heard(B, update("D", 0, 0)) >> Heard(C, RouteRequest(Prefix(address("D"), 128), 0))
    )
    assert len(talk.speaker.selected()) == 1
    assert talk.speaker.queries(talk.now) == []


def test_the_whole_table_is_told_once_in_ten_seconds() -> None:
    talk = (
        Dialogue(B, C)
        >> Heard(B, update("D", 0, 0))
        >> Heard(C, RouteRequest(None, 0))
        << Send(C, update("D", 0, 1001))
    )
    talk = talk >> Heard(C, RouteRequest(None, 0)) << Send(C, update("A", 0, 0, OUR_ID)) << Silent()
    talk = talk >> Silence(10.0) >> Heard(C, RouteRequest(None, 0)) << Send(C, update("D", 0, 1001))


def test_floods_of_requests_are_cut_and_counted() -> None:
    limits = Limits(requests_per_second=2, seqno_requests_per_second=2)
    talk = Dialogue(B, C, limits=limits)
    for host in range(50):
        talk = talk >> Heard(B, RouteRequest(Prefix(0x0401 << 112 | host << 64, 64), 0))
        talk = talk >> Heard(B, SeqnoRequest(net("D"), rid("D"), host, 64))
    assert talk.speaker.counters["refused.request_rate"] == 40
    assert talk.speaker.counters["refused.seqno_request_rate"] == 40
    talk = talk >> Heard(C, RouteRequest(Prefix(0x0401 << 112 | 99 << 64, 64), 0))
    assert talk.speaker.counters["queries"] == 11


def test_one_neighbours_queries_leave_room_for_ours_and_go_away() -> None:
    talk = Dialogue(B, C, limits=Limits(queries=8, queries_per_neighbour=6))
    for host in range(20):
        talk = talk >> Heard(B, RouteRequest(Prefix(0x0401 << 112 | host << 64, 64), 0))
    assert talk.speaker.counters["queries"] == 4
    assert talk.speaker.counters["refused.query"] == 16
    for host in range(20):
        talk = talk >> needed(0x0402 << 112 | host << 64)
    assert talk.speaker.counters["queries"] == 8
    talk = talk >> Silence(15.0) >> needed(address("D")) << Send(B, RouteRequest(net("D"), 0))
    talk = talk >> Silence(25.0)
    assert talk.speaker.counters["queries"] == 0


def test_all_neighbours_together_leave_a_quarter_of_the_queries_to_us() -> None:
    """Many links are one stranger's for the asking; this node must still find its own routes."""
    many = range(1, 12)
    talk = Dialogue(*many, limits=Limits(queries=16, queries_per_neighbour=4))
    for host in range(220):
        talk.speaker.receive(1 + host % 11, RouteRequest(Prefix(0x0401 << 112 | host << 64, 64), 0), talk.now)
    talk.drain()
    assert talk.speaker.counters["queries"] == 12
    talk = talk >> needed(address("D")) << Send(1, RouteRequest(net("D"), 0))


def test_a_link_that_never_spoke_is_not_asked() -> None:
    ask = RouteRequest(net("D"), 0)
    talk = Dialogue(B) >> up(C) >> needed(address("D")) << Send(B, ask) << Silent()
    talk = talk >> Heard(C, RouteRequest(net("E"), 0)) << Send(B, RouteRequest(net("E"), 1)) << Silent()
    talk = talk >> Heard(C, update("C", 0, 0)) << Send(C, ask)
    assert RouteRequest(net("E"), 1) not in [a.tlv for a in talk.said if isinstance(a, Send)]
    talk = talk >> Heard(C, update("C", 0, 0)) << Silent()


def test_a_query_forgets_whom_it_asked_when_they_are_gone() -> None:
    talk = Dialogue(B, C) >> needed(address("D"))
    (query,) = talk.speaker._queries.in_progress()
    for peer in range(100, 200):
        talk = (
            talk >> up(peer) >> Heard(peer, Hello(0)) << Send(peer, RouteRequest(net("D"), 0)) >> down(peer)
        )
    assert set(query.asked) == {B, C}


def test_requests_passed_on_for_neighbours_and_for_packets_are_bounded_apart() -> None:
    limits = Limits(passed_requests_per_second=2, needs_per_second=4)
    talk = Dialogue(B, C, D, limits=limits)
    for host in range(30):
        talk.speaker.receive(B + host % 2, RouteRequest(Prefix(0x0401 << 112 | host << 64, 64), 0), talk.now)
    assert talk.speaker.counters["queries"] == 10
    assert talk.speaker.counters["refused.query_rate"] == 20
    for host in range(30):
        talk.speaker.route_needed(0x0402 << 112 | host << 64, talk.now)
    assert talk.speaker.counters["queries"] == 30
    assert talk.speaker.counters["refused.query_rate"] == 30
    talk = talk >> Silence(0.6) >> Heard(B, RouteRequest(net("E"), 0)) << Send(C, RouteRequest(net("E"), 1))
    talk = talk >> Heard(C, RouteRequest(net("E"), 0)) << Silent()
    talk = talk >> needed(address("E")) << Send(B, RouteRequest(net("E"), 0))


def ours(seqno: int) -> SeqnoRequest:
    return SeqnoRequest(net("A"), OUR_ID, seqno, 64)


def test_our_seqno_grows_at_most_five_times_a_second_and_nobody_is_forgotten() -> None:
    talk = Dialogue(B, C) >> Heard(B, ours(1)) << Send(C, update("A", 1, 0, OUR_ID))
    talk = talk >> Heard(C, ours(2)) << Silent()
    talk = talk >> Heard(C, ours(1)) << Send(C, update("A", 1, 0, OUR_ID)) << Silent()
    talk = (
        talk
        >> Silence(0.21)
        << Send(B, update("A", 2, 0, OUR_ID))
        << Send(C, update("A", 2, 0, OUR_ID))
        << Silent()
    )
    talk = talk >> Heard(C, SeqnoRequest(net("D"), OUR_ID, 9, 64)) << Silent()
    assert talk.speaker.seqno == 2


def test_a_seqno_request_is_answered_by_who_has_the_route_already() -> None:
    talk = (
        Dialogue(B, C)
        >> Heard(B, update("D", 5, 0))
        >> Heard(C, wanted("D", 5))
        << Send(C, update("D", 5, 1001))
    )
    talk = (
        talk
        >> Heard(C, SeqnoRequest(net("D"), rid("D", "000000000000"), 9, 64))
        << Send(C, update("D", 5, 1001))
    )
    talk = talk >> Heard(B, wanted("D", 5)) << Silent()
    talk = talk >> Heard(C, wanted("E", 5)) << Silent()


def test_a_seqno_request_goes_on_to_one_neighbour_and_is_not_repeated_within_two_seconds() -> None:
    talk = Dialogue(B, C, D) >> Heard(B, update("E", 0, 20)) >> Heard(C, update("E", 0, 30))
    talk = (
        talk
        >> Heard(D, wanted("E", 1, hops=9))
        << Send(B, wanted("E", 1, hops=8))
        << Send(B, RouteRequest(net("E"), 0))
        << Silent()
    )
    talk = talk >> Heard(C, wanted("E", 1, hops=9)) << Silent()
    talk = talk >> Silence(2.0) >> Heard(D, wanted("E", 1, hops=9)) << Send(B, wanted("E", 1, hops=8))
    talk = (
        talk >> Heard(B, update("E", 1, 20)) << Send(D, update("E", 1, 1021)) << Send(C, update("E", 1, 1021))
    )
    talk = talk >> Heard(D, wanted("E", 2, hops=1)) << Silent()


def test_the_next_hops_own_request_goes_to_somebody_else() -> None:
    talk = (
        Dialogue(B, C, D)
        >> Heard(B, update("E", 0, 20))
        >> Heard(C, update("E", 0, 1500))
        >> Heard(D, update("E", 0, 30))
    )
    talk = talk >> Heard(B, wanted("E", 1)) << Send(D, wanted("E", 1, hops=63))
    talk = Dialogue(B, C) >> Heard(B, update("E", 0, 20)) >> Heard(B, wanted("E", 1)) << Silent()


def test_seqno_requests_on_record_are_bounded_and_forgotten() -> None:
    """One neighbour's flood leaves room for another's."""
    talk = Dialogue(B, C, D, limits=Limits(seqno_requests=4)) >> Heard(B, update("D", 0, 0))
    for seqno in range(1, 6):
        talk = talk >> Heard(C, wanted("D", seqno))
    assert talk.speaker.counters["seqno_requests"] == 2
    assert talk.speaker.counters["refused.seqno_request"] == 3
    talk = talk >> Heard(D, wanted("D", 9)) << Send(B, wanted("D", 9, hops=63))
    assert talk.speaker.counters["seqno_requests"] == 3
    talk = talk >> Silence(15.0) >> Heard(C, wanted("D", 6)) << Send(B, wanted("D", 6, hops=63))
    assert talk.speaker.counters["seqno_requests"] == 1
    talk = talk >> Silence(25.0)
    assert talk.speaker.counters["seqno_requests"] == 0


def test_a_full_record_costs_no_search_for_each_request() -> None:
    """64 links with 50 requests a second each once took 3 s of CPU a second."""
    links = range(2, 66)
    talk = Dialogue(1, *links, limits=Limits(seqno_requests=3000)) >> Heard(1, update("D", 0, 0))
    requests = talk.speaker._seqno_requests
    cleanings: list[float] = []
    requests.expire = lambda: cleanings.append(talk.now)  # type: ignore[method-assign]
    for seqno in range(1, 4001):
        talk.now += 0.0005
        talk.speaker.receive(links[seqno % 64], wanted("D", seqno), talk.now)
    # Each has as many as are still free.
    assert talk.speaker.counters["seqno_requests"] == 2954
    assert talk.speaker.counters["refused.seqno_request"] == 1046
    assert len(cleanings) == 1
    assert isinstance(requests._by_prefix[net("D")], dict)


def test_answers_promised_to_one_neighbour_are_bounded() -> None:
    talk = Dialogue(B, C, limits=Limits(answers_per_neighbour=2))
    for name in ("C", "D", "E"):
        talk = talk >> Heard(B, update(name, 0, 0))
    for name in ("C", "D", "E"):
        talk.speaker.receive(C, RouteRequest(net(name), 0), talk.now)
    talk.drain()
    told = [
        a.tlv.prefix for a in talk.said if isinstance(a, Send) and isinstance(a.tlv, Update) and a.peer == C
    ]
    assert told[-2:] == [net("C"), net("D")]
    assert talk.speaker.counters["refused.answer"] == 1


def test_packets_of_others_use_up_nothing_of_ours() -> None:
    limits = Limits(passed_requests_per_second=2, needs_per_second=2, queries=32)
    talk = Dialogue(B, C, limits=limits)
    for host in range(60):
        stranger = 0x0401 << 112 | host << 64
        talk.speaker.route_needed(stranger, talk.now, for_others=True)
    assert talk.speaker.counters["queries"] == 10
    talk >> needed(address("D")) << Send(B, RouteRequest(net("D"), 0)) << Send(C, RouteRequest(net("D"), 0))
