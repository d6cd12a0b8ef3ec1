"""The soak: a grid under random damage for minutes, and then the count of what it cost.

    python -m zosnet.lab.soak [--minutes 10] [--seed N]

Five nodes in a ring with a chord, one of them with a thousand foreign routes. Links are cut one way or both,
lose their carrier, lose packets; nodes are told to restart or killed; strangers connect and speak nonsense, a
thousand times and more. Two nodes are never restarted: on them, growth of memory, descriptors, threads and
tasks would show. At the end all is healed, and every node must reach every other, have every route, and have
logged no traceback. The last line is `soak: OK`, the status 0.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.table import Table

from zosnet.lab.errors import LabError
from zosnet.lab.feeder import feed
from zosnet.lab.garbage import throw, throw_datagrams
from zosnet.lab.grid import Grid
from zosnet.lab.link import Link
from zosnet.lab.node import Node, Wishes
from zosnet.lab.programs import api
from zosnet.lab.two_paths import meet, start
from zosnet.lab.wait import until
from zosnet.model.errors import HostError, UsageError, ZosnetError

NAMES = "abcde"
LASTING = "ac"
"""The nodes that are never restarted: leaks are looked for on them."""
FOREIGN_ROUTES = 1000
GARBAGE = 1000
"""Connections from strangers, at least."""
BURST = 40
CROWD = 900
"""Strangers that come before the count begins. They forge packets to thousands of addresses, which fills
every bounded table and queue once; the allocators keep that memory, which is no leak."""
GROWTH_MB = 20.0
"""More than the allocators' noise over ten minutes; a leak of 20 KB a connection would show."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a node holds at one moment."""

    memory_mb: float
    descriptors: int
    threads: int
    tasks: float

    @classmethod
    def of(cls, node: Node) -> Cost:
        tasks = sum(value for name, value in api(node).metrics().items() if name.startswith("zosnet_tasks"))
        return cls(node.resident_mb(), node.descriptors(), node.threads(), tasks)

    def grown(self, later: Cost) -> list[str]:
        """What has grown by more than noise, in words."""
        found = []
        if later.memory_mb > self.memory_mb + GROWTH_MB:
            found.append(f"memory from {self.memory_mb:.0f} to {later.memory_mb:.0f} MB")
        for what, slack in (("descriptors", 4), ("threads", 2), ("tasks", 4)):
            before, after = getattr(self, what), getattr(later, what)
            if after > before + slack:
                found.append(f"{what} from {before:g} to {after:g}")
        return found


