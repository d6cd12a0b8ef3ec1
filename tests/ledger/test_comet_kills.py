"""Kill -9 of an operator's processes at every step and at random: nothing final is lost, and nothing forks.

CI takes each kind once; `make soak` sets ZOSNET_LEDGER_KILLS. ZOSNET_LEDGER_SEED draws other ones.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.ledger.comet import PATIENCE_S, Cluster, Node, now_ms, running

from zosnet.ledger.comet.signed import trouble_of
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.replay import replay
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import ClaimDomain, Stamp
from zosnet.ledger.wallet import Wallet
from zosnet.model.errors import ZosnetError

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("ZOSNET_LEDGER_KILLS", "0"))
SEED = int(os.environ.get("ZOSNET_LEDGER_SEED", "1"))

#: Once in the life of a ledger, and once in that of a process: a second time never comes.
FIRST = ["before InitChain", "after InitChain"]
AT_START = ["before Info", "after Info"]
STEPS = ["CheckTx", "PrepareProposal", "ProcessProposal", "FinalizeBlock", "Commit"]
OFTEN = [
    *(f"{when} {step}" for step in STEPS for when in ("before", "after")),
    "before-write", "between-writes", "before-commit", "after-commit",
]  # fmt: skip
LATER = AT_START + OFTEN


def some_point(draw: random.Random) -> tuple[str, int]:
    """A point of the application's way, and the how many-th time that it is passed."""
    point = draw.choice(LATER)
    return point, 1 if point in AT_START else draw.randrange(1, 9)


def push(cluster: Cluster, node: Node, number: int) -> list[Receipt]:
    """An account of its own and a claim of it, so that nothing hangs on what became of those before."""
    wallet = Wallet(cluster.genesis, [Signer(number.to_bytes(32))])
    opening = wallet.transaction(wallet.opening(Stamp(wallet.chain, 0)), now_ms())
    wallet.done()
    return node.way.submit([opening.raw, wallet.transaction(ClaimDomain("d.example"), now_ms()).raw])


def headers_of(node: Node, height: int) -> list[SignedHeader]:
    """All up to `height`. A node answers with a thousand at a time."""
    found: list[SignedHeader] = []
    while len(found) < height:
        more = node.way.headers(len(found) + 1, height - len(found))
        assert more, f"no header after {len(found)}"
        found += more
    return found


def check(cluster: Cluster, final: list[Receipt]) -> None:
    """Every node has every final transaction where its receipt said, and the same signed headers."""
    height = cluster.agree()
    first = [each.header for each in headers_of(cluster.nodes[0], height)]
    assert len(first) == height
    for node in cluster.nodes:
        headers = headers_of(node, height)
        # The votes that a node has seen differ, what they are for doesn't.
        assert [each.header.hash for each in headers] == [each.hash for each in first]
        assert all(trouble_of(cluster.genesis, each) is None for each in headers)
        for receipt in final:
            assert receipt.is_done and node.way.find(receipt.id) == receipt.height
    blocks = [cluster.nodes[-1].way.block(each) for each in range(1, height + 1)]
    assert len(list(replay(cluster.genesis, [(b.header, b.transactions) for b in blocks if b]))) == height


# One operator alone.


def test_killed_at_every_step_nothing_final_is_lost_and_nothing_forks(tmp_path: Path) -> None:
    alone = Cluster(tmp_path, 1)
    (node,) = alone.nodes
    draw = random.Random(SEED)
    more = [some_point(draw) for _ in range(KILLS)]
    final: list[Receipt] = []
    numbers = itertools.count(1)
    for point, count in [*((each, 1) for each in FIRST + LATER), *more]:
        node.start("--kill", point, str(count))
        assert node.process is not None
        ends = time.monotonic() + PATIENCE_S
        while node.process.poll() is None:
            assert time.monotonic() < ends, (point, count, node.log())
            try:
                final += push(alone, node, next(numbers))
            except ZosnetError:
                time.sleep(0.02)  # it is not there yet, or died while we waited: nobody was told of anything
        assert node.died() == -signal.SIGKILL, (point, node.log())
    node.start()
    try:
        final += alone.wait("it is back", lambda: push(alone, node, next(numbers)))
        check(alone, final)
    finally:
        node.stop()


