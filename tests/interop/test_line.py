"""theirs - ours - theirs - ours, in a row: each program relays between two of the other."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from bench.netlab import Lab
from tests.interop.daemons import PORT, Daemon, OurPart, Theirs, ended, eventually, transfer

#: Mycelium dials again at a tick of 5 s.
REDIAL = 12.0


@dataclass(frozen=True)
class Line:
    """The four nodes, left to right."""

    their_end: Daemon
    our_relay: Daemon
    their_relay: Daemon
    our_end: Daemon
    #: A ping from our end to an address that nobody has, under way since the row was built.
    lost: subprocess.Popen[str]

    @property
    def nodes(self) -> tuple[Daemon, ...]:
        return self.their_end, self.our_relay, self.their_relay, self.our_end


@pytest.fixture(scope="module", params=["tcp", "quic"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    """The row, all links of one transport. The relays are dialled by the ends and by each other."""
    with Lab("abcd", [("a", "b"), ("b", "c"), ("c", "d")]) as lab:
        nodes = Theirs(lab, "a"), OurPart(lab, "b"), Theirs(lab, "c"), OurPart(lab, "d")
        for node in nodes:
            if isinstance(node, Theirs):
                node.quic_neighbour = request.param == "quic"

        def towards(node: Daemon, peer: Daemon) -> str:
            return f"{request.param}://{node.node.towards(peer.name).peer_ip}:{PORT}"

        their_end, our_relay, their_relay, our_end = nodes
        our_relay.start()
        their_relay.start([towards(their_relay, our_relay)])
        their_end.start([towards(their_end, our_relay)])
        our_end.start([towards(our_end, their_relay)])
        ping = ("ping", "-n", "-c", 1, "-W", 20, "5ff:1:2:3::1")
        with ended(our_end.node.popen(*ping)) as lost:
            yield Line(*nodes, lost)


def test_every_node_reaches_every_other(line: Line) -> None:
    for one in line.nodes:
        for other in line.nodes:
            if one is not other:
                one.awaits(other, REDIAL)


def test_we_carry_bulk_between_two_of_theirs(line: Line) -> None:
    transfer(line.their_end, line.their_relay, 30)
    transfer(line.their_relay, line.their_end, 30)


def test_they_carry_bulk_between_two_of_ours(line: Line) -> None:
    transfer(line.our_end, line.our_relay, 30)
    transfer(line.our_relay, line.our_end, 30)


def test_our_own_suite_passes_through_their_relay(line: Line) -> None:
    line.our_end.awaits(line.our_relay)
    sessions = json.loads(line.our_end.cli("sessions", "--json"))["sessions"]
    ours = [session for session in sessions if session["state"] == "established"]
    assert [(session["address"], session["suite"], session["via"]) for session in ours] == [
        (line.our_relay.address, "zosnet", "relayed")
    ]


def test_bulk_crosses_both_kinds_of_relay(line: Line) -> None:
    transfer(line.their_end, line.our_end, 30)
    transfer(line.our_end, line.their_end, 30)


def test_messages_cross_relays(line: Line) -> None:
    for one, other in (
        (line.their_end, line.their_relay),
        (line.our_end, line.our_relay),
        (line.their_end, line.our_end),
        (line.our_end, line.their_end),
    ):
        one.send(other, b"from afar", topic=b"far")
        message = other.receive(topic=b"far")
        assert (message["payload"], message["srcIp"]) == (b"from afar", one.address)


@pytest.mark.parametrize("way", ["ours-through-theirs", "theirs-through-ours", "across"])
def test_a_hop_limit_that_runs_out_names_the_relay(line: Line, way: str) -> None:
    """Every node takes one from the hop limit, the first included: with 2, it runs out at the first relay."""
    sender, relay, target = {
        "ours-through-theirs": (line.our_end, line.their_relay, line.our_relay),
        "theirs-through-ours": (line.their_end, line.our_relay, line.their_relay),
        "across": (line.our_end, line.their_relay, line.their_end),
    }[way]
    assert sender.hop(target, 2).startswith(relay.prefix)


def test_a_hop_limit_of_one_never_leaves(line: Line) -> None:
    for sender in (line.our_end, line.their_end):
        assert sender.hop(line.our_relay, 1) != ""


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_their_ends_find_each_other_again_when_our_relay_restarts(line: Line, by: signal.Signals) -> None:
    line.our_relay.stop(by)
    assert not line.their_end.reaches(line.their_relay)
    line.our_relay.start()
    # Over QUIC, an idle one learns that we were killed from the answer to its next packet: let both speak.
    both = (line.their_end, line.their_relay), (line.their_relay, line.their_end)
    eventually("an echo", lambda: [one.reaches(other) for one, other in both].count(True) == 2, REDIAL)
    line.our_end.awaits(line.their_end, REDIAL)


def test_our_ends_find_each_other_again_when_their_relay_restarts(line: Line) -> None:
    line.their_relay.stop(signal.SIGKILL)
    assert not line.our_end.reaches(line.our_relay)
    line.their_relay.start()
    line.our_end.awaits(line.our_relay, REDIAL)
    line.our_end.awaits(line.their_end, REDIAL)


def test_an_address_that_nobody_has_was_told_unreachable(line: Line) -> None:
    """15 s is how long Mycelium asks the network for a route; ours gives up no later."""
    text, _ = line.lost.communicate(timeout=20)
    assert "unreachable" in text.lower() or "no route" in text.lower(), text


def test_nothing_went_wrong_silently(line: Line) -> None:
    for node in (line.our_relay, line.our_end):
        assert "Traceback" not in node.log()
