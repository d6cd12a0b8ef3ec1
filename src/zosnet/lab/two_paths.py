"""The grid that failover is tried on: a and b, and two relays between them, one path better than the other.

        ┌── r1 ──┐    as fast as the machine
    a ──┤        ├── b
        └── r2 ──┘    further away, and slower if wished

Which path is in use is read from the links' own counters, not from what the nodes say.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from functools import partial

from zosnet.lab.grid import Grid
from zosnet.lab.link import Link
from zosnet.lab.node import Node, Program, Wishes
from zosnet.lab.wait import until

NAMES = ("a", "r1", "r2", "b")


class TwoPaths:
    """Built into a grid, nodes not started.

    The ends dial the relays; `better` and `worse` are the links at a. Both links of r2 have the delay, the
    rate is that of its first. With 5 ms (10 there and back) the paths differ by more than the hysteresis with
    which nodes choose, and neither link of r2 is as long as the whole better path: so r2's routes are
    feasible (RFC 8966, section 3.5.1), and both ends have a backup at hand.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        delay_ms: float,
        rate_mbit: float | None = None,
        program: Program | None = None,
        proto: str = "tcp",
    ) -> None:
        for name in NAMES:
            grid.host(name)
        self.better = grid.link("a", "r1")
        self.worse = grid.link("a", "r2", delay_ms=delay_ms, rate_mbit=rate_mbit)
        far = (grid.link("r1", "b"), grid.link("r2", "b", delay_ms=delay_ms))
        self.nodes = {
            "r1": grid.node("r1", program),
            "r2": grid.node("r2", program),
            "a": grid.node("a", program, Wishes(peers=_dialled((self.better, self.worse), proto))),
            "b": grid.node("b", program, Wishes(peers=_dialled(far, proto))),
        }

    def carried(self) -> tuple[int, int]:
        """Bytes over the better and the worse path so far."""
        return self.better.traffic(), self.worse.traffic()

    def busier(self, since: tuple[int, int]) -> Link:
        """The path's first link that has carried more since `carried` said so."""
        better, worse = self.carried()
        return self.better if better - since[0] >= worse - since[1] else self.worse

    def prefer_better(self, within: float = 30.0) -> None:
        """Wait until what a sends to b, and its answers, go through r1.

        Link costs take a moment to measure.
        """
        a, b = self.nodes["a"], self.nodes["b"]

        def takes_better() -> bool:
            before = self.carried()
            a.host.run("ping", "-nq", "-c", 20, "-i", "0.005", "-s", 1000, b.address, check=False)
            after = self.carried()
            return after[0] - before[0] > 30_000 > after[1] - before[1]

        until("the path through r1 is preferred, both ways", takes_better, within=within)


def start(nodes: Sequence[Node]) -> float:
    """Start all at once. Returns the seconds from the last one's being ready until each pings each."""
    for node in nodes:
        node.start(wait=False)
    for node in nodes:
        node.wait_ready()
    return meet(nodes)


def meet(nodes: Sequence[Node], within: float = 30.0) -> float:
    """Wait until every node pings every other through the overlay; the seconds that took."""
    began = time.monotonic()
    for one, other in itertools.permutations(nodes, 2):
        until(f"{one} reaches {other}", partial(one.reaches, other), within=within)
    return time.monotonic() - began


def _dialled(links: tuple[Link, Link], proto: str) -> list[str]:
    return [link.url(relay, proto) for link, relay in zip(links, ("r1", "r2"), strict=True)]
