"""A world in memory: routing nodes and links under one virtual clock, the same for the same seed.

    world = World([Wiring(0, 1), Wiring(1, 2, delay=0.02)], seed=7)
    world.run(until=2.0)
    assert world.path(0, 2) == [0, 1, 2]

Each node is a `Speaker` and the forwarding table which its actions made, with the flip to the backup that
the data plane does by itself. A link delivers in order and loses nothing, like the streams that real links
are, until it is cut (both ends hear of it), goes silent (the ends learn of it from the data plane's stall),
or is restored. `loss` and `jitter` make an adversary of it: packets vanish and overtake one another.
Nothing sleeps: `step` jumps to the next event.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Protocol

from zosnet.babel import (
    ORDERED_ZONE,
    Action,
    Disconnect,
    Install,
    Remove,
    RouteStatus,
    Send,
    Speaker,
    Unreachable,
    incarnation,
)
from zosnet.model.keys import PublicKey
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Hello, Ihu, Tlv

STATIC_COST = 10
"""What every link costs beside its round-trip time: Mycelium's figure for TCP over IPv6."""

STALL_NOTICED = 0.1
"""Seconds after which the data plane calls a silent link stalled."""


class Routing(Protocol):
    """What the world needs of a node: `Speaker`'s surface, so that others can play along."""

    def neighbour_up(self, peer: int, static_cost: int, now: float) -> None: ...
    def neighbour_down(self, peer: int, now: float) -> None: ...
    def neighbour_stalled(self, peer: int, now: float) -> None: ...
    def neighbour_resumed(self, peer: int, now: float) -> None: ...
    def neighbour_measured(self, peer: int, rtt: float | None, loss: float | None, now: float) -> None: ...
    def receive(self, peer: int, tlv: Tlv, now: float, rtt: float | None = None) -> None: ...
    def route_needed(self, destination: int, now: float) -> None: ...
    def wake(self, now: float) -> None: ...
    def deadline(self) -> float | None: ...
    def poll(self) -> list[Action]: ...
    def selected(self) -> list[RouteStatus]: ...


Maker = Callable[[RouterId, Prefix, Random], Routing]


def speaker(router_id: RouterId, own: Prefix, rng: Random) -> Routing:
    """The node that the world is made of unless it is told otherwise."""
    return Speaker(router_id, own, rng=rng)


@dataclass(frozen=True, slots=True)
class Wiring:
    """A link that there can be: its ends, and its delay in one direction in seconds."""

    a: int
    b: int
    delay: float = 0.001

    @property
    def cost(self) -> int:
        """What the nodes will find it to cost: its round-trip time in milliseconds, and the static part."""
        return int(1000 * (2 * self.delay) + 1e-9) + STATIC_COST


class Wire:
    """One life of a link. `peer` is the id under which both ends know it; never used again."""

    __slots__ = ("alive", "asked", "busy_until", "held", "peer", "silent", "wiring")

    def __init__(self, peer: int, wiring: Wiring) -> None:
        self.peer = peer
        self.wiring = wiring
        self.alive = True
        self.silent = False
        self.held: list[tuple[int, Tlv]] = []
        self.busy_until: dict[int, float] = {}
        self.asked: dict[int, float] = {}

    def other(self, node: int) -> int:
        """The end that isn't `node`."""
        return self.wiring.b if node == self.wiring.a else self.wiring.a


class WorldNode:
    """A node: its routing, the links it has, and its forwarding table."""

    __slots__ = ("fib", "name", "own", "routing", "sent", "wake_at", "wires")

    def __init__(self, name: int, routing: Routing, own: Prefix) -> None:
        self.name = name
        self.routing = routing
        self.own = own
        self.wires: dict[int, Wire] = {}
        self.fib: dict[Prefix, tuple[int, int | None]] = {}
        self.sent = 0
        self.wake_at: float | None = None


