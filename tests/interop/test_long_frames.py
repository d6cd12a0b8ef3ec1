"""Long frames, of several packets sealed at once, go to the node at the end of a stream and nowhere else.

Theirs passes on what it is given, and drops its QUIC link over a packet that this one can't carry.

    one of ours ── tcp ── one of theirs ── quic ── the other of ours
         └────────────────── tcp, at times ────────────────┘
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from bench.netlab import Lab
from tests.interop.daemons import PORT, TOOLS, Daemon, OurPart, Ours, Theirs, eventually, transfer

from zosnet.lab.process import Process

pytestmark = pytest.mark.skipif(OurPart is not Ours, reason="theirs has no sessions of ours")

#: Bytes of payload of a data packet, beyond which a stock QUIC link ends (docs/protocols/session.md).
LONGEST = 1394
#: Where `one` dials theirs, through what listens in.
TAP_PORT = 9700
VIA_TAP = f"tcp://127.0.0.1:{TAP_PORT}"
#: A file: some 11,000 packets one way.
MEGABYTES = 15
#: Mycelium dials again at a tick of 5 s.
REDIAL = 12.0
#: Number of the direct link in the lab, and its rate there: what is under way fills the sender's buffers.
DIRECT, DIRECT_MBIT = 3, 100


@dataclass(frozen=True)
class Triangle:
    """The nodes, and what listens in on the TCP link between the first of ours and theirs."""

    lab: Lab
    one: Daemon
    other: Daemon
    tap: Process

    @property
    def direct(self) -> str:
        """The endpoint that `other` dials to reach `one` without a relay."""
        return f"tcp://{self.other.node.towards(self.one.name).peer_ip}:{PORT}"

    def longest(self) -> int:
        """Bytes of the longest payload of a data packet between `one` and the relay."""
        return int(self.tap.text().split()[-1])

    def quic_link(self) -> int | None:
        """The number of the QUIC link: another one is there when it was made anew."""
        peers = _json(self.other, "peers", "list")["peers"]
        (link,) = [peer["link"] for peer in peers if peer["endpoint"].startswith("quic:")]
        assert link is None or isinstance(link, int)
        return link

    def go_direct(self) -> None:
        """Link `one` and `other`, unless they are, and wait until that is the way both take."""
        self.other.cli("peers", "add", self.direct, check=False)  # perhaps it is a peer already
        eventually(
            "`other` leaves the relay out", lambda: next_hop(self.other, self.one) == self.direct, REDIAL
        )
        eventually("so does `one`", lambda: next_hop(self.one, self.other) not in ("", VIA_TAP), REDIAL)


def _json(node: Daemon, *words: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(node.cli(*words, "--json"))
    return value


def next_hop(sender: Daemon, receiver: Daemon) -> str:
    """The peer by which packets go; empty without a route."""
    routes = _json(sender, "routes", "selected")["selected"]
    return next((str(route["next_hop"]) for route in routes if route["address"] == receiver.address), "")


def share_of(sender: Daemon, receiver: Daemon) -> float:
    """The share of a file's packets that went in a frame with others before them."""

    def counted() -> tuple[float, float]:
        metrics = _json(sender, "metrics")["metrics"]
        return metrics["zosnet_dataplane_tx_packets_total"], metrics["zosnet_dataplane_tx_shared_total"]

    packets, shared = counted()
    transfer(sender, receiver, MEGABYTES)
    after, now = counted()
    assert after - packets > MEGABYTES * 1e6 / 1400
    return (now - shared) / (after - packets)


@pytest.fixture(scope="module")
def triangle() -> Iterator[Triangle]:
    with Lab("abx", [("a", "x"), ("x", "b"), ("a", "b")]) as lab:
        one, other, relay = OurPart(lab, "a"), OurPart(lab, "b"), Theirs(lab, "x")
        lab.shape(DIRECT, DIRECT_MBIT)
        relay.quic_neighbour = True
        relay.start()
        words = ("tap", TAP_PORT, one.node.towards("x").peer_ip, PORT)
        tap = lab.helper(one.node, sys.executable, TOOLS, *words)
        eventually("the tap listens", lambda: "listening" in tap.text(), 5.0)
        one.start([VIA_TAP])
        other.start([f"quic://{other.node.towards('x').peer_ip}:{PORT}"])
        one.awaits(other, REDIAL)
        yield Triangle(lab, one, other, tap)


def test_frames_through_their_relay_are_what_its_quic_link_carries(triangle: Triangle) -> None:
    link = triangle.quic_link()
    assert next_hop(triangle.one, triangle.other) == VIA_TAP
    for sender, receiver in ((triangle.one, triangle.other), (triangle.other, triangle.one)):
        assert share_of(sender, receiver) < 0.1
        sessions = _json(sender, "sessions")["sessions"]
        assert [session["suite"] for session in sessions if session["address"] == receiver.address] == [
            "zosnet"
        ]
    assert 1300 < triangle.longest() <= LONGEST
    assert triangle.quic_link() == link is not None


def test_packets_share_frames_over_a_stream_to_the_node_itself(triangle: Triangle) -> None:
    link = triangle.quic_link()
    triangle.go_direct()
    for sender, receiver in ((triangle.one, triangle.other), (triangle.other, triangle.one)):
        assert share_of(sender, receiver) > 0.5
    assert triangle.longest() <= LONGEST
    assert triangle.quic_link() == link is not None


def test_what_waits_in_long_frames_does_not_go_to_their_relay(triangle: Triangle) -> None:
    """The direct link ends in the middle of a transfer, which goes on through the relay."""
    link = triangle.quic_link()
    triangle.go_direct()

    def end_direct() -> None:
        triangle.other.cli("peers", "remove", triangle.direct)

    transfer(triangle.one, triangle.other, 2 * MEGABYTES, mbit=4 * DIRECT_MBIT, meanwhile=end_direct)
    assert next_hop(triangle.one, triangle.other) == VIA_TAP
    assert share_of(triangle.one, triangle.other) < 0.1
    assert triangle.longest() <= LONGEST
    assert triangle.quic_link() == link is not None
