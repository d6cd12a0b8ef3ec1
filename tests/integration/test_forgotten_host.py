"""A host behind a silent cut, which the neighbour cache forgets (ARP, NDP): docs/decisions/0012."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from tests.integration.nodes import dialling

from zosnet.lab import Grid, Node, until
from zosnet.lab.ask import answers, beating
from zosnet.lab.link import PORTS, End
from zosnet.lab.measure import Beat
from zosnet.lab.two_paths import start

pytestmark = [pytest.mark.privileged, pytest.mark.slow]

WATCHED_S = 8.0
"""The kernel drops what has waited for an address for 3 s: this sees it twice, and most of a third time."""

MOST_MS = 1000
"""Far below 3 s, and above what a busy machine adds."""

LEAST = 24 << 10
"""Bytes: how small a socket's buffer may become (`rust/io/src/udp/depth.rs`). Less is no hindrance."""


def is_forgotten(end: End, other: End) -> bool:
    """Whether the kernel looks for the other end's link-layer address in vain, by both families."""
    lines = end.host.run("ip", "neigh", "show", "dev", end.device).stdout.splitlines()
    states = {words[0]: words[-1] for line in lines if (words := line.split())}
    return all(states.get(str(each)) in ("INCOMPLETE", "FAILED") for each in (other.ipv4, other.ipv6))


def waiting(node: Node) -> int:
    """Bytes, as the kernel counts them, that wait in the node's UDP socket."""
    said = node.host.run("ss", "-uamnH", "sport", "=", f":{PORTS['udp']}").stdout
    return sum(int(held) for held in re.findall(r"skmem:\(.*?,t(\d+)", said))


def test_what_waits_for_the_address_of_a_host_that_is_gone_keeps_nothing_else_waiting(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    """One lane, so that all links are of one socket. Four links over the cut, so that many pings wait."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # as in test_failover
    for name in "arb":
        grid.host(name)
    direct, first, second = grid.link("a", "b"), grid.link("a", "r"), grid.link("r", "b")

    def node(name: str, *peers: str) -> Node:
        return dialling(grid, name, *peers, extra=["--lanes", "1"])

    r, a, b = (
        node("r"),
        node("a", first.url("r", "udp"), direct.url("b", "udp"), direct.url("b", "udp", family=6)),
        node("b", second.url("r", "udp"), direct.url("a", "udp"), direct.url("a", "udp", family=6)),
    )
    start([r, a, b])
    beat = beating(a, b, every_ms=10)
    at_a, at_b = direct.ends

    def goes_on() -> None:
        before = answers(beat)
        until("the beat is answered", lambda: answers(beat) > before + 50)

    before = direct.traffic(), first.traffic()
    goes_on()
    assert direct.traffic() - before[0] > first.traffic() - before[1], "the beat takes the direct link"
    direct.cut()
    goes_on()
    since = time.monotonic()
    for end in direct.ends:
        end.host.run("ip", "neigh", "flush", "dev", end.device)
    until("a has forgotten b", lambda: is_forgotten(at_a, at_b))
    until("b has forgotten a", lambda: is_forgotten(at_b, at_a))
    until("enough waits at both", lambda: min(waiting(a), waiting(b)) > LEAST, seen=lambda: waiting(a))
    until("it was watched", lambda: time.monotonic() > since + WATCHED_S, within=2 * WATCHED_S, every=0.1)
    assert is_forgotten(at_a, at_b) and is_forgotten(at_b, at_a)
    goes_on()
    silence = Beat.of(beat.records()).longest(since=since)
    figure(f"a host that is gone, its address forgotten: {silence:.0f} ms")
    assert silence < MOST_MS
