"""A node of a world in memory: its routing, the links it has, and the forwarding table under it.

The table is what the data plane would have: it does what the routing says, and flips to the backup by itself
where the link to the next hop is silent. It refuses to know time and delivery, which are the world's.
"""

from collections.abc import Callable
from random import Random
from typing import Protocol

from zosnet.babel import Action, RouteStatus, Speaker
from zosnet.lab.wiring import Wire
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Tlv

__all__ = ["Maker", "Routing", "WorldNode", "speaker"]


class Routing(Protocol):
    """What the world needs of a node: `Speaker`'s surface, so that others can play along."""

    def neighbour_up(
        self, peer: int, static_cost: int, now: float, *, kind: str = "", place: str = ""
    ) -> None: ...
    def neighbour_down(self, peer: int, now: float) -> None: ...
    def neighbour_stalled(self, peer: int, now: float) -> None: ...
    def neighbour_resumed(self, peer: int, now: float) -> None: ...
    def neighbour_busy(self, peer: int, busy: bool, now: float) -> None: ...
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


class WorldNode:
    """A node: its routing, the links it has, and its forwarding table."""

    __slots__ = ("fib", "name", "own", "routing", "sent", "wake_at", "wires")

    def __init__(self, name: int, routing: Routing, own: Prefix) -> None:
        self.name = name
        self.routing = routing
        self.own = own
        self.wires: dict[int, Wire] = {}
        self.fib: dict[Prefix, tuple[int, int | None]] = {}
        """Prefix → next hop and backup, by the ids of their links."""
        self.sent = 0
        self.wake_at: float | None = None

    def ways(self, prefix: Prefix) -> list[Wire]:
        """The links over which it may forward now, the backup last, if they are up."""
        peers = self.fib.get(prefix, ())
        return [self.wires[peer] for peer in peers if peer is not None and peer in self.wires]

    def next_hops(self, prefix: Prefix) -> list[int]:
        """The nodes to which it may forward now: next hop and backup, if their links are up."""
        return [wire.other(self.name) for wire in self.ways(prefix)]

    def next_hop(self, prefix: Prefix) -> int | None:
        """The node to which it forwards now: over the backup where the other link is silent."""
        return next((wire.other(self.name) for wire in self.ways(prefix) if not wire.silent), None)

    def forwarded_over(self, peer: int) -> list[Prefix]:
        """The prefixes for which a link is the next hop or the backup."""
        return [prefix for prefix, hops in self.fib.items() if peer in hops]
