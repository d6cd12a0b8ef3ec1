"""What routing costs on one core: `python -m bench.routing [--neighbours N] [--routes N] [--world NODES]`.

Four figures, each with the target it is held against: Updates a second from packet to packet (decoded,
decided, and the resulting Sends encoded), the memory of that state, the time from a lost neighbour to all
its Installs, and the convergence of a world of many nodes (virtual time, messages and processor time per
node).
"""

import argparse
import sys
import time
import tracemalloc
from random import Random

from zosnet.babel import Action, Install, Send, Speaker, incarnation
from zosnet.babel.source import ORDERED_ZONE
from zosnet.lab.wiring import Wiring
from zosnet.lab.world import World
from zosnet.model.keys import PublicKey
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Hello, Ihu, Tlv, Update, decode_control, encode_control

BATCH = 256
"""Packets that are taken in before the next `poll`, as the service does."""

RANDOM = Random(8966)


def identities(count: int) -> list[tuple[RouterId, Prefix]]:
    """Nodes that a network may have."""
    keys = [PublicKey(RANDOM.randbytes(32)) for _ in range(count)]
    return [(RouterId.of(key, ORDERED_ZONE, incarnation(1, bytes(2))), key.subnet()) for key in keys]


class Driver:
    """What the service does around a Speaker: decode what comes, encode what goes, an Update once for all."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self.now = 0.0
        self.sent = 0
        self.installs = 0
        self.longest_slice = 0.0

    def take(self, peer: int, packets: list[bytes]) -> None:
        """Feed packets of one neighbour, in batches."""
        for start in range(0, len(packets), BATCH):
            for packet in packets[start : start + BATCH]:
                tlv = decode_control(packet)
                assert tlv is not None
                self.speaker.receive(peer, tlv, self.now)
            self.drain()

    def drain(self) -> None:
        """Carry out everything that is pending."""
        self.speaker.wake(self.now)
        while (deadline := self.speaker.deadline()) is not None and deadline <= self.now:
            begun = time.process_time()
            self.carry_out(self.speaker.poll())
            self.longest_slice = max(self.longest_slice, time.process_time() - begun)

    def carry_out(self, actions: list[Action]) -> None:
        """Encode the Sends, count the Installs."""
        last: Tlv | None = None
        for action in actions:
            if isinstance(action, Send):
                if action.tlv is not last:
                    last = action.tlv
                    encode_control(last)
                self.sent += 1
            elif isinstance(action, Install):
                self.installs += 1


def fresh(neighbours: int) -> Driver:
    """A speaker with links up and measured."""
    me = identities(1)[0]
    driver = Driver(Speaker(me[0], me[1], rng=Random(1)))
    for peer in range(1, neighbours + 1):
        driver.speaker.neighbour_up(peer, 10, 0.0)
    driver.drain()
    for peer in range(1, neighbours + 1):
        driver.speaker.receive(peer, Hello(0), 0.0)
        driver.speaker.receive(peer, Ihu(10), 0.0, 0.001 * peer)
    driver.drain()
    return driver


def packets_of(nodes: list[tuple[RouterId, Prefix]], peer: int) -> list[bytes]:
    """What one neighbour announces."""
    return [
        encode_control(Update(prefix, router_id, 0, 20 + (17 * index + 31 * peer) % 200))
        for index, (router_id, prefix) in enumerate(nodes)
    ]


def throughput(neighbours: int, routes: int) -> None:
    """Updates a second: new routes first, then the same again as a refresh; and losing a neighbour."""
    nodes = identities(routes)
    packets = {peer: packets_of(nodes, peer) for peer in range(1, neighbours + 1)}
    driver = fresh(neighbours)
    for name, target in (("new", 20_000), ("refreshed", 20_000)):
        driver.now += 10.0 if name == "refreshed" else 0.0
        driver.sent = 0
        begun = time.process_time()
        for peer, batch in packets.items():
            driver.take(peer, batch)
        took = time.process_time() - begun
        total = neighbours * routes
        print(
            f"updates, {name}: {total / took:,.0f}/s (target {target:,}), "
            f"{driver.sent / total:.2f} sent per update, "
            f"longest slice {1000 * driver.longest_slice:.0f} ms"
        )
    lose(driver, neighbours)


def lose(driver: Driver, neighbours: int) -> None:
    """Lose the neighbour through which most is routed."""
    counts = dict.fromkeys(range(1, neighbours + 1), 0)
    for route in driver.speaker.selected():
        counts[route.next_hop] += 1
    peer = max(counts, key=lambda candidate: counts[candidate])
    driver.installs = driver.sent = 0
    begun = time.process_time()
    driver.speaker.neighbour_down(peer, driver.now)
    first = time.process_time() - begun
    last = longest = 0.0
    while (deadline := driver.speaker.deadline()) is not None and deadline <= driver.now:
        slice_begun = time.process_time()
        before = driver.installs
        driver.carry_out(driver.speaker.poll())
        longest = max(longest, time.process_time() - slice_begun)
        if driver.installs != before:
            last = time.process_time() - begun
    print(
        f"neighbour lost ({counts[peer]:,} routes through it): "
        f"{driver.installs:,} Installs in {1000 * last:.0f} ms (target 150), "
        f"longest step {1000 * max(first, longest):.0f} ms (target 50), "
        f"{driver.sent:,} Updates done after {1000 * (time.process_time() - begun):.0f} ms"
    )


def uniform_loss(routes: int) -> None:
    """The same where every route goes through the neighbour that is lost."""
    nodes = identities(routes)
    driver = fresh(3)
    for peer, metric in ((1, 20), (2, 25), (3, 26)):
        driver.take(peer, [encode_control(Update(prefix, rid, 0, metric)) for rid, prefix in nodes])
    lose(driver, 3)


def memory(neighbours: int, routes: int) -> None:
    """Memory of the state: what tracemalloc sees while it is built."""
    nodes = identities(routes)
    packets = {peer: packets_of(nodes, peer) for peer in range(1, neighbours + 1)}
    del nodes
    driver = fresh(neighbours)
    tracemalloc.start()
    for peer, batch in packets.items():
        driver.take(peer, batch)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    total = neighbours * routes
    print(f"memory: {held / 1e6:.0f} MB for {total:,} routes (target 100), peak {peak / 1e6:.0f} MB")


def world(count: int) -> None:
    """A random network: a tree with as many links again, all coming up at once."""
    random = Random(9)
    delays = (0.001, 0.005, 0.02)
    tree = {(random.randrange(max(0, i - 40), i), i) for i in range(1, count)}
    chords = {tuple(sorted(random.sample(range(count), 2))) for _ in range(count)}
    links = sorted(tree | {(a, b) for a, b in chords})
    begun = time.process_time()
    net = World([Wiring(a, b, random.choice(delays)) for a, b in links], seed=3)
    complete = 0.0
    wanted = count * (count - 1)
    for until in [tick / 10 for tick in range(1, 51)]:
        net.run(until)
        if not complete and sum(len(node.fib) for node in net.nodes.values()) == wanted:
            complete = until
    took = time.process_time() - begun
    sent = sum(node.sent for node in net.nodes.values())
    best, found = net.shortest_paths(), net.metrics()
    stretch = sum(found.values()) / sum(best.values())
    print(
        f"world of {count} nodes, {len(links)} links: all routes after {complete:.1f} s of virtual time, "
        f"{sent / count:,.0f} messages and {1000 * took / count:.0f} ms of processor time per node "
        f"({sent / wanted:.1f} messages per route), metrics {stretch:.3f} of the shortest"
    )


def main() -> int:
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neighbours", type=int, default=10)
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument(
        "--world", type=int, default=300, help="nodes; 0 leaves it out, 1000 take 4 GB and a while"
    )
    options = parser.parse_args()
    throughput(options.neighbours, options.routes)
    uniform_loss(options.routes)
    memory(options.neighbours, options.routes)
    if options.world:
        world(options.world)
    return 0


if __name__ == "__main__":
    sys.exit(main())
