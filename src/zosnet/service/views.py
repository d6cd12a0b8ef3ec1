"""What the node says of itself, as plain values: the one truth behind the API, the command line and the
metrics.

Field names are those of the JSON. Times are seconds, round trips milliseconds, sizes bytes. A value that is
not known is None. Each top-level answer carries `schema`, its name and version: fields may be added under the
same version, but never change their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Done",
    "DoorsView",
    "Finding",
    "Findings",
    "KeyView",
    "MessageRequest",
    "MessageSent",
    "MessageStatus",
    "MessageView",
    "PeerRequest",
    "PeerView",
    "Peers",
    "PinView",
    "PingRequest",
    "Pins",
    "ProbeLine",
    "QueryView",
    "RefusalView",
    "ReloadReport",
    "RouteView",
    "Routes",
    "RuleView",
    "SessionView",
    "Sessions",
    "Status",
    "TraceRequest",
]

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about this node that an operator should know."""

    code: str
    severity: Severity
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that `doctor` found; an empty list means that all is well."""

    findings: list[Finding]
    schema: Literal["zosnet.doctor/1"] = "zosnet.doctor/1"


@dataclass(frozen=True, slots=True)
class Status:
    """The node at a glance."""

    version: str
    public_key: str
    address: str
    subnet: str
    router_id: str
    tun: str | None
    mtu: int
    listen: list[str]
    started: float
    uptime: float
    peers_linked: int
    peers_wanted: int
    routes: int
    queries: int
    tx_bytes: int
    rx_bytes: int
    findings: list[Finding]
    sessions: dict[str, int]
    """How many there are, by suite."""
    pins: int
    """How many nodes are held to our suite."""
    inbound: Literal["none", "all"] = "none"
    """What may come in unasked, beside what rules allow."""
    refused: int = 0
    """Packets and messages that were not let in."""
    schema: Literal["zosnet.status/1"] = "zosnet.status/1"


@dataclass(frozen=True, slots=True)
class KeyView:
    """Who the node is."""

    public_key: str
    address: str
    subnet: str
    signing_key: str
    schema: Literal["zosnet.key/1"] = "zosnet.key/1"


@dataclass(frozen=True, slots=True)
class PeerView:
    """One peer: what is wanted of it, and the link to it while there is one."""

    endpoint: str
    kind: Literal["static", "inbound", "discovered"]
    state: Literal["alive", "connecting", "dead"]
    discovered: float
    """Seconds since the peer became known."""
    last_linked: float | None
    """Seconds since the last link to it came up."""
    failures: int
    last_error: str
    retry_in: float | None
    link: int | None = None
    local: str | None = None
    remote: str | None = None
    public_key: str | None = None
    address: str | None = None
    cost: int | None = None
    rtt_ms: float | None = None
    stalled: bool = False
    busy: bool = False
    tx_bytes: int = 0
    rx_bytes: int = 0
    tx_packets: int = 0
    rx_packets: int = 0
    queued_bytes: int = 0
    dropped: int = 0
    weight: int = 0
    """Milliseconds that the operator adds to the cost."""
    metered: bool = False
    """Whether the link is spared, at the wish of either end."""
    loss: float | None = None
    """Share of datagrams lost in the worse direction; None where it isn't measured."""
    max_datagram: int | None = None
    """Bytes of the largest datagram that the link carries; None on streams."""
    authenticated: bool = False
    """Whether the link itself proved the peer's key."""
    settling: bool = False
    """Whether the link is back after a failure, and routes that work don't return to it yet."""
    suite: str | None = None
    """The suite of the session with the peer, None without one."""


@dataclass(frozen=True, slots=True)
class Peers:
    """All peers."""

    peers: list[PeerView]
    schema: Literal["zosnet.peers/1"] = "zosnet.peers/1"


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """A peer to add."""

    endpoint: str


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session with another node: how what goes there is encrypted."""

    public_key: str
    address: str
    suite: str
    cipher: str
    state: str
    age: float
    tx_frames: int
    rx_frames: int
    via: str
    max_frame: int | None
    pinned: bool
    """Whether the node is held to our suite."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """All sessions with other nodes."""

    sessions: list[SessionView]
    schema: Literal["zosnet.sessions/1"] = "zosnet.sessions/1"


@dataclass(frozen=True, slots=True)
class PinView:
    """A node that is held to our session suite."""

    public_key: str
    address: str
    since: int
    """Unix time."""
    downgraded: bool
    """Whether it has spoken only Mycelium's suite of late, and was not heard."""