class Soak:
    """One run. `say` gets a line for each thing that is done to the grid."""

    def __init__(self, grid: Grid, rng: random.Random, say: Callable[[str], None]) -> None:
        self._grid = grid
        self._rng = rng
        self._say = say
        self._repairs: list[tuple[float, Callable[[], object]]] = []
        self._broken: set[Link | Node] = set()
        self.done: Counter[str] = Counter()
        self.garbage = 0
        for name in NAMES:
            grid.host(name)
        pairs = [*zip(NAMES, NAMES[1:] + NAMES[0], strict=True), ("a", "c")]
        dials: dict[str, list[str]] = {name: [] for name in NAMES}
        for number, (one, other) in enumerate(pairs):
            proto, family = ("quic", 6) if number % 3 == 2 else ("tcp", 4)
            dials[one].append(grid.link(one, other).url(other, proto, family=6 if family == 6 else 4))
        self.nodes = [grid.node(name, wishes=Wishes(peers=dials[name])) for name in NAMES]
        self.lasting = [grid.nodes[name] for name in LASTING]

    def begin(self) -> None:
        """Bring it up, and let every table fill once."""
        start(self.nodes)
        feed(self._grid["c"], FOREIGN_ROUTES)
        self.wait_routes()
        self._throw(CROWD)
        self.garbage = 0
        self.wait_routes()

    def hurt(self, seconds: float) -> None:
        """Do damage at random moments, and repair it at others, for so long."""
        ends = time.monotonic() + seconds
        actions = (self._cut, self._cut, self._unplug, self._lose, self._restart, self._kill, self._burst)
        following = time.monotonic()
        while (now := time.monotonic()) < ends:
            for due in [each for each in self._repairs if each[0] <= now]:
                self._repairs.remove(due)
                due[1]()
            if now >= following:
                self._rng.choice(actions)(now)
                following = now + self._rng.expovariate(0.8)
            time.sleep(0.02)

    def heal(self) -> None:
        """Repair everything, and have the strangers that are still owed."""
        for _, repair in sorted(self._repairs, key=lambda each: each[0]):
            repair()
        self._repairs.clear()
        while self.garbage < GARBAGE:
            self._throw(BURST)

    def wait_routes(self) -> None:
        """Every node pings every other, and has every foreign route. Raises LabError when not in a minute."""
        meet(self.nodes, within=60.0)
        wanted = FOREIGN_ROUTES + len(NAMES) - 1
        for node in self.nodes:
            until(f"{node} has {wanted} routes", partial(has_routes, node, wanted), within=60.0, every=0.2)

    def _cut(self, now: float) -> None:
        if (link := self._whole_link()) is not None:
            towards = self._rng.choice([None, link.ends[0].host, link.ends[1].host])
            link.cut(towards)
            self._later(now, link, link.heal, f"cut {link}{f' towards {towards.name}' if towards else ''}")

    def _unplug(self, now: float) -> None:
        if (link := self._whole_link()) is not None:
            link.carrier(False)
            self._later(now, link, partial(link.carrier, True), f"unplug {link}")

    def _lose(self, now: float) -> None:
        if (link := self._whole_link()) is not None:
            link.lose(0.05)
            self._later(now, link, partial(link.lose, 0.0), f"lose a twentieth on {link}")

    def _restart(self, now: float) -> None:
        if (node := self._whole_node()) is not None:
            if status := node.stop():
                raise LabError(f"{node} ended with status {status}")
            self._later(now, node, partial(node.start, wait=False), f"stop {node}")

    def _kill(self, now: float) -> None:
        if (node := self._whole_node()) is not None:
            node.kill()
            self._later(now, node, partial(node.start, wait=False), f"kill {node}")

    def _burst(self, now: float) -> None:
        self._throw(BURST)
        self._say(f"{BURST} strangers, {self.garbage} in all")

    def _throw(self, count: int) -> None:
        """Strangers inside the two lasting hosts: no link's damage keeps them away."""
        for node in self.lasting:
            throw(node.host, "127.0.0.1", count // len(self.lasting), self._rng)
            throw_datagrams(node.host, "127.0.0.1", count // len(self.lasting), self._rng)
        self.garbage += count

    def _whole_link(self) -> Link | None:
        whole = [link for link in self._grid.links if link not in self._broken]
        return self._rng.choice(whole) if whole else None

    def _whole_node(self) -> Node | None:
        whole = [node for node in self.nodes if node not in {*self._broken, *self.lasting}]
        return self._rng.choice(whole) if whole else None

    def _later(self, now: float, what: Link | Node, repair: Callable[[], object], said: str) -> None:
        """Repair `what` in a while, and leave it alone until then."""
        length = self._rng.uniform(0.3, 8.0)
        self._broken.add(what)
        self.done[said.split(maxsplit=1)[0]] += 1
        self._say(f"{said} for {length:.1f} s")

        def mend() -> None:
            repair()
            self._broken.discard(what)
            if isinstance(what, Node):
                what.wait_ready()

        self._repairs.append((now + length, mend))


def run(minutes: float, seed: int, console: Console) -> None:
    """The whole soak. Raises ZosnetError for whatever it finds."""
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f} s  {text}")

    with Grid() as grid:
        soak = Soak(grid, random.Random(seed), say)
        say(f"{len(NAMES)} nodes, {len(grid.links)} links, seed {seed}")
        soak.begin()
        soak.hurt(minutes * 60 * 0.2)
        # Tables and allocators have met everything once by now; from here on nothing may grow.
        before = {node: Cost.of(node) for node in soak.lasting}
        say("warm")
        soak.hurt(minutes * 60 * 0.8)
        soak.heal()
        say("healed; waiting for every route")
        soak.wait_routes()
        after = {node: settled(node, before[node]) for node in soak.lasting}
        show(console, soak, before, after)
        for node in soak.lasting:
            if grown := before[node].grown(after[node]):
                raise LabError(f"{node} has grown: {'; '.join(grown)}")
        for node in soak.nodes:
            if status := node.stop():
                raise LabError(f"{node} ended with status {status}")
        grid.check_logs()


def has_routes(node: Node, wanted: int) -> bool:
    """Whether it has that many usable routes."""
    selected = api(node).get("/v1/routes")["selected"]
    return sum(route["metric"] is not None for route in selected) >= wanted


def settled(node: Node, before: Cost) -> Cost:
    """What the node holds once the last strangers are forgotten; what it holds after a minute if it isn't."""
    try:
        until(f"{node} is as before", lambda: not before.grown(Cost.of(node)), within=60.0, every=0.5)
    except LabError:
        pass
    return Cost.of(node)


def show(console: Console, soak: Soak, before: dict[Node, Cost], after: dict[Node, Cost]) -> None:
    table = Table("node", "", "memory MB", "descriptors", "threads", "tasks")
    for node in soak.lasting:
        for when, cost in (("warm", before[node]), ("at the end", after[node])):
            facts = (f"{cost.memory_mb:.1f}", str(cost.descriptors), str(cost.threads), f"{cost.tasks:g}")
            table.add_row(node.name, when, *facts)
    console.print(table)
    done = ", ".join(f"{count} × {what}" for what, count in sorted(soak.done.items()))
    console.print(f"{done}, {soak.garbage} × strangers")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m zosnet.lab.soak", description="Minutes of damage. Needs root."
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to do damage (10)")
    parser.add_argument("--seed", type=int, default=None, help="the same seed does the same damage")
    chosen = parser.parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    seed = random.randrange(1 << 32) if chosen.seed is None else chosen.seed
    try:
        if chosen.minutes <= 0:
            raise UsageError("--minutes must be more than 0")
        run(chosen.minutes, seed, console)
    except ZosnetError as error:
        for text in (*getattr(error, "__notes__", ()), f"seed {seed}", f"soak: FAILED: {error}"):
            console.print(text, markup=False, soft_wrap=True)
        return {UsageError: 2, HostError: 3}.get(type(error), 1)
    console.print("soak: OK")
    return 0


if __name__ == "__main__":
    sys.exit(main())
