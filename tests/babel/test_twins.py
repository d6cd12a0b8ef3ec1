"""Several links between two nodes, on one path or on several: docs/decisions/0006."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.babel.random_worlds import DELAYS, SLACK, assert_backed, assert_no_loops, disturb, graph

from zosnet.babel.neighbour import LONGEST_RETURN
from zosnet.lab.wiring import Wiring
from zosnet.lab.world import STALL_NOTICED, World

NEAR = 0.005
"""The delay of the links between 0 and 1, so that what leads there over 2 is longer, and feasible still."""

ONE = Wiring(0, 1, NEAR, kind="udp", place="one")
TWIN = replace(ONE, number=1)
ELSEWHERE = replace(ONE, delay=0.02, place="other")
RELAY = [Wiring(0, 2, 0.004), Wiring(2, 1, 0.004)]

OTHER_PATHS = [pytest.param([ELSEWHERE], id="link"), pytest.param(RELAY, id="relay")]


def quiet(*wirings: Wiring) -> World:
    """A world that has settled, and in which nothing is sent."""
    world = World(wirings)
    world.run(until=2.0)
    return world


def used(*wirings: Wiring) -> World:
    """One in which 0 and 1 send each other something."""
    world = quiet(*wirings)
    for hop in world.ways(0, 1)[:1] + world.ways(1, 0)[:1]:
        world.busy(hop)
    return world


def hops(world: World, until: float, name: int = 0) -> list[Wiring]:
    """The links over which 0 sends to 1, or 1 to 0, one after the other. Those it moves to are busy then."""
    seen = world.ways(name, 1 - name)[:1]
    for _ in world.steps(until):
        for hop in world.ways(name, 1 - name)[:1]:
            if hop != seen[-1]:
                seen.append(hop)
                world.busy(hop)
    return seen


@pytest.mark.parametrize("others", OTHER_PATHS)
def test_the_backup_is_on_another_path_where_there_is_one(others: list[Wiring]) -> None:
    world = quiet(ONE, TWIN, *others)
    assert world.ways(0, 1) == [ONE, others[0]]
    assert world.ways(1, 0) == [ONE, others[-1]]
    world = quiet(ONE, TWIN)
    assert world.ways(0, 1) == world.ways(1, 0) == [ONE, TWIN]
    unknown = [replace(each, place="") for each in (ONE, TWIN)]
    assert quiet(*unknown, ELSEWHERE).ways(0, 1) == unknown, "who knows whether they share a path"


@pytest.mark.parametrize("others", OTHER_PATHS)
def test_what_cuts_a_path_moves_its_traffic_once(others: list[Wiring]) -> None:
    world = used(ONE, TWIN, *others)
    world.silence(ONE)
    world.silence(TWIN, noticed=False)
    assert hops(world, until=100.0) == [ONE, others[0]]
    assert TWIN not in world.wires, "it was given up at last"
    assert_backed(world)


@pytest.mark.parametrize("others", OTHER_PATHS)
def test_a_quiet_twin_is_used_again_as_soon_as_it_answers(others: list[Wiring]) -> None:
    world = used(ONE, TWIN, *others)
    world.silence(ONE)
    noticed = world.now + STALL_NOTICED
    assert hops(world, noticed + 2 * NEAR - 0.001) == [ONE, others[0]]
    assert world.ways(0, 1) == [others[0], TWIN], "it is no less of a backup"
    assert hops(world, noticed + 2 * NEAR + 0.001) == [others[0], TWIN]
    world.restore(ONE)
    assert hops(world, world.now + 60.0) == [TWIN]


def test_a_twin_that_answers_late_is_doubted_until_then() -> None:
    world = used(ONE, TWIN, ELSEWHERE)
    world.silence(ONE)
    world.silence(TWIN, noticed=False)
    world.run(30.0)
    assert world.ways(0, 1) == [ELSEWHERE, TWIN]
    world.restore(TWIN)
    assert hops(world, 30.1) == [ELSEWHERE, TWIN]
    assert world.ways(0, 1) == [TWIN, ELSEWHERE]


def test_a_doubted_twin_is_used_at_once_where_there_is_nothing_else() -> None:
    world = used(ONE, TWIN)
    world.silence(ONE)
    assert hops(world, world.now + STALL_NOTICED) == [ONE, TWIN]


def test_silence_of_a_quiet_link_throws_no_doubt_on_its_twin() -> None:
    world = quiet(ONE, TWIN, ELSEWHERE)
    world.silence(ONE)
    assert hops(world, until=30.0) == [ONE, TWIN]


def test_a_busy_twin_needs_no_doubt() -> None:
    """Its data plane would notice as soon."""
    world = used(ONE, TWIN, ELSEWHERE)
    world.busy(TWIN)
    world.silence(ONE)
    assert hops(world, world.now + 30.0) == [ONE, TWIN]


def test_what_works_is_not_left_because_of_a_doubt() -> None:
    """Not even for a link that is nearer by too little for a change. The other end uses the twin."""
    nearer = replace(ELSEWHERE, delay=NEAR - 0.001)
    world = quiet(ONE, TWIN)
    world.connect(nearer)
    world.run(4.0)
    assert world.ways(0, 1) == [ONE, nearer]
    world.busy(TWIN)
    world.silence(TWIN)
    assert hops(world, until=30.0) == [ONE]


def test_a_twin_on_another_path_is_never_in_doubt() -> None:
    near = replace(ELSEWHERE, delay=NEAR)
    world = used(ONE, near, *RELAY)
    world.silence(ONE)
    assert hops(world, world.now + 30.0) == [ONE, near]


LINKS = st.builds(
    Wiring, st.just(0), st.just(1), st.sampled_from(DELAYS), st.just("udp"), st.sampled_from("xyz")
)


@given(st.lists(LINKS, min_size=2, max_size=6), st.integers(0, 1), st.data())
@SLACK
def test_what_works_is_never_left_and_what_is_lost_goes_where_it_works(
    links: list[Wiring], name: int, data: st.DataObject
) -> None:
    """One path is cut, or only some of its links are."""
    wirings = [replace(link, number=number) for number, link in enumerate(links)]
    world = quiet(*wirings)
    busy = data.draw(st.sets(st.sampled_from(wirings)), "busy")
    for each in busy:
        world.busy(each)
    place = data.draw(st.sampled_from(wirings), "path").place
    on_path = [each for each in wirings if each.place == place]
    silent = data.draw(st.sets(st.sampled_from(on_path), min_size=1), "silent")
    for each in silent:
        world.silence(each, noticed=each in busy)
    works = set(wirings) - silent
    sure = {each for each in works if each.place != place or each in busy}
    first, *then = hops(world, world.now + 30.0, name)
    # Of several that are busy the silence is noticed one after the other, at the same time.
    then = [hop for hop in then if hop in works or hop not in busy]
    if first in works or first not in busy:
        assert then == []
    elif sure:
        assert then[0] in sure and works.issuperset(then)
    elif works:
        assert then[-1] in works


@given(st.integers(2, 8), st.integers(0, 6), st.integers(0, 2**32))
@SLACK
@pytest.mark.slow
def test_whatever_happens_to_twins_nothing_loops_and_all_comes_back(
    nodes: int, extra: int, seed: int
) -> None:
    rng = Random(seed)
    links = [replace(each, kind="udp", place="one") for each in graph(nodes, extra, rng)]
    twins = [replace(each, number=1, place=rng.choice(["one", "other"])) for each in links]
    world = World([*links, *rng.sample(twins, len(twins) // 2 + 1)], seed=seed)
    for _ in range(8):
        wiring, when, noticed = rng.choice(world.wirings), rng.uniform(0.0, 12.0), rng.random() < 0.5
        world.at(when, lambda w=wiring: world.busy(w))  # type: ignore[misc]
        world.at(when + 1.0, lambda w=wiring, n=noticed: world.silence(w, noticed=n))  # type: ignore[misc]
    disturb(world, rng, 12.0)
    assert_no_loops(world, 14.0)
    world.heal()
    assert_no_loops(world, 14.0 + LONGEST_RETURN + 16.0)
    assert world.metrics().keys() == world.shortest_paths().keys()
    assert_backed(world)
