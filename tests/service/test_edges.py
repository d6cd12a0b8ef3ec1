"""The small edges of the service: service manager, names, beacons, reload, records."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from zosnet.babel import ORDERED_ZONE, SESSION_ZONE, Install, Remove, Unreachable
from zosnet.model.endpoint import Endpoint
from zosnet.model.errors import HostError, PeerError
from zosnet.model.keys import SecretKey
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.service.discovery import Discovery, Interface, eligible, read_interfaces
from zosnet.service.driver import static_cost
from zosnet.service.host_facts import taken_ports
from zosnet.service.identity import new_router_id
from zosnet.service.launch import explain
from zosnet.service.memory import resident_bytes
from zosnet.service.metrics import MYCELIUM, Sample, exposition
from zosnet.service.notify import notify, watchdog_interval
from zosnet.service.peer import Address
from zosnet.service.reload import LIVE, compare
from zosnet.service.resolver import interleaved, resolve
from zosnet.service.route_batch import RECORD_BYTES, pack
from zosnet.store.settings import OPTIONS, Settings
from zosnet.wire.beacon import Beacon

PUBLIC = SecretKey(b"1" * 32).public()
ROUTER = RouterId.of(PUBLIC, 0, b"abcdef")
OTHER = RouterId.of(SecretKey(b"2" * 32).public(), 0, b"abcdef")
UP = 0x1 | 0x1000


# --- the service manager


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_hears(tmp_path: Path, abstract: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"@zosnet-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        manager.bind("\0" + name[1:] if abstract else name)
        assert notify("READY=1", {"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


def test_without_a_service_manager_nothing_happens(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


@pytest.mark.parametrize(("text", "seconds"), [("4000000", 2.0), ("0", None), ("x", None), ("", None)])
def test_the_watchdog_is_fed_twice_an_interval(text: str, seconds: float | None) -> None:
    assert watchdog_interval({"WATCHDOG_USEC": text}) == seconds


# --- names


def test_addresses_alternate_and_ipv6_comes_first() -> None:
    four = [Address(f"192.0.2.{n}", 1) for n in range(3)]
    six = [Address("2001:db8::1", 1)]
    assert interleaved((*four, *six, *four)) == (six[0], *four)


def test_an_address_needs_no_resolver_and_keeps_its_interface() -> None:
    found = asyncio.run(resolve(Endpoint.parse("tcp://[fe80::1%2]:7")))
    assert found == (Address("fe80::1", 7, 2),)


def test_localhost_resolves_and_nonsense_does_not() -> None:
    assert asyncio.run(resolve(Endpoint.parse("tcp://localhost:7")))
    with pytest.raises(PeerError, match=r"nowhere\.invalid"):
        asyncio.run(resolve(Endpoint.parse("tcp://nowhere.invalid:7")))


# --- discovery


def test_only_wires_to_others_are_used() -> None:
    wires = [
        Interface(1, "lo", UP | 0x8, True),
        Interface(2, "eth0", UP, True),
        Interface(3, "tun0", UP | 0x10, True),
        Interface(4, "eth1", 0x1000, True),
        Interface(5, "eth2", UP, False),
        Interface(6, "eth3", 0x1, True),
        Interface(7, "eth4", UP, True),
    ]
    assert [each.name for each in eligible(wires, ())] == ["eth0", "eth4"]
    assert [each.name for each in eligible(wires, ("eth4", "lo"))] == ["eth4"]


def test_interfaces_are_read_from_the_kernel(tmp_path: Path) -> None:
    found = {each.name: each for each in read_interfaces()}
    assert found["lo"].flags & 0x8 and found["lo"].index == socket.if_nametoindex("lo")
    assert read_interfaces(tmp_path / "missing") == []
    table = tmp_path / "if_inet6"
    table.write_text("fe800000000000000000000000000001 01 40 20 80       lo\n")
    assert [each.link_local for each in read_interfaces(table) if each.name == "lo"] == [True]


def test_beacons_of_others_on_the_wire_are_believed_and_no_others() -> None:
    async def main() -> None:
        found: list[tuple[Endpoint, RouterId]] = []
        discovery = Discovery(ROUTER, 9651, port=0, interfaces=(), found=lambda *seen: found.append(seen))
        beacon = Beacon(7000, OTHER).encode()
        discovery.receive(beacon, "fe80::1", 3)
        discovery.receive(beacon, "2001:db8::1", 3)
        discovery.receive(beacon + b"x", "fe80::1", 3)
        discovery.receive(Beacon(7000, ROUTER).encode(), "fe80::1", 3)
        assert found == [(Endpoint("tcp", "fe80::1", 7000, 3), OTHER)]
        assert (discovery.heard, discovery.refused) == (1, 2)
        task = asyncio.create_task(discovery.run())
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())


def test_a_beacon_crosses_a_socket() -> None:
    async def main() -> None:
        heard = asyncio.Event()
        discovery = Discovery(ROUTER, 9651, port=0, interfaces=("none",), found=lambda *_: heard.set())
        port = discovery._socket.getsockname()[1]
        task = asyncio.create_task(discovery.run())
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            # From ::1, which is not link-local: it arrives, and is refused.
            sender.sendto(Beacon(7000, OTHER).encode(), ("::1", port))
            async with asyncio.timeout(5):
                while not discovery.refused:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert not heard.is_set()

    asyncio.run(main())


def test_a_discovery_port_that_is_taken_says_so() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", 0))
        with pytest.raises(HostError, match="discovery port"):
            Discovery(ROUTER, 1, port=taken.getsockname()[1], interfaces=(), found=lambda *_: None)


# --- records, costs, metrics, memory


def test_records_are_64_bytes_in_the_data_plane_s_layout() -> None:
    prefix = Prefix.parse("5a6:f0c6:f365:177d::/64")
    packed = pack([Install(prefix, ROUTER, 3, 4, 10), Unreachable(prefix, ROUTER), Remove(prefix)])
    first, second, third = (packed[at : at + RECORD_BYTES] for at in range(0, len(packed), RECORD_BYTES))
    assert first == (
        b"\x01\x40\0\0" + IPv6Address("5a6:f0c6:f365:177d::").packed + PUBLIC.raw
        + bytes.fromhex("0000000300000004") + bytes(4)
    )  # fmt: skip
    assert second[52:60] == bytes(8) and second[20:52] == PUBLIC.raw
    assert third[0] == 0 and third[20:] == bytes(44)


def test_flags_of_a_record_say_what_the_node_speaks_and_what_is_known_of_the_way() -> None:
    prefix, ours = PUBLIC.subnet(), RouterId.of(PUBLIC, ORDERED_ZONE | SESSION_ZONE, b"abcdef")
    older = RouterId.of(PUBLIC, ORDERED_ZONE, b"abcdef")
    actions: list[Install | Unreachable | Remove] = [
        Install(prefix, ours, 3, 4, 10),
        Install(prefix, ours, 3, 4, 10, spread=True),
        Install(prefix, older, 3, None, 10, spread=True),
        Install(prefix, ours, 3, 4, 10, originates=True),
        Install(prefix, ours, 3, 4, 10, originates=True, backup_originates=True),
        Install(prefix, older, 3, None, 10, backup_originates=True),
        Unreachable(prefix, ours),
        Remove(prefix),
    ]
    assert list(pack(actions)[2::RECORD_BYTES]) == [1, 3, 0, 5, 13, 0, 1, 0]
    assert not any(pack(actions)[3::RECORD_BYTES])


def test_this_node_says_what_it_can_do() -> None:
    assert new_router_id(PUBLIC).zone == ORDERED_ZONE | SESSION_ZONE
    assert new_router_id(PUBLIC, session_suite=False).zone == ORDERED_ZONE


@pytest.mark.parametrize(
    ("proto", "ip", "cost"),
    [
        ("tcp", "2001:db8::1", 10),
        ("tcp", "192.0.2.1", 15),
        ("quic", "::1", 7),
        ("quic", "::ffff:192.0.2.1", 12),
        ("udp", "::1", 4),
        ("udp", "192.0.2.1", 9),
    ],
)
def test_a_link_costs_what_mycelium_says_and_a_datagram_link_less(proto: str, ip: str, cost: int) -> None:
    assert static_cost(proto, ip) == cost


def test_each_mycelium_counter_is_shown_where_ours_exists() -> None:
    counters: dict[str, dict[str, int]] = {}
    for number, (room, name) in enumerate(MYCELIUM):
        counters.setdefault(room, {})[name] = number
    shown = exposition(Sample("1", 1.0, counters, [], [], 0, 0, resident_bytes())).decode()
    for number, (metric, label, value) in enumerate(MYCELIUM.values()):
        assert f'{metric}_total{{{label}="{value}"}} {float(number)}' in shown


def test_this_process_uses_memory() -> None:
    assert resident_bytes() > 1_000_000


# --- reload and start


def test_every_setting_is_live_or_asks_for_a_restart() -> None:
    old = Settings()
    assert compare(old, old).lines() == [] and compare(old, old).needs_restart == ()
    for option in OPTIONS:
        if option.name in LIVE or option.name == "config":
            continue
        values = {field.name: getattr(old, field.name) for field in OPTIONS}
        changed = compare(old, Settings(**values | {option.name: object()}))
        assert changed.needs_restart == (option.name,)


def test_differences_are_told_in_words() -> None:
    one, two = Endpoint.parse("tcp://192.0.2.1:1"), Endpoint.parse("tcp://192.0.2.2:1")
    changed = compare(
        Settings(peers=(one,)), Settings(peers=(two,), log_level="debug", peer_discovery_port=1)
    )
    again = Endpoint.parse("tcp://192.0.2.1:1?weight=7")
    assert compare(Settings(peers=(one,)), Settings(peers=(again,))).lines() == [f"peer changed: {again}"]
    assert compare(Settings(peers=(again,)), Settings(peers=(again,))).lines() == []
    assert changed.lines() == [
        f"peer added: {two}",
        f"peer removed: {one}",
        "discovery restarted with its new settings",
        "log level: debug",
    ]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EADDRINUSE, "taken"),
        (errno.EADDRNOTAVAIL, "not of this machine"),
        (errno.EPERM, "permission"),
        (errno.EBUSY, "in use"),
        (errno.EIO, "could not start"),
    ],
)
def test_what_the_machine_refuses_comes_with_a_remedy(number: int, words: str) -> None:
    error = explain(OSError(number, os.strerror(number)), Settings())
    assert words in error.message and error.remedy


def test_two_protocols_on_one_udp_port_are_told_so() -> None:
    error = explain(OSError(errno.EADDRINUSE, "no"), Settings(quic_listen_port=7, udp_listen_port=7))
    assert "both have the UDP port 7" in error.message


def test_a_taken_datagram_port_is_named() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", 0))
        port = taken.getsockname()[1]
        settings = Settings(tcp_listen_port=0, disable_quic=True, udp_listen_port=port)
        assert f"port {port} (udp)" in explain(OSError(errno.EADDRINUSE, "no"), settings).message
        assert taken_ports(settings) == (("udp_listen_port", port),)


def test_a_privileged_port_is_told_from_a_device() -> None:
    error = explain(OSError(errno.EACCES, "no"), Settings(no_tun=True))
    assert "1023" in error.remedy


def test_a_silent_name_server_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def silent(*_: object, **__: object) -> list[Any]:
        asked.wait(5)
        return []

    monkeypatch.setattr("zosnet.service.resolver.socket.getaddrinfo", silent)
    monkeypatch.setattr("zosnet.service.resolver.TIMEOUT", 0.02)
    monkeypatch.setattr("zosnet.service.resolver._at_once", threading.BoundedSemaphore(1))
    started = time.monotonic()
    with pytest.raises(PeerError, match="not resolved within"):
        asyncio.run(resolve(Endpoint.parse("tcp://slow.example:7")))
    with pytest.raises(PeerError, match="too many names"):
        asyncio.run(resolve(Endpoint.parse("tcp://other.example:7")))
    assert time.monotonic() - started < 4
    asked.set()
    for thread in threading.enumerate():
        if thread.name == "resolve slow.example":
            thread.join(5)
