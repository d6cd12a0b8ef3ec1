"""How links come, fail and go; what strangers may do to them."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.dataplane.stations import Station, hello, join, until

from zosnet.dataplane import events
from zosnet.wire.echo import decode_answer

Make = Callable[..., Station]

#: A data packet that claims 65,535 bytes and sends none of them.
OVERSIZE = bytes.fromhex("01000000 00 ffff 40") + bytes(32)


def stranger(station: Station) -> socket.socket:
    return socket.create_connection(("127.0.0.1", station.port()))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\x01\x02", b"\x01\x01\0\0\xff\xff\0\0\0\0"]
)
def test_garbage_closes_the_connection(station: Make, garbage: bytes) -> None:
    one = station(1)
    with stranger(one) as connection:
        link = one.take(events.LinkUp).link
        connection.sendall(garbage)
        assert one.take(events.LinkDown).link == link
        assert connection.recv(1) == b""
    assert one.count("tcp.garbage") == 1


def test_garbage_and_oversize_claims_of_some_leave_others_alone(station: Make) -> None:
    one, other = station(1), station(2)
    there, back = join(one, other)
    one.route(other, there)
    other.route(one, back)
    with ExitStack() as stack:
        for number in range(40):
            connection = stack.enter_context(stranger(other))
            connection.sendall(OVERSIZE if number % 2 else os.urandom(64))
        for sequence in range(50):
            one.echo(other, sequence)
            answer = decode_answer(one.take(events.ProbeReceived).packet)
            assert answer is not None
            assert answer.sequence == sequence


def test_too_many_connections_from_one_place_are_refused(station: Make) -> None:
    one = station(1)
    with ExitStack() as stack:
        for _ in range(80):
            stack.enter_context(stranger(one))
        until(lambda: one.count("tcp.refused") == 16)
        assert one.count("tcp.accepted") == 64


def test_links_that_come_and_go_wait_outside_while_news_of_them_waits(station: Make) -> None:
    one = station(1)
    for _ in range(2000):  # some 4,000 events unless some wait; the listener's queue holds the rest
        connection = stranger(one)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        if one.count("tcp.accept_held"):
            break
    until(lambda: one.count("tcp.accept_held") > 0)
    time.sleep(0.1)
    accepted = one.count("tcp.accepted")
    assert 1024 <= accepted < 1200
    with stranger(one) as late:
        late.sendall(hello(99))
        one.take(events.ControlReceived, where=lambda event: event.packet == hello(99))


@pytest.mark.slow
def test_a_silent_connection_is_closed_and_a_proven_one_is_kept(station: Make) -> None:
    one = station(1)
    with stranger(one) as silent, stranger(one) as proven:
        links = [one.take(events.LinkUp).link for _ in range(2)]
        proven.sendall(hello())
        silent.sendall(OVERSIZE)
        down = one.take(events.LinkDown, within=12.0)
        assert down.link == links[0]
        one.none_of(events.LinkDown, 1.0)
    assert one.count("tcp.silent") == 1


def test_a_dial_that_fails_says_why(station: Make) -> None:
    one = station(1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        one.plane.dial(5, "tcp", "127.0.0.1", unused.getsockname()[1], 0, 2.0)
        failed = one.take(events.DialFailed)
    assert failed.token == 5
    assert failed.errno == 111
    assert "refused" in failed.reason


def test_a_link_closed_by_either_side_is_down_on_both(station: Make) -> None:
    one, other = station(1), station(2)
    for closer in (one, other):
        there, back = join(one, other)
        closer.plane.close_link(there if closer is one else back)
        assert one.take(events.LinkDown).link == there
        assert other.take(events.LinkDown).link == back


def test_packets_flip_to_the_backup_when_the_socket_dies(station: Make) -> None:
    one, other = station(1), station(2)
    first, first_back = join(one, other)
    second, second_back = join(one, other)
    one.route(other, first, second)
    other.route(one, first_back, second_back)
    one.echo(other, 1)
    one.take(events.ProbeReceived)
    other.plane.close_link(first_back)
    # Not a word from here to the tables: the forwarder flips by itself.
    one.take(events.LinkDown)
    started = time.monotonic()
    one.echo(other, 2)
    one.take(events.ProbeReceived)
    assert time.monotonic() - started < 0.1
    assert [link.id for link in one.plane.links()] == [second]


def test_a_neighbour_that_reads_nothing_stalls_and_its_traffic_takes_the_backup(station: Make) -> None:
    one, other, sender = station(1), station(2), station(3)
    good, back = join(one, other)
    into, out = join(sender, one)
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.plane.dial(9, "tcp", "127.0.0.1", server.getsockname()[1], 0, 2.0)
        slow = one.take(events.LinkUp).link
        deaf = server.accept()[0]
        one.route(other, slow, good)
        one.route(sender, out)
        other.route(sender, back)
        sender.route(other, into)
        sender.route(one, into)
        with deaf:
            _flood(sender, other, one, slow)
            for sequence in range(20):
                sender.echo(one, sequence)
                sender.take(events.ProbeReceived)
            # The stalled link's traffic goes by the backup.
            until(lambda: other.count("rx.packets") > 0)


def _flood(sender: Station, to: Station, relay: Station, slow: int) -> None:
    """Packets for `to` until `relay` finds that link `slow` stalls. The others must not notice."""
    for _ in range(200):
        for sequence in range(500):
            sender.echo(to, sequence, size=1200)
        relay.gather(0.01)
        if any(isinstance(event, events.Stalled) and event.link == slow for event in relay.seen):
            return
    raise AssertionError("the link never stalled")


@pytest.mark.slow
def test_data_makes_a_link_busy_and_silence_idle(station: Make) -> None:
    one, other = station(1), station(2)
    there, back = join(one, other)
    one.route(other, there)
    other.route(one, back)
    one.echo(other)
    assert one.take(events.Busy).link == there
    assert other.take(events.Busy).link == back
    assert one.take(events.Idle, within=4.0).link == there


def test_an_idle_data_plane_uses_no_processor(station: Make) -> None:
    one, other = station(1), station(2)
    join(one, other)
    time.sleep(0.3)
    before = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - before < 0.02


def test_closing_leaves_no_thread_no_descriptor_and_no_port(station: Make) -> None:
    before, threads = descriptors(), len(list(Path("/proc/self/task").iterdir()))
    pythons = threading.active_count()
    one, other = station(1, lanes=2, quic=True), station(2, quic=True)
    join(one, other)
    join(one, other, "quic")
    port = other.port()
    for each in (one, other):
        each.plane.close()
        each.plane.close()
    until(lambda: len(list(Path("/proc/self/task").iterdir())) == threads)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    del one, other
    assert threading.active_count() == pythons
    # What the fixture still holds: an eventfd for events, one for the keeper and one a lane.
    assert descriptors() - before <= 7


def test_a_taken_port_is_an_error_with_its_number(station: Make) -> None:
    from zosnet._core import Core

    one = station(1)
    with pytest.raises(OSError, match="TCP listener") as caught:
        Core(
            secret=bytes(range(32)),
            address=one.address.packed,
            tun_name=None,
            tun_mtu=1360,
            tcp_listen=[("::", one.port())],
            quic_listen=[],
            udp_listen=[],
            session_suite=False,
            repair=True,
            pins=[],
            max_link_mtu=1500,
            lanes=1,
            firewall_mark=0,
            router_id_text="test",
            events_limit=10,
        )
    assert caught.value.errno == 98