# Four operators, whose clients never stop.


@contextmanager
def pressure(cluster: Cluster) -> Iterator[list[Receipt]]:
    """A client at each node that submits without end; what is final."""
    final: list[Receipt] = []
    numbers, is_over = itertools.count(1), threading.Event()

    def submit(node: Node) -> None:
        while not is_over.wait(0.05):
            try:
                receipts = push(cluster, node, next(numbers))
            except ZosnetError:
                continue  # it is dead, or died meanwhile, or no block came: nobody was told of anything
            final.extend(each for each in receipts if each.is_done)

    clients = [threading.Thread(target=submit, args=[node]) for node in cluster.nodes]
    for client in clients:
        client.start()
    try:
        yield final
    finally:
        is_over.set()
        for client in clients:
            client.join(PATIENCE_S)


class Killer:
    """Ways to kill some of four, and to bring them back."""

    def __init__(self, cluster: Cluster, final: list[Receipt], draw: random.Random) -> None:
        self._cluster, self._final, self._draw = cluster, final, draw
        self.ways: list[Callable[[], str]] = [self.one, self.two, self.at_a_step, self.engine]

    def round(self, number: int) -> None:
        """Kill in one of the ways; all are back, of one mind, and go on after."""
        what = self.ways[number % len(self.ways)]()
        self._cluster.wait(f"all agree after {what}", self._cluster.agree)
        before = len(self._final)
        self._cluster.wait(f"they go on after {what}", lambda: len(self._final) > before)

    def one(self) -> str:
        """A validator: the others go on."""
        dead = self._draw.choice(self._cluster.nodes)
        dead.kill()
        before = len(self._final)
        self._cluster.wait("the others go on", lambda: len(self._final) >= before + 4)
        dead.start()
        return f"{dead.directory.name} killed"

    def two(self) -> str:
        """Two validators: no more than what was decided already comes until one is back."""
        dead = self._draw.sample(self._cluster.nodes, 2)
        for node in dead:
            node.kill()
        alive = [node for node in self._cluster.nodes if node not in dead]
        time.sleep(0.3)  # what was decided already is kept
        height = max(node.height for node in alive)
        time.sleep(0.7)  # where clients submit without end blocks come every 0.1 s, if they may
        assert all(node.height <= height + 1 for node in alive)
        for node in dead:
            node.start()
        return " and ".join(f"{node.directory.name} killed" for node in dead)

    def at_a_step(self) -> str:
        """An application, at a point of its way."""
        dead = self._draw.choice(self._cluster.nodes)
        point, count = some_point(self._draw)
        dead.kill()
        dead.start("--kill", point, str(count))
        assert dead.died() == -signal.SIGKILL, (point, count, dead.log())
        dead.start()
        return f"{dead.directory.name} killed {point}, time {count}"

    def engine(self) -> str:
        """CometBFT alone: its application starts it anew."""
        node = self._draw.choice(self._cluster.nodes)
        assert node.process is not None
        children = Path(f"/proc/{node.process.pid}/task").glob("*/children")
        (pid,) = [int(pid) for each in children for pid in each.read_text().split()]
        os.kill(pid, signal.SIGKILL)
        self._cluster.wait("it ended", lambda: not Path(f"/proc/{pid}").exists())
        return f"{node.directory.name}'s CometBFT killed"


def test_some_of_four_are_killed_while_clients_submit(tmp_path: Path) -> None:
    draw = random.Random(SEED)
    with running(tmp_path, 4) as four:
        with pressure(four) as final:
            killer = Killer(four, final, draw)
            for number in range(max(KILLS, len(killer.ways))):
                time.sleep(draw.random())
                killer.round(number)
        check(four, final)
