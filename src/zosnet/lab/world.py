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
from heapq import heappop, heappush
from random import Random

from zosnet.babel import ORDERED_ZONE, Action, Disconnect, Install, Remove, Send, Unreachable, incarnation
from zosnet.lab.graph import cycle, distances
from zosnet.lab.wiring import STATIC_COST, Wire, Wiring
from zosnet.lab.world_node import Maker, WorldNode, speaker
from zosnet.model.keys import PublicKey
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Hello, Ihu, Tlv

__all__ = ["World"]

STALL_NOTICED = 0.1
"""Seconds after which the data plane calls a silent link stalled."""


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
            node.routing.neighbour_up(wire.peer, STATIC_COST, self.now, kind=wiring.kind, place=wiring.place)
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
                # Flips happen by themselves: forwarding changed though no action said so.
                self.changed.update(node.forwarded_over(wire.peer))
                self._drive(node)

    def silence(self, wiring: Wiring, *, noticed: bool = True) -> None:
        """Let a link deliver nothing any more; what is sent waits. Data planes notice after 0.1 s."""
        wire = self.wires.get(wiring)
        if wire is not None and not wire.silent:
            wire.silent = True
            if noticed:
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

    def busy(self, wiring: Wiring, busy: bool = True) -> None:
        """Let traffic flow over a link, or no longer. Silence is noticed then, if it wasn't before."""
        wire = self.wires.get(wiring)
        if wire is None:
            return
        for name in (wiring.a, wiring.b):
            self.nodes[name].routing.neighbour_busy(wire.peer, busy, self.now)
            self._drive(self.nodes[name])
        if busy and wire.silent:
            self.at(self.now + STALL_NOTICED, lambda: self._notice(wire))

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
        return self.nodes[name].next_hops(prefix)

    def ways(self, name: int, destination: int) -> list[Wiring]:
        """The links over which `name` may forward now to `destination`, the backup last, if they are up."""
        return [wire.wiring for wire in self.nodes[name].ways(self.nodes[destination].own)]

    def path(self, source: int, destination: int) -> list[int]:
        """The nodes that a packet visits now, both ends included; it ends early where there is no way on.

        A node whose link to the next hop is silent uses its backup. A second visit is a loop, and ends it.
        """
        prefix = self.nodes[destination].own
        path = [source]
        while path[-1] != destination and path.count(path[-1]) == 1:
            following = self.nodes[path[-1]].next_hop(prefix)
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
            loop = cycle(edges)
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
            for name, metric in distances(links, target).items()
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
