"""Datagram links between real nodes: sessions over them, relays, and paths that carry less than they did."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.nodes import at_ingress, dialling

from zosnet.lab import Grid, Node, until
from zosnet.lab.programs import api
from zosnet.lab.transfer import moved
from zosnet.lab.two_paths import start

pytestmark = [pytest.mark.privileged, pytest.mark.slow]

MIB = 1 << 20
IPV4_AND_UDP, RELAY, FRAME = 28, 56, 34
"""What goes around a packet: docs/protocols/udp-link.md, docs/protocols/session.md."""


def sessions(node: Node) -> list[dict[str, Any]]:
    """Its established sessions."""
    return [
        session for session in api(node).get("/v1/sessions")["sessions"] if session["state"] == "established"
    ]


def test_neighbours_speak_directly_and_know_whom_they_speak_to(grid: Grid) -> None:
    grid.host("a")
    grid.host("b")
    link = grid.link("a", "b")
    b = dialling(grid, "b")
    a = dialling(grid, "a", link.url("b", "udp"))
    start([b, a])
    transfer, came, digest = moved(a, b, 64 * MIB)
    transfer.finish()
    assert came.digest() == digest
    assert [(one["address"], one["via"]) for one in sessions(a)] == [(str(b.address), "direct")]
    assert [(one["address"], one["via"]) for one in sessions(b)] == [(str(a.address), "direct")]


def test_a_wrong_key_in_the_address_is_no_link(grid: Grid) -> None:
    grid.host("a")
    grid.host("b")
    link = grid.link("a", "b")
    b = dialling(grid, "b")
    place = link.url("b", "udp").removeprefix("udp://")
    a = dialling(grid, "a", f"udp://{'17' * 32}@{place}")
    for node in (b, a):
        node.start()

    def said() -> str:
        return str(api(a).get("/v1/peers")["peers"][0]["last_error"])

    until("a says that another key answered", lambda: "key" in said(), within=15.0, seen=said)
    assert not a.reaches(b)


def test_a_relay_passes_on_what_it_cannot_read(grid: Grid) -> None:
    for name in ("a", "r", "b"):
        grid.host(name)
    r = dialling(grid, "r")
    a = dialling(grid, "a", grid.link("a", "r").url("r", "udp"))
    b = dialling(grid, "b", grid.link("r", "b").url("r", "udp"))
    start([r, a, b])
    transfer, came, digest = moved(a, b, 64 * MIB)
    transfer.finish()
    assert came.digest() == digest
    assert (str(b.address), "relayed") in [(one["address"], one["via"]) for one in sessions(a)]


def test_tcp_goes_on_over_paths_that_carry_less_and_less(grid: Grid) -> None:
    """Packets of 1418 bytes directly, of 1360 through a relay, and at last of 1088: those of 1280 bytes, the
    least that hosts make, travel in pieces.
    """
    for name in ("a", "b", "r1", "r2"):
        grid.host(name)
    direct = grid.link("a", "b")
    first = (grid.link("a", "r1", delay_ms=1), grid.link("r1", "b", delay_ms=1))
    thin = (grid.link("a", "r2", delay_ms=4), grid.link("r2", "b", delay_ms=4, segmented=True))
    for end in thin[1].ends:  # which say that they carry more
        at_ingress(end, f"meta length > {IPV4_AND_UDP + RELAY + FRAME + 1088} drop")
    relays = [dialling(grid, "r1"), dialling(grid, "r2")]
    a = dialling(
        grid, "a", direct.url("b", "udp"), first[0].url("r1", "udp"), thin[0].url("r2", "udp"),
        extra=["--mtu", "1418"],
    )  # fmt: skip
    b = dialling(grid, "b", first[1].url("r1", "udp"), thin[1].url("r2", "udp"), extra=["--mtu", "1418"])
    start([*relays, a, b])
    transfer, came, digest = moved(a, b, 48 * MIB, mbit=40)
    until("a quarter has arrived", lambda: transfer.received() > 12 * MIB, within=30.0)
    direct.cut()
    until("half has arrived", lambda: transfer.received() > 24 * MIB, within=30.0)
    assert fragmented(a) == 0
    first[0].cut()
    arrived = transfer.finish()
    assert came.digest() == digest
    assert fragmented(a) > 0
    assert arrived.longest_silence(arrived.began) < 5000


def fragmented(node: Node) -> float:
    """Packets of its host that it has cut up."""
    return api(node).metrics()["zosnet_dataplane_tx_fragmented_total"]