@dataclass(frozen=True, slots=True)
class Pins:
    """All nodes that are held to our session suite."""

    pins: list[PinView]
    schema: Literal["zosnet.pins/1"] = "zosnet.pins/1"


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route. `metric` None is infinity: the key is known, the way is not."""

    prefix: str
    public_key: str
    address: str
    next_hop: str
    link: int
    metric: int | None
    seqno: int
    expires_in: float
    backup: str | None = None
    """The peer whose link takes over the moment `link` fails."""
    backup_link: int | None = None
    spread: bool = False
    """Whether flows are spread over both."""


@dataclass(frozen=True, slots=True)
class QueryView:
    """A prefix that neighbours were asked for."""

    prefix: str
    expires_in: float


@dataclass(frozen=True, slots=True)
class Routes:
    """The routing table: routes in use, feasible others, and questions on the way."""

    selected: list[RouteView]
    fallback: list[RouteView]
    queried: list[QueryView]
    schema: Literal["zosnet.routes/1"] = "zosnet.routes/1"


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule, or one whose messages are taken. `hits` counts the new that it let in, since it was set."""

    rule: str
    hits: int


@dataclass(frozen=True, slots=True)
class RefusalView:
    """Something that was not let in, `count` times. `item`, added to `setting`, would let it in."""

    address: str
    public_key: str
    what: str
    """`tcp/22`, `icmp type 139`, `messages`."""
    reason: str
    """As its counter is called."""
    why: str
    count: int
    first_ago: float
    """Seconds, as `last_ago`."""
    last_ago: float
    setting: str | None
    item: str | None


@dataclass(frozen=True, slots=True)
class DoorsView:
    """What may come in, and what was refused of late. `links` names who may link, nobody: anyone."""

    inbound: Literal["none", "all"]
    rules: list[RuleView]
    messages: list[RuleView]
    links: list[str]
    flows: int
    """Connections that are remembered."""
    refused: dict[str, int]
    """Since the start, by reason."""
    refusals: list[RefusalView]
    """The latest first."""
    schema: Literal["zosnet.doors/1"] = "zosnet.doors/1"


@dataclass(frozen=True, slots=True)
class PingRequest:
    """An echo request to an overlay address, `count` times."""

    destination: str
    count: int = 4
    interval: float = 1.0
    timeout: float = 2.0
    size: int = 56


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Find the nodes on the way to an overlay address."""

    destination: str
    max_hops: int = 16
    timeout: float = 1.0
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class ProbeLine:
    """The outcome of one probe. `hop` is the hop limit that it was sent with."""

    sequence: int
    hop: int
    outcome: Literal["reply", "hop", "unreachable", "too_big", "timeout"]
    source: str | None = None
    rtt_ms: float | None = None
    reason: str = ""
    schema: Literal["zosnet.probe/1"] = "zosnet.probe/1"


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """A message to send, to an `address` or a `public_key`. Payload and topic are base64."""

    payload: str
    address: str | None = None
    public_key: str | None = None
    topic: str = ""
    reply_to: str | None = None
    deadline: float = 300.0
    """Seconds until the node gives up."""


@dataclass(frozen=True, slots=True)
class MessageSent:
    """The message is on its way."""

    id: str
    schema: Literal["zosnet.message-sent/1"] = "zosnet.message-sent/1"


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message that arrived. Payload and topic are base64."""

    id: str
    source_address: str
    source_key: str
    destination_address: str
    destination_key: str
    topic: str
    payload: str
    is_reply: bool
    schema: Literal["zosnet.message/1"] = "zosnet.message/1"


@dataclass(frozen=True, slots=True)
class MessageStatus:
    """How far a message that was sent has come."""

    id: str
    destination: str
    state: Literal["pending", "sending", "received", "read", "aborted"]
    created: float
    """Unix time."""
    deadline: float
    """Unix time."""
    length: int
    pending: int = 0
    sent: int = 0
    acknowledged: int = 0
    schema: Literal["zosnet.message-status/1"] = "zosnet.message-status/1"


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What a reload changed, and which differences wait for a restart."""

    changed: list[str]
    needs_restart: list[str]
    schema: Literal["zosnet.reload/1"] = "zosnet.reload/1"


@dataclass(frozen=True, slots=True)
class Done:
    """It is done."""

    schema: Literal["zosnet.done/1"] = "zosnet.done/1"
