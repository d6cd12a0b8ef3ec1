"""A path is lost while traffic flows, with routes installed that have to move as well; a host that sleeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zosnet.lab import Grid
from zosnet.lab.failover import come_back, cut_near, kill_relay, lose_a_path, sleep_and_wake
from zosnet.lab.two_paths import TwoPaths

pytestmark = [pytest.mark.privileged, pytest.mark.slow]

ROUTES = 10_000
MOST_MS = 2000
"""Far below any timeout by which the path would be lost otherwise (10 s and more), and above what a busy
machine adds. How fast it is, is measured: `python -m bench.failover` holds it to 100 ms and to a second.
"""


@pytest.fixture(autouse=True)
def _fast_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Measuring coverage takes the nodes several times as long as what is measured here.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.mark.parametrize(
    ("what", "proto", "routes"),
    [
        (kill_relay, "tcp", ROUTES),
        (cut_near, "tcp", ROUTES),
        (cut_near, "quic", 100),
        (cut_near, "udp", 100),
        (kill_relay, "udp", 100),
    ],
    ids=["dead socket", "silent cut", "silent cut, QUIC", "silent cut, UDP", "dead node, UDP"],
)
def test_traffic_moves_to_the_other_path_and_tcp_lives_on(
    grid: Grid,
    *,
    what: Callable[[TwoPaths], None],
    proto: str,
    routes: int,
    figure: Callable[[str], None],
) -> None:
    loss = lose_a_path(grid, what, proto, routes)
    figure(
        f"{what.__name__}, {proto}, {routes} routes: "
        f"datagrams {loss.datagrams_ms:.0f} ms, TCP {loss.tcp_ms:.0f} ms"
    )
    assert loss.is_whole
    assert loss.has_moved
    assert loss.datagrams_ms < MOST_MS


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_tcp_hardly_notices_the_return_to_the_better_path(
    grid: Grid, proto: str, figure: Callable[[str], None]
) -> None:
    back = come_back(grid, proto, mbit=40)
    figure(
        f"return, {proto}: after {back.after_s:.1f} s, {back.silence_ms:.0f} ms of silence, "
        f"{back.again} of {back.segments} segments sent again"
    )
    assert back.is_whole
    assert back.silence_ms < MOST_MS
    assert back.again < back.segments / 20


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_a_host_that_slept_is_back_in_two_seconds(
    grid: Grid, proto: str, figure: Callable[[str], None]
) -> None:
    back = sleep_and_wake(grid, proto, seconds=8.0)
    figure(f"back after 8 s of sleep, {proto}: {1000 * back:.0f} ms")
    assert back < 2.0
