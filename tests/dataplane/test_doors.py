"""Closed doors of a real data plane: what comes in over a link, and what is said about the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.dataplane.stations import MAGIC, Station, join, until

from zosnet.access import Doors, Rule, compile_doors
from zosnet.dataplane import events
from zosnet.model import Prefix
from zosnet.wire.ipv6 import Icmp, encode_icmp_packet
from zosnet.wire.message import ACK, CHUNK, INIT

UDP = 17


@pytest.fixture
def pair(station: Callable[..., Station]) -> tuple[Station, Station]:
    """A station with open doors, and one with closed doors, which know each other."""
    stranger, host = station(1), station(2, closed=True)
    there, here = join(stranger, host)
    stranger.route(host, there)
    host.route(stranger, here)
    return stranger, host


def message(id: int, flags: int) -> bytes:
    return bytes([id]) * 8 + flags.to_bytes(2) + bytes(20)


def udp(source: Station, destination: Station, port: int, from_port: int = 4000) -> bytes:
    """A datagram without a checksum that anybody looks at."""
    datagram = from_port.to_bytes(2) + port.to_bytes(2) + (16).to_bytes(2) + bytes(2) + b"datagram"
    head = bytes([0x60, 0, 0, 0]) + len(datagram).to_bytes(2) + bytes([UDP, 64])
    return head + source.address.packed + destination.address.packed + datagram


def test_probes_and_pings_pass_closed_doors_both_ways(pair: tuple[Station, Station]) -> None:
    stranger, host = pair
    host.echo(stranger, 1)
    host.take(events.ProbeReceived)
    stranger.echo(host, 2)
    stranger.take(events.ProbeReceived)


def test_an_answer_to_nothing_is_refused(pair: tuple[Station, Station]) -> None:
    stranger, host = pair
    reply = Icmp(129, 0, 7 << 16, MAGIC)
    stranger.plane.inject(encode_icmp_packet(stranger.address.packed, host.address.packed, 64, reply))
    until(lambda: host.count("drop.refused_stray") == 1)
    host.none_of(events.ProbeReceived, 0.1)


def test_a_datagram_is_refused_counted_told_and_remembered(pair: tuple[Station, Station]) -> None:
    stranger, host = pair
    for _ in range(3):
        stranger.plane.inject(udp(stranger, host, 53))
    until(lambda: host.count("drop.refused_service") == 3)
    assert host.count("icmp.errors") == 3
    (refusal,) = host.plane.refusals()
    assert (refusal.key, refusal.source) == (stranger.public.raw, stranger.address.packed)
    assert (refusal.protocol, refusal.port, refusal.reason) == (UDP, 53, "refused_service")
    assert (refusal.count, refusal.first <= refusal.last) == (3, True)
    # The errors came to where nobody is; that they came in shows that they quote a live flow where doors are
    # closed too.
    stranger.plane.replace_filter(False, b"")
    before = stranger.count("drop.refused_error")
    stranger.plane.inject(udp(stranger, host, 54))
    until(lambda: host.count("icmp.errors") == 4)
    until(lambda: stranger.count("drop.no_tun") >= 4)
    assert stranger.count("drop.refused_error") == before


def test_a_rule_lets_one_key_in_to_one_port(pair: tuple[Station, Station]) -> None:
    stranger, host = pair
    rule = Rule(stranger.public, UDP, ((53, 53),))
    host.plane.replace_filter(False, compile_doors(Doors(rules=(rule,))))
    stranger.plane.inject(udp(stranger, host, 53))
    until(lambda: host.count("drop.no_tun") == 1)  # let in, and there is no device
    assert host.plane.rule_hits() == [1]
    stranger.plane.inject(udp(stranger, host, 54))
    until(lambda: host.count("drop.refused_service") == 1)
    host.plane.replace_filter(False, b"")
    stranger.plane.inject(udp(stranger, host, 53))
    until(lambda: host.count("drop.refused_service") == 2)


def test_messages_are_refused_before_python_sees_them(pair: tuple[Station, Station]) -> None:
    stranger, host = pair
    stranger.plane.send_message(host.address.packed, message(1, INIT))
    until(lambda: host.count("drop.refused_message") == 1)
    host.none_of(events.MessageReceived, 0.1)
    # What answers a message of the host's own comes in, by its id.
    host.plane.send_message(stranger.address.packed, message(2, INIT))
    stranger.take(events.MessageReceived)
    stranger.plane.send_message(host.address.packed, message(2, INIT | ACK))
    assert host.take(events.MessageReceived).body == message(2, INIT | ACK)
    stranger.plane.send_message(host.address.packed, message(3, CHUNK))
    until(lambda: host.count("drop.refused_message") == 2)
    allowed = Doors(messages=(Prefix.of(stranger.address, 64),))
    host.plane.replace_filter(False, compile_doors(allowed))
    stranger.plane.send_message(host.address.packed, message(4, INIT))
    assert host.take(events.MessageReceived).body == message(4, INIT)
    assert host.plane.rule_hits() == [1]


def test_nonsense_changes_nothing(pair: tuple[Station, Station]) -> None:
    _, host = pair
    with pytest.raises(ValueError, match="65 bytes"):
        host.plane.replace_filter(True, bytes(65))
    with pytest.raises(ValueError, match="record 1"):
        host.plane.replace_filter(True, compile_doors(Doors(rules=(Rule(host.public),))) + bytes(64))
    with pytest.raises(ValueError, match="32 bytes"):
        host.plane.replace_allowed_links([b"short"])
    host.plane.replace_allowed_links([host.public.raw])
    host.plane.replace_allowed_links(None)
