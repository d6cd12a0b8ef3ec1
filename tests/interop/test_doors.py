"""A node of ours as it comes, its doors closed, beside the real Mycelium: explicit rules let that in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench.netlab import Lab
from tests.interop.daemons import API, PORT, Daemon, Ours, Theirs, eventually, transfer


class Closed(Ours):
    """`zosnet up` with nothing said about doors."""

    doors = ()


@pytest.fixture
def pair() -> Iterator[tuple[Closed, Theirs]]:
    """A closed node of ours, not started, and a Mycelium that runs."""
    with Lab("ot", [("o", "t")]) as lab:
        ours, theirs = Closed(lab, "o"), Theirs(lab, "t")
        theirs.start()
        yield ours, theirs


def link(ours: Daemon, theirs: Daemon, *more: str) -> None:
    ours.start([f"tcp://{ours.node.towards('t').peer_ip}:{PORT}"], "--disable-peer-discovery", *more)
    theirs.awaits(ours)


def test_explicit_rules_let_a_stock_node_in(pair: tuple[Closed, Theirs]) -> None:
    ours, theirs = pair
    link(ours, theirs, "--allow", f"tcp/7000 from {theirs.address}", "--allow-messages", theirs.address)
    transfer(theirs, ours, 4)
    transfer(ours, theirs, 4)
    theirs.send(ours, b"allowed")
    assert ours.receive()["payload"] == b"allowed"


def test_without_rules_it_pings_asks_and_is_answered(pair: tuple[Closed, Theirs]) -> None:
    ours, theirs = pair
    link(ours, theirs)
    assert ours.reaches(theirs) and ours.reaches(theirs, size=4000) and theirs.reaches(ours, size=4000)
    transfer(ours, theirs, 4)
    sent = ours.send(theirs, b"question")
    theirs.reply(theirs.receive(), b"answer")
    assert ours.receive()["payload"] == b"answer"
    eventually("it was acknowledged", lambda: ours.state(sent) in {"received", "read"}, 10)
    theirs.send(ours, b"unasked")
    eventually("it is refused", lambda: "messages" in ours.cli("doors"), 10)
    status, _ = ours.http("GET", "/messages?timeout=1")
    assert status == 204, f"a message came in through {API}"