class World:
    """Nodes 0 to n-1, the links between them, and the clock."""

    def __init__(
        self,
        wirings: Iterable[Wiring],
        *,
        seed: int = 0,
        loss: float = 0.0,
        jitter: float = 0.0,
        makers: dict[int, Maker] | None = None,
        link_up: bool = True,
    ) -> None:
        """`makers` replaces the routing of single nodes; with `link_up` all links come up at once, at 0 s."""
        self.now = 0.0
        self.loss = loss
        self.jitter = jitter
        self.wirings = list(wirings)
        self.random = Random(seed)
        self.changed: set[Prefix] = set()
        """Prefixes whose forwarding changed since `forwarding_loops` last looked."""
        self._makers = makers or {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = 0
        self._last_peer = 0
        names = sorted({end for wiring in self.wirings for end in (wiring.a, wiring.b)})
        self.keys = {name: PublicKey(self.random.randbytes(32)) for name in names}
        self.nodes = {name: self._born(name) for name in names}
        self.wires: dict[Wiring, Wire] = {}
        if link_up:
            for wiring in self.wirings:
                self.connect(wiring)

    # time

    def step(self) -> bool:
        """Let the next event happen; False if there is none."""
        if not self._events:
            return False
        self.now, _, event = heappop(self._events)
        event()
        return True

    def steps(self, until: float) -> Iterator[float]:
        """Let everything happen that happens until then, and yield after each event."""
        while self._events and self._events[0][0] <= until:
            self.step()
            yield self.now
        self.now = max(self.now, until)

    def run(self, until: float) -> None:
        """Let everything happen that happens until then."""
        for _ in self.steps(until):
            pass

    def at(self, when: float, event: Callable[[], None]) -> None:
        """Let something of the caller's happen at `when`."""
        self._tie += 1
        heappush(self._events, (when, self._tie, event))

    # what may happen to links and nodes

    def connect(self, wiring: Wiring) -> None:
        """Bring a link up, if it is not."""
        if wiring in self.wires:
            return
        self._last_peer += 1
        wire = self.wires[wiring] = Wire(self._last_peer, wiring)
        for name in (wiring.a, wiring.b):
            node = self.nodes[name]
            node.wires[wire.peer] = wire
            node.routing.neighbour_up(wire.peer, STATIC_COST, self.now)
            self._drive(node)

    def cut(self, wiring: Wiring) -> None:
        """Take a link down, if it is up: both ends hear of it now, and what is on its way is lost."""
        wire = self.wires.pop(wiring, None)
        if wire is None:
            return
        wire.alive = False
        for name in (wiring.a, wiring.b):
            node = self.nodes[name]
            if node.wires.pop(wire.peer, None) is not None:
                node.routing.neighbour_down(wire.peer, self.now)
                self._touch(node, wire.peer)
                self._drive(node)

    def silence(self, wiring: Wiring) -> None:
        """Let a link deliver nothing any more; what is sent waits. The data planes notice after 0.1 s."""
        wire = self.wires.get(wiring)
        if wire is not None and not wire.silent:
            wire.silent = True
            self.at(self.now + STALL_NOTICED, lambda: self._notice(wire))

    def restore(self, wiring: Wiring) -> None:
        """Let a silent link deliver again, first what waited. A link that is down comes up."""
        wire = self.wires.get(wiring)
        if wire is None:
            self.connect(wiring)
        elif wire.silent:
            wire.silent = False
            held, wire.held = wire.held, []
            for sender, tlv in held:
                self._carry(wire, sender, tlv)
            for name in (wiring.a, wiring.b):
                self.nodes[name].routing.neighbour_resumed(wire.peer, self.now)
                self._drive(self.nodes[name])

    def measure(self, wiring: Wiring, rtt: float | None = None, loss: float | None = 0.0) -> None:
        """Let the data planes of both ends find this out about a link; its true round trip by default."""
        wire = self.wires.get(wiring)
        if wire is None or wire.silent:
            return
        for name in (wiring.a, wiring.b):
            found = 2 * wiring.delay if rtt is None else rtt
            self.nodes[name].routing.neighbour_measured(wire.peer, found, loss, self.now)
            self._drive(self.nodes[name])

    def heal(self) -> None:
        """Bring every link up, and let none lose or reorder anything from now on."""
        self.loss = self.jitter = 0.0
        for wiring in self.wirings:
            self.restore(wiring)

    def restart(self, name: int) -> None:
        """Kill a node and start it again with a new router id; its links come up at once."""
        mine = [wiring for wiring in self.wirings if name in (wiring.a, wiring.b) and wiring in self.wires]
        for wiring in mine:
            self.cut(wiring)
        sent = self.nodes[name].sent
        self.changed.update(self.nodes[name].fib)
        self.nodes[name] = self._born(name)
        self.nodes[name].sent = sent
        for wiring in mine:
            self.connect(wiring)

    def need(self, name: int, destination: int) -> None:
        """A packet at node `name` waits for a route to node `destination`."""
        node = self.nodes[name]
        node.routing.route_needed(self.keys[destination].address().__int__(), self.now)
        self._drive(node)

    # what there is to see

    def next_hops(self, name: int, prefix: Prefix) -> list[int]:
        """The nodes to which `name` may forward now: next hop and backup, if their links are up."""
        node = self.nodes[name]
        peers = node.fib.get(prefix, ())
        return [node.wires[peer].other(name) for peer in peers if peer is not None and peer in node.wires]

    def path(self, source: int, destination: int) -> list[int]:
        """The nodes that a packet visits now, both ends included; it ends early where there is no way on.

        A node whose link to the next hop is silent uses its backup. A second visit is a loop, and ends it.
        """
        prefix = self.nodes[destination].own
        path = [source]
        while path[-1] != destination and path.count(path[-1]) == 1:
            following = self._forward(self.nodes[path[-1]], prefix)
            if following is None:
                break
            path.append(following)
        return path

    def forwarding_loops(self, among: set[int] | None = None) -> list[tuple[Prefix, list[int]]]:
        """Loops that packets could take, where every node may use its next hop or its backup.

        Looks at prefixes whose forwarding changed since the last call; `among` restricts it to some nodes.
        """
        names = list(self.nodes if among is None else among)
        changed, self.changed = self.changed, set()
        found = []
        for prefix in changed:
            edges = {
                name: [hop for hop in self.next_hops(name, prefix) if among is None or hop in among]
                for name in names
                if self.nodes[name].own != prefix
            }
            loop = _cycle(edges)
            if loop:
                found.append((prefix, loop))
        return found

    def metrics(self) -> dict[tuple[int, int], int]:
        """(node, destination) → metric, for all routes in use. Those to forgotten nodes are left out."""
        by_prefix = {node.own: name for name, node in self.nodes.items()}
        return {
            (name, by_prefix[route.prefix]): route.metric
            for name, node in self.nodes.items()
            for route in node.routing.selected()
            if route.prefix in by_prefix
        }

    def shortest_paths(self) -> dict[tuple[int, int], int]:
        """(node, destination) → the metric of the best path over links that are up, silent ones excepted."""
        links: dict[int, list[tuple[int, int]]] = {name: [] for name in self.nodes}
        for wiring, wire in self.wires.items():
            if not wire.silent:
                links[wiring.a].append((wiring.b, wiring.cost))
                links[wiring.b].append((wiring.a, wiring.cost))
        return {
            (name, target): metric
            for target in self.nodes
            for name, metric in _distances(links, target).items()
            if name != target
        }

    # inside

    def _born(self, name: int) -> WorldNode:
        key = self.keys[name]
        random = incarnation(int(self.now * 1000), self.random.randbytes(2))
        maker = self._makers.get(name)
        router_id = RouterId.of(key, 0 if maker else ORDERED_ZONE, random)
        routing = (maker or speaker)(router_id, key.subnet(), Random(self.random.random()))
        return WorldNode(name, routing, key.subnet())

    def _drive(self, node: WorldNode) -> None:
        for action in node.routing.poll():
            self._act(node, action)
        deadline = node.routing.deadline()
        if deadline is not None and deadline != node.wake_at:
            node.wake_at = deadline
            self.at(max(deadline, self.now), lambda: self._wake(node, deadline))

    def _wake(self, node: WorldNode, deadline: float) -> None:
        if node.wake_at == deadline and self.nodes[node.name] is node:
            node.wake_at = None
            node.routing.wake(self.now)
            self._drive(node)

    def _act(self, node: WorldNode, action: Action) -> None:
        match action:
            case Send(peer, tlv):
                self._send(node, peer, tlv)
            case Install(prefix, _, next_hop, backup, _):
                node.fib[prefix] = (next_hop, backup)
                self.changed.add(prefix)
            case Unreachable(prefix, _) | Remove(prefix):
                node.fib.pop(prefix, None)
            case Disconnect(peer, _):
                wire = node.wires.get(peer)
                if wire is not None:
                    self.cut(wire.wiring)

    def _send(self, node: WorldNode, peer: int, tlv: Tlv) -> None:
        wire = node.wires.get(peer)
        if wire is None:
            return
        node.sent += 1
        if isinstance(tlv, Hello):
            wire.asked[node.name] = self.now
        if wire.silent:
            wire.held.append((node.name, tlv))
        else:
            self._carry(wire, node.name, tlv)

    def _carry(self, wire: Wire, sender: int, tlv: Tlv) -> None:
        arrival = self.now + wire.wiring.delay
        if self.loss and self.random.random() < self.loss:
            return
        if self.jitter:
            arrival += self.random.random() * self.jitter
        else:
            arrival = wire.busy_until[sender] = max(arrival, wire.busy_until.get(sender, 0.0))
        self.at(arrival, lambda: self._deliver(wire, sender, tlv))

    def _deliver(self, wire: Wire, sender: int, tlv: Tlv) -> None:
        if not wire.alive:
            return
        if wire.silent:
            wire.held.append((sender, tlv))
            return
        node = self.nodes[wire.other(sender)]
        rtt = None
        if isinstance(tlv, Ihu):
            rtt = round(self.now - wire.asked.get(node.name, self.now), 6)
        node.routing.receive(wire.peer, tlv, self.now, rtt)
        self._drive(node)

    def _notice(self, wire: Wire) -> None:
        if wire.alive and wire.silent:
            for name in (wire.wiring.a, wire.wiring.b):
                self.nodes[name].routing.neighbour_stalled(wire.peer, self.now)
                self._drive(self.nodes[name])

    def _touch(self, node: WorldNode, peer: int) -> None:
        """Forwarding changed for what went through a link: flips happen by themselves."""
        self.changed.update(prefix for prefix, hops in node.fib.items() if peer in hops)

    def _forward(self, node: WorldNode, prefix: Prefix) -> int | None:
        for peer in node.fib.get(prefix, ()):
            wire = node.wires.get(peer) if peer is not None else None
            if wire is not None and not wire.silent:
                return wire.other(node.name)
        return None


def _cycle(edges: dict[int, list[int]]) -> list[int]:
    """Some cycle of the graph, or an empty list."""
    done: set[int] = set()
    for start in edges:
        trail: list[int] = []
        on_trail: set[int] = set()
        stack: list[tuple[int, bool]] = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                trail.pop()
                on_trail.discard(name)
                done.add(name)
            elif name in on_trail:
                return [*trail[trail.index(name) :], name]
            elif name not in done:
                trail.append(name)
                on_trail.add(name)
                stack.append((name, True))
                stack.extend((hop, False) for hop in edges.get(name, ()))
    return []


def _distances(links: dict[int, list[tuple[int, int]]], target: int) -> dict[int, int]:
    """Dijkstra."""
    best = {target: 0}
    heap = [(0, target)]
    while heap:
        metric, name = heappop(heap)
        if metric > best[name]:
            continue
        for neighbour, cost in links[name]:
            if metric + cost < best.get(neighbour, metric + cost + 1):
                best[neighbour] = metric + cost
                heappush(heap, (metric + cost, neighbour))
    return best
