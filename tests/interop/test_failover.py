"""Two of ours, joined by two of theirs: when a relay dies under a transfer, the other one takes over."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from bench.netlab import Lab
from tests.interop.daemons import PORT, Daemon, OurPart, Ours, Theirs, transfer

#: Our own claim is a second between nodes of ours; here it must hold with relays that are not ours.
OUTAGE = 1.0


@pytest.fixture
def diamond() -> Iterator[tuple[Daemon, Daemon, list[Daemon]]]:
    """Our two ends, and their two relays."""
    with Lab("abxy", [("a", "x"), ("a", "y"), ("x", "b"), ("y", "b")]) as lab:
        ends: list[Daemon] = [OurPart(lab, "a"), OurPart(lab, "b")]
        relays: list[Daemon] = [Theirs(lab, "x"), Theirs(lab, "y")]
        for relay in relays:
            relay.start()
        for end in ends:
            end.start([f"tcp://{end.node.towards(name).peer_ip}:{PORT}" for name in "xy"])
        ends[0].awaits(ends[1], 12)
        yield ends[0], ends[1], relays


def test_a_transfer_outlives_the_death_of_their_relay(diamond: tuple[Daemon, Daemon, list[Daemon]]) -> None:
    one, other, relays = diamond

    def kill_the_one_in_use() -> None:
        used = one.lab.busiest(one.node, 0.5)
        name = one.node.on(used).peer
        next(relay for relay in relays if relay.name == name).stop(signal.SIGKILL)

    pause = transfer(one, other, 8, mbit=16, meanwhile=kill_the_one_in_use)
    if isinstance(one, Ours):
        assert pause <= OUTAGE
