"""Four operators on four machines of a lab, and a network that breaks in two between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.comet import TIMING, Cluster, claim, running, wait_for

from zosnet.lab import Grid, Link
from zosnet.ledger.comet.signed import trouble_of
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.replay import replay
from zosnet.model.errors import HostError, ZosnetError

pytestmark = [pytest.mark.slow, pytest.mark.privileged]

IDLE_S = int(TIMING.split(",")[-1]) / 1000


@pytest.fixture
def torn(tmp_path: Path) -> Iterator[tuple[Cluster, Link]]:
    """Two operators behind each of two routers, and the link between the routers."""
    sites = {"left": ("a", "b"), "right": ("c", "d")}
    with Grid() as grid:
        for site, names in sites.items():
            router = grid.host(site)
            router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
            for name in names:
                grid.host(name)
                end = grid.link(name, site).end(site)
                grid[name].run("ip", "route", "add", "default", "via", end.ipv4)
        between = grid.link(*sites)
        for site, other in (("left", "right"), ("right", "left")):
            for name in sites[other]:
                network = f"{grid[name].ends[0].ipv4}/32"
                grid[site].run("ip", "route", "add", network, "via", between.end(other).ipv4)
        with running(tmp_path, 4, [grid[name] for names in sites.values() for name in names]) as cluster:
            yield cluster, between


def test_a_network_in_two_halves_decides_nothing_and_goes_on_when_it_is_whole(
    torn: tuple[Cluster, Link],
) -> None:
    cluster, between = torn
    nodes = cluster.nodes
    ends = [nodes[0], nodes[3]]
    wallets = [cluster.account(node) for node in ends]
    before = cluster.agree()
    between.cut()
    # What was under way when the link went silent may have been decided: one block at most.
    held = max(node.height for node in nodes) + 1
    found: list[Receipt | ZosnetError] = []

    def submit(number: int) -> None:
        try:
            found.append(claim(ends[number], wallets[number], 1))
        except ZosnetError as error:
            found.append(error)

    waiting = [threading.Thread(target=submit, args=[number]) for number in range(2)]
    for thread in waiting:
        thread.start()
    time.sleep(4 * IDLE_S)  # four blocks would have come, had there been any
    assert all(node.height <= held for node in nodes)
    assert not found
    between.heal()
    for thread in waiting:
        thread.join(60)
    # Both sides' are final, or, on a busy machine, given up; nobody is told of anything else.
    assert len(found) == 2
    assert all(each.is_done if isinstance(each, Receipt) else isinstance(each, HostError) for each in found)
    wait_for("blocks again", lambda: min(node.height for node in nodes) > held + 1)
    height = cluster.agree()
    for node in nodes:
        headers = node.way.headers(1, 1000)[:height]
        assert len(headers) == height > before
        assert all(trouble_of(cluster.genesis, each) is None for each in headers)
    blocks = [nodes[2].way.block(each) for each in range(1, height + 1)]
    assert len(list(replay(cluster.genesis, [(b.header, b.transactions) for b in blocks if b]))) == height
    for each in found:
        if isinstance(each, Receipt):
            assert {node.way.find(each.id) for node in nodes} == {each.height}
