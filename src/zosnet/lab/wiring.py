"""The links of a world in memory: those that there can be, and each life of one that is up."""

from dataclasses import dataclass

from zosnet.wire.babel import Tlv

__all__ = ["STATIC_COST", "Wire", "Wiring"]

STATIC_COST = 10
"""What every link costs beside its round-trip time: Mycelium's figure for TCP over IPv6."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """A link that there can be: its ends, and its delay in one direction in seconds.

    Two ends may have several. Those of one `place`, such as an IP address, share a path; `number` tells apart
    those that are alike.
    """

    a: int
    b: int
    delay: float = 0.001
    kind: str = ""
    place: str = ""
    number: int = 0

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
        """What waits while it is silent: sender, TLV."""
        self.busy_until: dict[int, float] = {}
        """Sender → when the last of what it sent arrives; what follows comes no sooner."""
        self.asked: dict[int, float] = {}
        """Node → when it last sent a Hello, whose answer measures the round trip."""

    def other(self, node: int) -> int:
        """The end that isn't `node`."""
        return self.wiring.b if node == self.wiring.a else self.wiring.a
