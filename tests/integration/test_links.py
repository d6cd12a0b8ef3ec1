"""Two nodes and one link between them, of every kind there is."""

from __future__ import annotations

from typing import Literal

import pytest
from tests.integration.nodes import dialling, line

from zosnet.lab import Grid, Node, Wishes, until
from zosnet.lab.ask import has_route
from zosnet.lab.programs import api
from zosnet.lab.transfer import moved
from zosnet.lab.two_paths import meet, start

pytestmark = [pytest.mark.privileged, pytest.mark.slow]

MIB = 1 << 20


def carry(source: Node, target: Node, size: int = 8 * MIB) -> float:
    """Move a file through the overlay, whole; the Mbit/s it went at."""
    transfer, came, digest = moved(source, target, size)
    arrived = transfer.finish()
    assert came.digest() == digest
    return arrived.mbit()


@pytest.mark.parametrize("proto", ["tcp", "quic"])
@pytest.mark.parametrize("family", [4, 6])
def test_a_link_carries_packets_both_ways(grid: Grid, proto: str, family: Literal[4, 6]) -> None:
    grid.host("a"), grid.host("b")
    link = grid.link("a", "b")
    a, b = dialling(grid, "a"), dialling(grid, "b", link.url("a", proto, family=family))
    assert start([a, b]) < 5
    carry(a, b)
    carry(b, a)
    peer = api(b).get("/v1/peers")["peers"][0]
    assert peer["state"] == "alive"
    assert peer["endpoint"].startswith(f"{proto}://")
    assert peer["tx_bytes"] > 8 * MIB
    assert peer["rtt_ms"] is not None


@pytest.mark.parametrize("proto", ["tcp", "quic"])
def test_a_lossy_link_loses_time_and_no_data(grid: Grid, proto: str) -> None:
    grid.host("a"), grid.host("b")
    link = grid.link("a", "b", segmented=True)
    link.lose(0.01)
    a, b = dialling(grid, "a"), dialling(grid, "b", link.url("a", proto))
    start([a, b])
    carry(a, b)


def test_neighbours_on_one_wire_find_each_other(grid: Grid) -> None:
    grid.host("a"), grid.host("b")
    grid.link("a", "b")
    nodes = [grid.node(name, wishes=Wishes(discovery=True)) for name in "ab"]
    start(nodes)
    kinds = {peer["kind"] for node in nodes for peer in api(node).get("/v1/peers")["peers"]}
    assert "discovered" in kinds


def test_a_peer_by_name_is_found_at_the_address_that_works(grid: Grid) -> None:
    grid.host("a"), grid.host("b")
    link = grid.link("a", "b")
    dead = str(link.end("a").ipv4 + 50)
    grid["b"].knows({"relay.lab": [dead, str(link.end("a").ipv6)]})
    nodes = [dialling(grid, "a"), dialling(grid, "b", "tcp://relay.lab:9651")]
    assert start(nodes) < 10


def test_two_links_between_two_nodes_back_each_other(grid: Grid) -> None:
    grid.host("a"), grid.host("b")
    links = [grid.link("a", "b"), grid.link("a", "b")]
    a, b = dialling(grid, "a"), dialling(grid, "b", *(link.url("a") for link in links))
    start([a, b])
    until("both links are up", lambda: len(alive(b)) == 2)
    links[0].cut()
    meet([a, b], within=2.0)
    links[0].heal()
    until("both links are up again", lambda: len(alive(b)) == 2, within=30.0)
    links[1].cut()
    meet([a, b], within=2.0)


def alive(node: Node) -> list[str]:
    return [peer["endpoint"] for peer in api(node).get("/v1/peers")["peers"] if peer["state"] == "alive"]


def test_a_peer_can_be_added_and_dropped_while_running(grid: Grid) -> None:
    grid.host("a"), grid.host("b")
    url = grid.link("a", "b").url("a")
    a, b = dialling(grid, "a").start(), dialling(grid, "b").start()
    api(b).post("/v1/peers", {"endpoint": url})
    meet([a, b])
    api(b).delete("/v1/peers/" + url.replace(":", "%3A").replace("/", "%2F"))
    until("the route has gone", lambda: not has_route(a, b))
    assert not a.reaches(b)


def shared(node: Node) -> tuple[float, float]:
    """Packets that the node sealed, and those of them that shared a frame with another one."""
    counters = api(node).metrics()
    return counters["zosnet_dataplane_tx_packets_total"], counters["zosnet_dataplane_tx_shared_total"]


def share_of(source: Node, target: Node) -> float:
    """The share of a file's packets that went in frames with others before them."""
    packets, before = shared(source)
    carry(source, target)
    after, now = shared(source)
    assert after - packets > 8 * MIB / 1400
    return (now - before) / (after - packets)


def test_packets_share_frames_only_over_a_stream_to_the_node_itself(grid: Grid) -> None:
    """A relay may be a stock one, whose QUIC links take no long frames."""
    a, r, b = line(grid, "arb")
    start([a, r, b])
    assert share_of(a, r) > 0.5
    assert share_of(a, b) < 0.1
    assert share_of(b, a) < 0.1


def test_a_transfer_in_long_frames_outlives_its_link(grid: Grid) -> None:
    """What waits for a stream that ends may be too long for relays; the host sends it again."""
    for name in "arb":
        grid.host(name)
    direct = grid.link("a", "b", rate_mbit=100)
    ar, rb = grid.link("a", "r"), grid.link("r", "b")
    a, r = dialling(grid, "a"), dialling(grid, "r", ar.url("a"))
    b = dialling(grid, "b", direct.url("a"), rb.url("r"))
    start([a, r, b])
    transfer, came, digest = moved(a, b, 16 * MIB)
    until("a quarter has arrived", lambda: transfer.received() > 4 * MIB)
    assert shared(a)[1] > 0
    api(b).delete("/v1/peers/" + direct.url("a").replace(":", "%3A").replace("/", "%2F"))
    transfer.finish()
    assert came.digest() == digest
