"""The seam between the node and the data plane: what the real one in Rust and the fake of the lab both do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from zosnet.dataplane.events import Event


@dataclass(frozen=True, slots=True)
class LinkStats:
    """One link at this moment. Counts are since it came up."""

    id: int
    proto: str
    local: str
    remote: str
    tx_bytes: int
    rx_bytes: int
    tx_packets: int
    rx_packets: int
    queued_bytes: int
    dropped: int
    rtt: float | None
    """Seconds, as the transport measures it; None before it did."""
    stalled: bool
    busy: bool
    since: float
    """On the monotonic clock."""
    loss: float | None = None
    """Share of datagrams lost in the worse direction; None where that isn't measured."""
    max_datagram: int | None = None
    """Bytes of the largest datagram that the path is known to carry; None on streams."""
    key: bytes | None = None
    """The key that the node at the other end proved to have."""


@dataclass(frozen=True, slots=True)
class SessionStats:
    """One session with another node at this moment. Frames are counted since it was made."""

    key: bytes
    """Of the node at the other end."""
    suite: str
    """"zosnet" or "mycelium"."""
    cipher: str
    state: str
    """"established" once both ends have keys; "initiating" before."""
    age: float
    """Seconds."""
    tx_frames: int
    rx_frames: int
    via: str
    """"direct" over a datagram link to that node, or "relayed"."""
    max_frame: int | None
    """Bytes of the largest frame that the path is known to carry."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that was not let in, once or more."""

    key: bytes
    """Whose it was: the key that it was sealed under."""
    source: bytes
    """The address that it came from the last time, 16 bytes."""
    protocol: int
    """0 where it isn't known, and of messages."""
    port: int
    """The port that it was for, or the type of ICMPv6."""
    reason: str
    """As the counter is called: `refused_service`, say."""
    count: int
    first: float
    """On the monotonic clock, as is `last`."""
    last: float


class Dataplane(Protocol):
    """The packet path. Thread-safe; no call here ever waits for the network."""

    @property
    def fd(self) -> int:
        """A descriptor that is readable while events wait."""
        ...

    @property
    def tun_name(self) -> str | None:
        """The device's name, None without one."""
        ...

    @property
    def listen_addresses(self) -> Sequence[str]:
        """Where links are accepted, as endpoints: `tcp://[::]:9651`."""
        ...

    def drain_events(self, limit: int = 1024) -> list[Event]:
        """Take up to `limit` events, oldest first."""
        ...

    def dial(  # noqa: PLR0917
        self,
        token: int,
        proto: str,
        ip: str,
        port: int,
        scope: int,
        timeout: float,
        key: bytes | None = None,
    ) -> None:
        """Open a link; LinkUp or DialFailed tells the outcome under `token`, within `timeout` seconds.

        `key`, for "udp" alone, is the one that the other end must prove to have.
        """
        ...

    def close_link(self, link: int) -> None:
        """Close a link. LinkDown follows."""
        ...

    def send_control(self, batch: Sequence[tuple[int, bytes]]) -> None:
        """Queue whole control packets, each for a link, before all data. Unknown links are skipped."""
        ...

    def apply_routes(self, packed: bytes) -> None:
        """Apply 64-byte records in their order and swap in the new table."""
        ...

    def used_routes(self) -> bytes:
        """The routes used since the last call: 17-byte records, prefix ‖ length."""
        ...

    def replace_filter(self, open: bool, packed: bytes) -> None:
        """Replace the rules for what may come in: 64-byte records. `open`: let everything in."""
        ...

    def rule_hits(self) -> list[int]:
        """How often each rule has let in something new since it was set, by its number."""
        ...

    def refusals(self, limit: int = 256) -> list[Refusal]:
        """What was refused, the latest first."""
        ...

    def replace_allowed_links(self, keys: Sequence[bytes] | None) -> None:
        """Replace the keys of those who may link, where the data plane learns them first; None: anyone."""
        ...

    def send_message(self, destination: bytes, body: bytes) -> None:
        """Seal and send a message packet; it waits for a route as any packet does."""
        ...

    def inject(self, packet: bytes) -> None:
        """Send a whole IPv6 packet as if it came from this node's device."""
        ...

    def watch_probe(self, magic: bytes) -> None:
        """Report answers to echo requests whose data starts with these 8 bytes; don't deliver them."""
        ...

    def links(self) -> list[LinkStats]:
        """All links that are up."""
        ...

    def sessions(self) -> list[SessionStats]:
        """All sessions with other nodes."""
        ...

    def forget_pin(self, key: bytes) -> bool:
        """Hold the node with this key to our suite no longer. False when it was not."""
        ...

    def renew_session(self, key: bytes) -> None:
        """The node with this key has started anew: shake hands again. Without a session nothing happens."""
        ...

    def counters(self) -> Mapping[str, int]:
        """Counts since the start; a dot parts a name from its label."""
        ...

    def close(self) -> None:
        """Send what is queued for at most half a second, and free everything. May be called twice."""
        ...
