"""Random worlds, what may happen to them, and what holds all the while."""

from random import Random

from hypothesis import HealthCheck, settings

from zosnet.babel import Speaker
from zosnet.babel.selection import backup_for
from zosnet.babel.siblings import share_path
from zosnet.lab.wiring import Wiring
from zosnet.lab.world import World

DELAYS = (0.0005, 0.002, 0.01, 0.04)
SLACK = settings(
    deadline=None, max_examples=30, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def graph(nodes: int, extra: int, rng: Random) -> list[Wiring]:
    """A connected graph: a tree, and `extra` links across it."""
    ends = {(rng.randrange(i), i) for i in range(1, nodes)}
    for _ in range(extra):
        a, b = sorted(rng.sample(range(nodes), 2))
        ends.add((a, b))
    return [Wiring(a, b, rng.choice(DELAYS)) for a, b in sorted(ends)]


def disturb(world: World, rng: Random, until: float, *, restarts: bool = True) -> None:
    """Plan a bad time: cuts, silences, restorations, restarts and packets that need routes."""
    for _ in range(rng.randrange(2, 14)):
        when = rng.uniform(0.05, until)
        wiring = rng.choice(world.wirings)
        what = rng.choice(["cut", "silence", "restore", "restore", "restart", "need"])
        if what == "cut":
            world.at(when, lambda w=wiring: world.cut(w))  # type: ignore[misc]
        elif what == "silence":
            world.at(when, lambda w=wiring: world.silence(w))  # type: ignore[misc]
        elif what == "restore":
            world.at(when, lambda w=wiring: world.restore(w))  # type: ignore[misc]
        elif what == "need":
            world.at(when, lambda w=wiring: world.need(w.a, w.b))  # type: ignore[misc]
        elif restarts:
            world.at(when, lambda w=wiring: world.restart(w.b))  # type: ignore[misc]


def assert_no_loops(world: World, until: float, among: set[int] | None = None) -> None:
    for now in world.steps(until):
        loops = world.forwarding_loops(among)
        assert loops == [], f"at {now}"


def assert_backed(world: World) -> None:
    """Wherever a second route is feasible, one is installed as the backup: after flips and returns, too.

    It is on another path wherever that can be.
    """
    for node in world.nodes.values():
        speaker = node.routing
        assert isinstance(speaker, Speaker) and not speaker.is_deciding
        inner = speaker._node
        for entry in inner.table.entries.values():
            if entry.selected is None:
                continue
            sources = inner.sources.of(entry.prefix)
            expected = backup_for(entry.selected, sources, inner.latest_start)
            assert entry.installed is not None and node.fib[entry.prefix] == entry.installed[:2]
            where = node.name, entry.prefix
            assert (entry.installed[1] is None) == (expected is None), where
            if expected is not None and entry.backup is not None:
                one, backup = entry.selected.neighbour, entry.backup.neighbour
                assert share_path(one, backup) == share_path(one, expected.neighbour), where
