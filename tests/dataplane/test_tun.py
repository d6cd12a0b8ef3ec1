"""The TUN device: real packets of the kernel between network namespaces."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from tests.dataplane.stations import Station, join, until

from zosnet.dataplane import events
from zosnet.lab.namespace import Namespace

pytestmark = pytest.mark.privileged

TUN = "zosnet0"


@pytest.fixture
def hosts() -> Iterator[tuple[Namespace, Namespace]]:
    """Two hosts on one wire, 192.0.2.1 and 192.0.2.2."""
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        pytest.skip("needs root and /dev/net/tun")
    with ExitStack() as stack:
        pair = []
        for _ in range(2):
            host = Namespace(f"dataplane-{os.getpid()}")
            stack.callback(host.close)
            pair.append(host)
        one, other = pair
        run = partial(subprocess.run, check=True)
        run(f"ip link add w0 netns {one.pid} type veth peer name w0 netns {other.pid}".split())
        for number, host in enumerate(pair, start=1):
            run(host.entered(f"ip addr add 192.0.2.{number}/24 dev w0".split()))
            run(host.entered(["ip", "link", "set", "w0", "up"]))
        yield one, other


@pytest.fixture
def ends(hosts: tuple[Namespace, Namespace]) -> Iterator[tuple[Station, Station]]:
    """A data plane with a TUN device on each host, linked and routed."""
    one, other = (host.call(partial(Station, seed, tun=TUN)) for seed, host in enumerate(hosts, start=1))
    one.plane.dial(1, "tcp", "192.0.2.2", other.port(), 0, 5.0)
    one.route(other, one.take(events.LinkUp).link)
    other.route(one, other.take(events.LinkUp).link)
    yield one, other
    one.plane.close()
    other.plane.close()


def has_device(host: Namespace) -> bool:
    return (
        TUN in subprocess.run(host.entered(["ip", "link"]), capture_output=True, text=True, check=True).stdout
    )


def test_a_ping_of_the_kernel_is_answered(
    hosts: tuple[Namespace, Namespace], ends: tuple[Station, Station]
) -> None:
    for size in (8, 1200, 4000):  # the last one in fragments
        command = ["ping", "-6", "-c", "3", "-i", "0.05", "-W", "2", "-s", str(size), str(ends[1].address)]
        ping = subprocess.run(hosts[0].entered(command), capture_output=True, text=True, check=False)
        assert ping.returncode == 0, ping.stdout
        assert "ttl=62" in ping.stdout


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_bytes_arrive_unaltered(
    hosts: tuple[Namespace, Namespace], ends: tuple[Station, Station], kind: socket.SocketKind
) -> None:
    data = os.urandom(1 << 23)
    if kind == socket.SOCK_STREAM:
        assert _stream(hosts, ends[1], data) == data
        # Super-packets were cut on the way out and merged on the way in.
        assert ends[1].count("tun.writes") < ends[1].count("tun.tx_packets") / 4
    else:
        sizes = [1, 100, 1200, 1312, 4000]
        assert _datagrams(hosts, ends[1], [data[:size] for size in sizes]) == [data[:size] for size in sizes]


def _stream(hosts: tuple[Namespace, Namespace], to: Station, data: bytes) -> bytes:
    server = hosts[1].socket(socket.AF_INET6, socket.SOCK_STREAM)
    client = hosts[0].socket(socket.AF_INET6, socket.SOCK_STREAM)
    with server, client:
        server.bind((str(to.address), 0))
        server.listen()
        client.connect((str(to.address), server.getsockname()[1]))
        sender = threading.Thread(target=_send, args=(client, data))
        sender.start()
        accepted = server.accept()[0]
        accepted.settimeout(20)
        with accepted, accepted.makefile("rb") as stream:
            received = stream.read()
        sender.join()
    return received


def _send(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)


def _datagrams(hosts: tuple[Namespace, Namespace], to: Station, datagrams: list[bytes]) -> list[bytes]:
    server = hosts[1].socket(socket.AF_INET6, socket.SOCK_DGRAM)
    client = hosts[0].socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with server, client:
        server.bind((str(to.address), 0))
        server.settimeout(5)
        for datagram in datagrams:
            client.sendto(datagram, server.getsockname()[:2])
        return [server.recv(65536) for _ in datagrams]


def test_the_host_hears_of_what_cannot_be_sent(
    hosts: tuple[Namespace, Namespace], ends: tuple[Station, Station]
) -> None:
    def refused(destination: str) -> str:
        command = hosts[0].entered(["ping", "-6", "-c", "1", "-W", "2", destination])
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    neighbour = ends[0].address.packed[:8] + bytes(7) + b"\x07"
    assert "Address unreachable" in refused(socket.inet_ntop(socket.AF_INET6, neighbour))


def test_the_device_goes_with_the_data_plane(
    hosts: tuple[Namespace, Namespace], ends: tuple[Station, Station]
) -> None:
    assert has_device(hosts[0])
    ends[0].plane.close()
    until(lambda: not has_device(hosts[0]))


def test_a_device_deleted_under_the_data_plane_is_told(
    hosts: tuple[Namespace, Namespace], ends: tuple[Station, Station]
) -> None:
    subprocess.run(hosts[0].entered(["ip", "link", "del", TUN]), check=True)
    assert "TUN" in ends[0].take(events.Failed).text


def test_a_name_that_is_taken_is_an_error_with_its_number(
    hosts: tuple[Namespace, Namespace], ends: tuple[Station, Station]
) -> None:
    with pytest.raises(OSError, match="TUN device") as caught:
        hosts[0].call(lambda: Station(3, tun=TUN))
    assert caught.value.errno == 16


def test_many_queues_and_lanes_carry_the_same_bytes(hosts: tuple[Namespace, Namespace]) -> None:
    one, other = (
        host.call(partial(Station, seed, tun=TUN, lanes=3)) for seed, host in enumerate(hosts, start=1)
    )
    try:
        one.plane.dial(1, "tcp", "192.0.2.2", other.port(), 0, 5.0)
        one.route(other, one.take(events.LinkUp).link)
        other.route(one, other.take(events.LinkUp).link)
        data = os.urandom(1 << 22)
        for _ in range(4):
            assert _stream(hosts, other, data) == data
    finally:
        one.plane.close()
        other.plane.close()


def test_a_stream_through_a_relay_is_unaltered(
    station: Callable[..., Station], hosts: tuple[Namespace, Namespace]
) -> None:
    relay = hosts[1].call(lambda: station(3))
    one, other = (host.call(partial(Station, seed, tun=TUN)) for seed, host in enumerate(hosts, start=1))
    try:
        one.plane.dial(1, "tcp", "192.0.2.2", relay.port(), 0, 5.0)
        to_relay, from_one = one.take(events.LinkUp).link, relay.take(events.LinkUp).link
        to_other, from_relay = join(relay, other)
        one.route(other, to_relay)
        relay.route(other, to_other)
        relay.route(one, from_one)
        other.route(one, from_relay)
        data = os.urandom(1 << 23)
        assert _stream(hosts, other, data) == data
        assert relay.count("forward.packets") > 1000
    finally:
        one.plane.close()
        other.plane.close()


def test_a_silent_link_loses_half_a_second_of_traffic_at_most(
    hosts: tuple[Namespace, Namespace], ends: tuple[Station, Station]
) -> None:
    one, other = ends
    first, first_back = (station.plane.links()[0] for station in ends)
    one.plane.dial(2, "tcp", "192.0.2.2", other.port(), 0, 5.0)
    second, second_back = one.take(events.LinkUp).link, other.take(events.LinkUp).link
    one.route(other, first.id, second)
    other.route(one, first_back.id, second_back)
    one.echo(other)
    one.take(events.ProbeReceived)

    port = first.local.rpartition(":")[2]
    chain = "add table ip cut; add chain ip cut in { type filter hook input priority 0; }"
    drop = "; ".join(f"add rule ip cut in tcp {side} {port} drop" for side in ("sport", "dport"))
    cut = ["nft", f"{chain}; {drop}"]
    for host in hosts:
        subprocess.run(host.entered(cut), check=True)
    started = time.monotonic()
    reply = None
    for sequence in range(1, 100):
        one.echo(other, sequence)
        one.gather(0.01)
        reply = next((event for event in one.seen if isinstance(event, events.ProbeReceived)), None)
        if reply:
            break
    assert reply
    assert time.monotonic() - started < 0.5
    assert one.take(events.Stalled).link == first.id

    for host in hosts:
        subprocess.run(host.entered(["nft", "delete table ip cut"]), check=True)
    assert one.take(events.Resumed).link == first.id
