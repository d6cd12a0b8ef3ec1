"""What these tests ask of nodes again and again."""

from __future__ import annotations

import itertools
from typing import Any

from zosnet.lab import Grid, Node, Wishes
from zosnet.lab.measure import Beat
from zosnet.lab.process import Process
from zosnet.lab.programs import api
from zosnet.lab.wait import until


def dialling(grid: Grid, host: str, *peers: str, **wishes: Any) -> Node:
    """A node on `host` that dials these endpoints; not started."""
    return grid.node(host, wishes=Wishes(peers=list(peers), **wishes))


def line(grid: Grid, names: str, **link: Any) -> list[Node]:
    """Hosts in a row, each node dialling the one before it; not started."""
    for name in names:
        grid.host(name)
    nodes = [dialling(grid, names[0])]
    for before, name in itertools.pairwise(names):
        nodes.append(dialling(grid, name, grid.link(before, name, **link).url(before)))
    return nodes


def has_route(node: Node, other: Node) -> bool:
    """Whether `node` has a usable route to `other`."""
    wanted = str(other.address)
    return any(
        route["address"] == wanted and route["metric"] is not None
        for route in api(node).get("/v1/routes")["selected"]
    )


def route_count(node: Node) -> int:
    """How many usable routes it has."""
    return sum(route["metric"] is not None for route in api(node).get("/v1/routes")["selected"])


def beating(source: Node, target: Node, every_ms: float = 2) -> Process:
    """A datagram every `every_ms` from one node to the other and back, running."""
    if not any(process.name.endswith("/echo") for process in target.host.processes if process.is_running):
        target.host.tool("echo", 7).record("ready")
    beat = source.host.tool("probe", target.address, 7, every_ms)
    until("the beat is answered", lambda: len(Beat.of(beat.records()).replies) > 50)
    return beat


def answers(beat: Process) -> int:
    """How many answers it has had."""
    return len(Beat.of(beat.records()).replies)
