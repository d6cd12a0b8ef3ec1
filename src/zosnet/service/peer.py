"""What peering speaks of: limits, addresses, the states of a peer, and the actions that it asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from zosnet.model.endpoint import Endpoint
from zosnet.model.router_id import RouterId

__all__ = [
    "Action",
    "Address",
    "Close",
    "Dial",
    "Dialling",
    "Forgotten",
    "Limits",
    "Linked",
    "Peer",
    "PeerKind",
    "Resolve",
    "Resolving",
    "State",
    "Waiting",
    "Weigh",
]

PeerKind = Literal["static", "inbound", "discovered"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds and bounds on what others can make this node remember."""

    first_delay: float = 0.2
    longest_delay: float = 60.0
    # A link that lived this long was a good one: the next failure starts again from the first delay.
    stable_after: float = 30.0
    # RFC 8305, section 8: the recommended connection attempt delay.
    stagger: float = 0.25
    dial_timeout: float = 10.0
    # Reference, section 6: a discovered peer is forgotten after three consecutive failures.
    discovered_failures: int = 3
    # How long the accepting end of a link to oneself waits for the dialling end to notice.
    mirror: float = 1.0
    # Where only some may link: how long a link may be up whose router has not named itself (a guess).
    naming: float = 10.0
    wanted: int = 1024
    discovered: int = 64
    # Below the number of neighbours that routing holds: strangers never take the place of wanted peers.
    inbound: int = 192
    addresses: int = 16


@dataclass(frozen=True, slots=True)
class Address:
    """One place to dial: a literal IP address, a port, and the interface index of a link-local address."""

    ip: str
    port: int
    scope: int = 0


@dataclass(frozen=True, slots=True)
class Resolve:
    """Find the addresses of `endpoint`, then call `resolved` or `resolve_failed`."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a link; its outcome comes back under `token`, within `timeout` seconds."""

    token: int
    proto: str
    address: Address
    timeout: float
    key: bytes | None = None
    """Which the other end must have."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close a link that is not wanted."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A discovered peer is no longer wanted: it could not be reached."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Weigh:
    """What the operator wants of a link that is up."""

    link: int
    weight: int
    metered: bool


Action = Resolve | Dial | Close | Forgotten | Weigh


@dataclass(frozen=True, slots=True)
class Resolving:
    """The name is being resolved."""


@dataclass(frozen=True, slots=True)
class Dialling:
    """Attempts under way by token, and the addresses whose turn has not come."""

    tokens: dict[int, Address]
    waiting: tuple[Address, ...]
    next_start: float


@dataclass(frozen=True, slots=True)
class Linked:
    """The peer is there."""

    link: int
    address: Address
    since: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """No link; the next attempt starts at `until`."""

    until: float


State = Resolving | Dialling | Linked | Waiting


@dataclass(slots=True)
class Peer:
    """One peer and what is known of it. Inbound peers are always `Linked`."""

    endpoint: Endpoint
    kind: PeerKind
    state: State
    discovered: float
    last_linked: float | None = None
    failures: int = 0
    last_error: str = ""
    neighbour: RouterId | None = None
    delay: float = field(default=0.0, repr=False)

    @property
    def link(self) -> int | None:
        """The link's number while there is one."""
        return self.state.link if isinstance(self.state, Linked) else None

    @property
    def due(self) -> float | None:
        """When the next attempt is to start, or None where nothing waits for its time."""
        match self.state:
            case Waiting(until):
                return until
            case Dialling(waiting=waiting, next_start=start) if waiting:
                return start
            case _:
                return None
