"""What running nodes are asked again and again, by tests and by measurements."""

from __future__ import annotations

from zosnet.lab.measure import Beat
from zosnet.lab.node import Node
from zosnet.lab.process import Process
from zosnet.lab.programs import api
from zosnet.lab.wait import until


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
