"""What the data plane reports: a closed union, in the order in which it happened on each link.

`at` is in seconds of CLOCK_MONOTONIC, which is the event loop's clock too. Links are numbered from 1, and no
number is used twice in the life of a process.
"""

from typing import NamedTuple


class ControlReceived(NamedTuple):
    """A control packet came over `link`, whole, with its 4-byte packet header."""

    link: int
    packet: bytes
    at: float
    rtt: float | None
    """Only for an IHU: seconds since the last Hello left, or what the kernel measured if that is less."""


class LinkUp(NamedTuple):
    """A link is up."""

    link: int
    token: int | None
    """Of the dial that made it; None for one that the other side opened."""
    proto: str
    local: str
    remote_ip: str
    remote_port: int
    at: float
    key: bytes | None = None
    """The key that the node at the other end proved to have; None where links prove nothing."""


class DialFailed(NamedTuple):
    """The dial under `token` brought no link. `errno` is 0 where no system call was at fault."""

    token: int
    errno: int
    reason: str


class LinkDown(NamedTuple):
    """The link is gone; nothing more comes from it."""

    link: int
    reason: str
    at: float


class Stalled(NamedTuple):
    """Data was sent over `link`, and nothing is acknowledged. The forwarder uses backups meanwhile."""

    link: int
    at: float


class Resumed(NamedTuple):
    """A stalled link is alive again."""

    link: int
    at: float


class Busy(NamedTuple):
    """Data traffic on the link started."""

    link: int
    at: float


class Idle(NamedTuple):
    """The link carried no data for some seconds."""

    link: int
    at: float


class Measured(NamedTuple):
    """What probes and data found out about a `udp://` link. At most twice a second for each link."""

    link: int
    rtt: float | None
    """Seconds."""
    loss: float | None
    """Share of datagrams lost in the worse direction, from 0 to 1."""
    at: float


class Pinned(NamedTuple):
    """The node with this key speaks our session suite, and is held to it from now on."""

    key: bytes
    at: float


class Downgraded(NamedTuple):
    """A pinned node speaks Mycelium's suite alone; what it sends is refused."""

    key: bytes
    at: float


class RouteNeeded(NamedTuple):
    """A packet waits for a route. At most once a second for each /64."""

    destination: bytes
    """16 bytes."""
    for_others: bool = False
    """The packet is not this node's own: strangers can make as many such as they like."""


class MessageReceived(NamedTuple):
    """The body of a message packet, behind the inner header, opened with the key of `public_key`."""

    source: bytes
    """16 bytes, as is `destination`."""
    destination: bytes
    public_key: bytes
    body: bytes


class ProbeReceived(NamedTuple):
    """An ICMPv6 packet that answers a probe: a whole IPv6 packet."""

    packet: bytes
    at: float


class Failed(NamedTuple):
    """The data plane cannot go on."""

    text: str


Event = (
    ControlReceived
    | LinkUp
    | DialFailed
    | LinkDown
    | Stalled
    | Resumed
    | Busy
    | Idle
    | Measured
    | Pinned
    | Downgraded
    | RouteNeeded
    | MessageReceived
    | ProbeReceived
    | Failed
)
