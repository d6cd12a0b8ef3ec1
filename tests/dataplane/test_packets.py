"""What real data planes do with packets, over loopback and without a TUN device."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from tests.dataplane.stations import Station, hello, ihu, join, until

from zosnet.dataplane import events
from zosnet.wire.echo import EchoFailed, EchoReply, decode_answer

Make = Callable[..., Station]
Line = tuple[Station, Station, Station]


def answer(station: Station) -> EchoReply | EchoFailed:
    found = decode_answer(station.take(events.ProbeReceived).packet)
    assert found is not None
    return found


@pytest.mark.parametrize("proto", ["tcp", "quic"])
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_ping_goes_there_and_back(station: Make, proto: str, lanes: int) -> None:
    one, other = station(1, lanes=lanes, quic=True), station(2, lanes=lanes, quic=True)
    there, back = join(one, other, proto)
    one.route(other, there)
    other.route(one, back)
    for size in (8, 1000, 1300):
        one.echo(other, size, size=size)
        reply = answer(one)
        assert isinstance(reply, EchoReply)
        # 64 leaves as 63 and is delivered by the neighbour as 62: reference, section 5.4.
        assert (reply.sequence, len(reply.data), reply.hop_limit) == (size, size, 62)


def test_a_relay_passes_packets_on_and_counts_a_hop(line: Line) -> None:
    left, middle, right = line
    left.echo(right, 5)
    reply = answer(left)
    assert isinstance(reply, EchoReply)
    assert reply.hop_limit == 61
    assert middle.count("forward.packets") == 2
    assert middle.count("rx.packets") == 0


def test_the_node_where_the_hop_limit_runs_out_says_so(line: Line) -> None:
    left, middle, right = line
    left.echo(right, 1, hop_limit=1)
    assert isinstance(own := answer(left), EchoFailed)
    assert own.kind == 3
    left.echo(right, 2, hop_limit=2)
    assert isinstance(relay := answer(left), EchoFailed)
    assert (relay.kind, relay.sequence) == (3, 2)
    assert relay.source[:8] == middle.address.packed[:8]
    left.echo(right, 3, hop_limit=3)
    assert isinstance(final := answer(left), EchoFailed)
    assert final.source[:8] == right.address.packed[:8]


def test_a_packet_waits_for_its_route_and_asks_for_it_once(station: Make) -> None:
    one, other = station(1), station(2)
    there, back = join(one, other)
    other.route(one, back)
    for sequence in range(5):
        one.echo(other, sequence)
    assert one.take(events.RouteNeeded) == events.RouteNeeded(other.address.packed, False)
    one.none_of(events.RouteNeeded, 0.3)
    one.route(other, there)
    assert sorted(answer(one).sequence for _ in range(5)) == list(range(5))


def test_a_sealed_packet_waits_for_its_senders_key(station: Make) -> None:
    one, other = station(1), station(2)
    there, back = join(one, other)
    one.route(other, there)
    one.echo(other, 9)
    assert other.take(events.RouteNeeded) == events.RouteNeeded(one.address.packed, True)
    other.route(one, back)
    assert answer(one).sequence == 9


def test_a_message_body_comes_with_the_key_of_its_sender(line: Line) -> None:
    left, _, right = line
    body = bytes(range(256)) * 4
    left.plane.send_message(right.address.packed, body)
    message = right.take(events.MessageReceived)
    assert message.body == body
    assert message.public_key == left.public.raw
    assert (message.source, message.destination) == (left.address.packed, right.address.packed)


def test_a_message_waits_for_a_route_too(station: Make) -> None:
    one, other = station(1), station(2)
    there, back = join(one, other)
    other.route(one, back)
    one.plane.send_message(other.address.packed, b"patience")
    one.take(events.RouteNeeded)
    one.route(other, there)
    assert other.take(events.MessageReceived).body == b"patience"


def test_a_message_to_oneself_needs_no_link(station: Make) -> None:
    one = station(1)
    one.plane.send_message(one.address.packed, b"note")
    assert one.take(events.MessageReceived).public_key == one.public.raw


def test_control_packets_come_up_whole_and_in_order_and_time_is_measured(station: Make) -> None:
    one, other = station(1), station(2)
    there, back = join(one, other)
    one.plane.send_control([(there, hello(seqno)) for seqno in range(100)])
    packets = [other.take(events.ControlReceived).packet for _ in range(100)]
    assert packets == [hello(seqno) for seqno in range(100)]
    time.sleep(0.05)
    other.plane.send_control([(back, ihu())])
    event = one.take(events.ControlReceived)
    assert event.rtt is not None
    # The neighbour took 50 ms to answer, the path did not: the kernel's own measure caps it.
    assert 0 < event.rtt < 0.05
    assert event.at <= time.monotonic()


def test_reading_stops_while_control_packets_wait_and_goes_on_after(station: Make) -> None:
    one, other = station(1), station(2)
    there, _ = join(one, other)
    count = 40_000  # some 640 KB: beyond the quota of packets, and beyond the buffers of the sockets
    one.plane.send_control([(there, hello(seqno & 0xFFFF)) for seqno in range(count)])
    until(lambda: one.count("control.tx_packets") == count)
    time.sleep(0.2)
    held = other.count("control.rx_packets")
    assert held == 4097  # the one that went beyond the quota, and none of those read with it
    for seqno in range(count):
        assert other.take(events.ControlReceived).packet == hello(seqno & 0xFFFF)
        if other.seen and len(other.seen) > 5000:
            break
    end = time.monotonic() + 5
    while other.count("control.rx_packets") < count:
        assert time.monotonic() < end
        other.gather(0.1)


@pytest.mark.parametrize("proto", ["tcp", "quic"])
def test_no_control_packet_is_lost_when_a_link_is_paused_half_way_through_what_was_read(
    station: Make, proto: str
) -> None:
    one, other = station(1, quic=True), station(2, quic=True)
    there, _ = join(one, other, proto)
    if proto == "quic":  # opening the link took a Hello
        other.take(events.ControlReceived)
    before = other.count("control.rx_packets")
    sent = [hello(seqno) for seqno in range(20_000)]
    for at in range(0, len(sent), 2000):
        one.plane.send_control([(there, packet) for packet in sent[at : at + 2000]])
        time.sleep(0.02)
    until(lambda: other.count("control.rx_packets") > 4096)
    time.sleep(0.2)
    assert other.count("control.rx_packets") - before == 4097
    took = [other.take(events.ControlReceived).packet for _ in sent]
    assert took == sent


def test_links_that_flood_share_what_may_wait_and_another_is_heard(station: Make) -> None:
    one = station(1)
    tiny = bytes([1, 1, 0, 0, 42, 3, 0, 2, 200, 0]) * 6000
    with ExitStack() as stack:
        for _ in range(50):
            bad = stack.enter_context(socket.create_connection(("127.0.0.1", one.port())))
            bad.setblocking(False)
            with suppress(BlockingIOError):
                bad.send(tiny)
        until(lambda: one.count("control.rx_packets") > 100_000)
        time.sleep(0.2)
        assert one.count("control.rx_packets") * 266 < 33 << 20  # 50 links at 4,096 each would be 54 MB
        good = stack.enter_context(socket.create_connection(("127.0.0.1", one.port())))
        good.sendall(hello(7))
        one.take(events.ControlReceived, where=lambda event: event.packet == hello(7))


def test_used_routes_are_told_once(line: Line) -> None:
    left, middle, right = line
    middle.plane.used_routes()
    left.echo(right)
    answer(left)
    records = middle.plane.used_routes()
    used = {records[at : at + 17] for at in range(0, len(records), 17)}
    assert used == {s.public.subnet().packed() + bytes([64]) for s in (left, right)}
    assert middle.plane.used_routes() == b""


def test_links_show_their_figures(line: Line) -> None:
    left, _, right = line
    left.echo(right)
    answer(left)
    [stats] = left.plane.links()
    assert (stats.proto, stats.tx_packets, stats.rx_packets) == ("tcp", 1, 1)
    assert stats.tx_bytes == stats.rx_bytes == 4 + 36 + 4 + 56 + 28
    assert stats.busy
    assert not stats.stalled
    assert stats.rtt is not None


def test_bad_records_and_arguments_are_refused_whole(station: Make) -> None:
    one, other = station(1), station(2)
    with pytest.raises(ValueError, match="whole number"):
        one.plane.apply_routes(bytes(63))
    with pytest.raises(ValueError, match="record 0"):
        one.plane.apply_routes(b"\x07" + bytes(63))
    with pytest.raises(ValueError, match="8 bytes"):
        one.plane.watch_probe(b"short")
    with pytest.raises(ValueError, match="IP address"):
        one.plane.dial(1, "tcp", "example.org", 9651, 0, 1.0)
    one.plane.send_control([(77, hello())])
    one.plane.close_link(77)
    one.plane.send_message(other.address.packed, b"")
