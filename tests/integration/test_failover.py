"""A path is lost while traffic flows, with ten thousand routes installed that have to move as well."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.integration.nodes import answers, beating, route_count

from zosnet.lab import Grid, until
from zosnet.lab.feeder import feed
from zosnet.lab.measure import Beat
from zosnet.lab.payload import Payload
from zosnet.lab.transfer import Transfer
from zosnet.lab.two_paths import TwoPaths, start

pytestmark = [pytest.mark.privileged, pytest.mark.slow]

ROUTES = 10_000
MIB = 1 << 20


def kill_relay(paths: TwoPaths) -> None:
    paths.nodes["r1"].kill()


def cut_near(paths: TwoPaths) -> None:
    paths.better.cut()


@pytest.mark.parametrize(
    ("what", "proto", "routes", "limit_ms"),
    [
        (kill_relay, "tcp", ROUTES, 200),
        (cut_near, "tcp", ROUTES, 1000),
        (cut_near, "quic", 100, 1000),
        (cut_near, "udp", 100, 1000),
        (kill_relay, "udp", 100, 1000),
    ],
    ids=["dead socket", "silent cut", "silent cut, QUIC", "silent cut, UDP", "dead node, UDP"],
)
def test_traffic_moves_to_the_other_path_and_tcp_lives_on(
    grid: Grid,
    *,
    what: Callable[[TwoPaths], None],
    proto: str,
    routes: int,
    limit_ms: float,
    figure: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Measuring coverage takes the nodes several times as long as what is measured here.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    # A datagram link costs less of itself, so the longer path must be less long to be feasible.
    paths = TwoPaths(grid, delay_ms=4 if proto == "udp" else 5, proto=proto)
    a, b = paths.nodes["a"], paths.nodes["b"]
    start(list(paths.nodes.values()))
    feed(b.host, routes)
    until("a has all routes", lambda: route_count(a) >= routes + 3, within=60.0, seen=lambda: route_count(a))
    paths.prefer_better()
    beat = beating(a, b)
    sent = Payload(a.host, "sent", 32 * MIB, in_memory=True)
    came = Payload(b.host, "came", 32 * MIB, in_memory=True)
    digest = sent.fill(32 * MIB)
    transfer = Transfer(a.host, sent.path, b.host, came.path, b.address, mbit=100)
    until("a third has arrived", lambda: transfer.received() > 10 * MIB)
    since = paths.carried()
    what(paths)
    before = answers(beat)
    arrived = transfer.finish()
    until("the beat goes on", lambda: answers(beat) > before + 200)
    beat.stop()
    assert came.digest() == digest
    assert paths.busier(since) is paths.worse
    outage = Beat.of(beat.records()).longest()
    silence = arrived.longest_silence(arrived.began)
    figure(f"{what.__name__}, {proto}, {routes} routes: datagrams {outage:.0f} ms, TCP {silence:.0f} ms")
    assert outage < limit_ms
    until(
        "all routes have moved",
        lambda: route_count(a) >= routes + 2,
        within=20.0,
        seen=lambda: route_count(a),
    )
