"""Random networks: never a loop, not even after flips; then the shortest paths, and nothing lost."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.babel.random_worlds import SLACK, assert_backed, assert_no_loops, disturb, graph
from tests.babel.stock import StockSpeaker

from zosnet.babel.metric import margin
from zosnet.babel.neighbour import LONGEST_RETURN, SHORTEST_RETURN
from zosnet.lab.wiring import Wiring
from zosnet.lab.world import World
from zosnet.lab.world_node import Routing
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId


def stock(router_id: RouterId, own: Prefix, rng: Random) -> Routing:
    return StockSpeaker(router_id, own, rng)


def assert_shortest(world: World) -> None:
    """Every node reaches every node, each hop having kept a route at most a margin worse than the best.

    A node keeps a route until another is better by more than `margin` of it, and hears of a change only if
    it is larger than `margin` of what it heard before: so a path may be longer by twice that for every hop.
    """
    found, best = world.metrics(), world.shortest_paths()
    assert found.keys() == best.keys()
    for (node, target), metric in found.items():
        path = world.path(node, target)
        assert path[-1] == target
        hops = len(path) - 1
        assert metric <= best[node, target] + 2 * margin(metric) * hops, (path, metric, best[node, target])
        links = {frozenset((w.a, w.b)): w.cost for w in world.wirings}
        real = sum(links[frozenset(hop)] for hop in pairwise(path))
        assert abs(real - metric) <= margin(metric) * hops


@given(st.integers(2, 12), st.integers(0, 12), st.integers(0, 2**32))
@SLACK
@pytest.mark.slow
def test_a_quiet_network_finds_the_shortest_paths_without_ever_looping(
    nodes: int, extra: int, seed: int
) -> None:
    world = World(graph(nodes, extra, Random(seed)), seed=seed)
    assert_no_loops(world, 3.0)
    assert_shortest(world)


@given(st.integers(3, 10), st.integers(0, 10), st.integers(0, 2**32))
@SLACK
@pytest.mark.slow
def test_whatever_happens_to_links_and_nodes_nothing_loops_and_all_comes_back(
    nodes: int, extra: int, seed: int
) -> None:
    rng = Random(seed)
    world = World(graph(nodes, extra, rng), seed=seed)
    disturb(world, rng, 12.0)
    assert_no_loops(world, 12.0)
    world.heal()
    assert_no_loops(world, 13.0)
    assert_backed(world)
    assert_no_loops(world, 12.0 + LONGEST_RETURN + 16.0)
    assert_shortest(world)
    assert_backed(world)


@given(st.integers(3, 8), st.integers(0, 8), st.integers(0, 2**32))
@SLACK
@pytest.mark.slow
def test_loss_and_reordering_never_close_a_loop(nodes: int, extra: int, seed: int) -> None:
    rng = Random(seed)
    world = World(graph(nodes, extra, rng), seed=seed, loss=0.2, jitter=0.3)
    disturb(world, rng, 30.0)
    assert_no_loops(world, 30.0)
    world.heal()
    assert_no_loops(world, 700.0)
    assert world.metrics().keys() == world.shortest_paths().keys()


@given(st.integers(3, 8), st.integers(0, 8), st.integers(0, 2**32))
@SLACK
@pytest.mark.slow
def test_among_stock_nodes_ours_never_loop_and_all_are_reached(nodes: int, extra: int, seed: int) -> None:
    rng = Random(seed)
    strangers = {name: stock for name in range(nodes) if rng.random() < 0.5}
    world = World(graph(nodes, extra, rng), seed=seed, makers=dict(strangers))
    disturb(world, rng, 12.0, restarts=False)
    ours = set(world.nodes) - set(strangers)
    assert_no_loops(world, 12.0, ours)
    world.heal()
    assert_no_loops(world, 90.0, ours)
    for name in world.nodes:
        for target in world.nodes:
            world.need(name, target)
            world.run(world.now + 0.5)
    assert_no_loops(world, world.now + 30.0, ours)
    for name in ours:
        for target in world.nodes:
            assert world.path(name, target)[-1] == target


@given(st.integers(3, 7), st.integers(1, 5), st.integers(0, 2**32))
@SLACK
@pytest.mark.slow
def test_measurements_of_any_kind_never_close_a_loop_and_steady_ones_end_all_change(
    nodes: int, extra: int, seed: int
) -> None:
    rng = Random(seed)
    world = World(graph(nodes, extra, rng), seed=seed)
    losses = {wiring: rng.choice([0.0, 0.0, 0.01, 0.1]) for wiring in world.wirings}
    disturb(world, rng, 12.0)

    def measure(wiring: Wiring) -> None:
        wild = world.now < 20.0
        noise = rng.uniform(0.0, 4.0) if wild else rng.uniform(0.95, 1.05)
        loss = rng.choice([0.0, 0.02, 0.4]) if wild else losses[wiring]
        world.measure(wiring, 2 * wiring.delay * noise, loss)

    for tick in range(800):
        for wiring in world.wirings:
            world.at(0.5 * tick + 0.4 * rng.random(), lambda w=wiring: measure(w))  # type: ignore[misc]
    assert_no_loops(world, 20.0)
    world.heal()
    assert_no_loops(world, 20.0 + LONGEST_RETURN + 30.0)
    assert_backed(world)
    assert world.metrics().keys() == world.shortest_paths().keys()
    for now in world.steps(400.0):
        assert world.changed == set(), f"at {now}"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)])
def test_a_line_is_connected_two_seconds_after_its_last_link_came_up(order: tuple[int, ...]) -> None:
    wirings = [Wiring(0, 1), Wiring(1, 2), Wiring(2, 3)]
    world = World(wirings, link_up=False)
    for index in order:
        world.connect(wirings[index])
        world.run(world.now + 30.0)
    world.run(world.now - 28.0)
    for a in range(4):
        for b in range(4):
            assert world.path(a, b)[-1] == b
    world.restart(3)
    world.restart(1)
    world.run(world.now + 2.0)
    assert world.path(0, 3) == [0, 1, 2, 3]
    assert world.path(3, 0) == [3, 2, 1, 0]
    assert_shortest(world)


def test_a_silent_link_is_left_at_once_and_taken_again_when_it_speaks() -> None:
    near, across, far = Wiring(0, 2), Wiring(1, 2), Wiring(0, 1, delay=0.02)
    world = World([near, across, far])
    world.run(2.0)
    assert world.path(0, 1) == [0, 2, 1]
    world.silence(near)
    assert world.path(0, 1) == [0, 1]
    world.run(3.0)
    assert world.path(0, 2) == [0, 1, 2]
    assert world.metrics()[0, 2] == 62
    world.restore(near)
    world.run(3.0 + SHORTEST_RETURN - 0.1)
    assert world.path(0, 1) == [0, 1]
    assert world.next_hops(0, world.nodes[1].own) == [1, 2], "but what is back is the backup at once"
    world.run(3.0 + SHORTEST_RETURN + 0.1)
    assert world.path(0, 1) == [0, 2, 1]


def test_a_link_that_fails_again_and_again_is_returned_to_less_and_less_often() -> None:
    """A loose plug: two seconds of silence in every eight, for an hour."""
    near, across, far = Wiring(0, 2), Wiring(1, 2), Wiring(0, 1, delay=0.02)
    world = World([near, across, far])
    world.run(2.0)
    for start in range(10, 3600, 8):
        world.at(float(start), lambda: world.silence(near))
        world.at(start + 2.0, lambda: world.restore(near))
    returns, before = [], world.next_hops(0, world.nodes[1].own)[0]
    for now in world.steps(3600.0):
        first = world.next_hops(0, world.nodes[1].own)[0]
        if first != before and first == 2:
            returns.append(now)
        before = first
    assert len(returns) <= 2
    world.restore(near)
    world.run(3600.0 + LONGEST_RETURN + 1.0)
    assert world.path(0, 1) == [0, 2, 1]


def test_a_dead_link_that_is_up_again_is_returned_to_when_it_is_stable() -> None:
    near, across, far = Wiring(0, 2), Wiring(1, 2), Wiring(0, 1, delay=0.02)
    world = World([near, across, far])
    world.run(2.0)
    world.cut(near)
    world.run(3.0)
    assert world.path(0, 1) == [0, 1]
    world.restore(near)
    world.run(3.0 + SHORTEST_RETURN - 0.1)
    assert world.path(0, 1) == [0, 1]
    world.run(3.0 + SHORTEST_RETURN + 0.5)
    assert world.path(0, 1) == [0, 2, 1]


def test_where_there_is_nothing_else_a_link_that_is_back_is_used_at_once() -> None:
    wiring = Wiring(0, 1)
    world = World([wiring])
    world.run(2.0)
    world.silence(wiring)
    world.run(20.0)
    assert world.metrics() == {}
    world.restore(wiring)
    world.run(20.1)
    assert world.path(0, 1) == [0, 1]


def test_a_link_that_stays_silent_is_cut_after_43_seconds() -> None:
    wiring = Wiring(0, 1)
    world = World([wiring])
    world.run(2.0)
    world.silence(wiring)
    world.run(60.0)
    assert wiring not in world.wires
    assert world.metrics() == {}
    world.restore(wiring)
    world.run(62.0)
    assert world.path(0, 1) == [0, 1]
