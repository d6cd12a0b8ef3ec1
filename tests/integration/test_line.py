"""Four nodes in a row: the ends talk through two relays."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from tests.integration.nodes import line

from zosnet.lab import Grid, Node, until
from zosnet.lab.ask import answers, beating, has_route
from zosnet.lab.programs import TUN, api, executable
from zosnet.lab.two_paths import meet, start

pytestmark = [pytest.mark.privileged, pytest.mark.slow]


def test_all_reach_each_other_2_s_after_the_last_link_is_up(
    grid: Grid, figure: Callable[[str], None]
) -> None:
    nodes = line(grid, "abcd")
    for node in nodes[:-1]:
        node.start()
    nodes[-1].start()
    until("the last link is up", lambda: is_linked(nodes[-1]), every=0.002)
    took = meet(nodes)
    figure(f"line of four: all pairs {took * 1000:.0f} ms after the last link is up")
    assert took < 2.0


def is_linked(node: Node) -> bool:
    return any(peer["state"] == "alive" for peer in api(node).get("/v1/peers")["peers"])


def test_all_reach_each_other_2_s_after_a_broken_link_is_dialled_again(grid: Grid) -> None:
    nodes = line(grid, "abcd")
    start(nodes)
    middle = grid.between("b", "c")
    middle.carrier(False)
    nodes[2].restart()
    until("b and c have no link", lambda: not has_route(nodes[0], nodes[3]), within=60.0)
    middle.carrier(True)
    until("it is dialled again", lambda: is_linked(nodes[2]), within=60.0)
    assert meet(nodes) < 2.0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_node_that_stops_takes_its_routes_and_its_device_along(grid: Grid, how: int) -> None:
    a, b, c = nodes = line(grid, "abc")
    start(nodes)
    assert TUN in c.host.interfaces()
    assert c.process is not None
    told = time.monotonic()
    c.process.signal(how)
    until("a has no route to c", lambda: not has_route(a, c), within=2.0)
    assert c.process.wait() == 0
    assert time.monotonic() - told < 3
    assert TUN not in c.host.interfaces()
    assert has_route(a, b)
    assert not (c.directory / "api.sock").exists()


def test_a_killed_node_comes_back_under_the_same_address(grid: Grid) -> None:
    a, b, c = nodes = line(grid, "abc")
    start(nodes)
    before = c.address
    c.kill()
    assert TUN not in c.host.interfaces()
    until("a has no route to c", lambda: not has_route(a, c), within=5.0)
    c.start()
    assert meet([a, b, c]) < 5
    assert c.program.address(c) == before


def test_a_relay_that_restarts_carries_on(grid: Grid) -> None:
    a, b, c = nodes = line(grid, "abc")
    start(nodes)
    beat = beating(a, c)
    b.restart()
    before = answers(beat)
    until("a and c talk again", lambda: answers(beat) > before + 50, within=15.0)


def test_a_relay_without_a_device_relays(grid: Grid) -> None:
    a, b, c = nodes = line(grid, "abc")
    b.wishes.tun = False
    for node in nodes:
        node.start()
    until("a reaches c", lambda: a.reaches(c))
    assert b.host.interfaces() == ["a-1", "c-2", "lo"]


def test_the_error_of_a_pinned_relay_is_no_downgrade(grid: Grid) -> None:
    a, b, c, d = nodes = line(grid, "abcd", proto="udp")
    for node in nodes:
        node.start()

    def pinned() -> dict[str, bool]:
        return {pin["address"]: pin["downgraded"] for pin in api(a).get("/v1/pins")["pins"]}

    until("a talks with b in our own suite", lambda: a.reaches(b) and str(b.address) in pinned())
    until("a has a route to c", lambda: has_route(a, c))
    for _ in range(3):
        said = a.host.run("ping", "-n", "-c", 1, "-W", 2, "-t", 2, c.address, check=False).stdout
        assert "Time exceeded: Hop limit" in said, said
    # What the errors led to was posted before d's pin is.
    until("and with d", lambda: a.reaches(d) and str(d.address) in pinned())
    assert pinned()[str(b.address)] is False


def test_the_command_line_talks_to_the_node(grid: Grid) -> None:
    a, b = nodes = line(grid, "ab")
    start(nodes)

    def command(*words: object, check: bool = True) -> tuple[int, str]:
        socket = f"ZOSNET_SOCKET={a.inside('api.sock')}"
        done = a.host.run("env", socket, *executable(), *words, check=check)
        return done.returncode, done.stdout + done.stderr

    assert str(a.address) in command("status")[1]
    assert str(b.address) in command("routes")[1]
    assert command("ping", b.address, "--count", 1)[0] == 0
    command("down")
    assert a.process is not None
    assert a.process.wait() == 0
    status, said = command("status", check=False)
    assert status == 3
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) <= 3
