"""What is in Rust: the data plane, which only `zosnet.dataplane` imports, and what is slow of the ledger."""

from typing import final

__all__ = ["Core", "fold_page", "is_point", "verify_signatures"]

def fold_page(page: bytes, changes: list[tuple[int, bytes]]) -> tuple[bytes, bytes]:
    """`zosnet.ledger.tree.fold`. Raises ValueError for bytes that are no page or no subtree."""

def is_point(key: bytes) -> bool:
    """Whether `key` may be an Ed25519 key: canonical, on the curve, not of small order."""

def verify_signatures(batch: list[tuple[bytes, bytes, bytes]]) -> list[bool]:
    """Judge key, message and signature of each by `zosnet.ledger.signature`'s rule; other threads go on."""

@final
class Core:
    """The packet path of a node. Thread-safe; no call here ever waits for the network, but `close`."""

    def __new__(
        cls,
        *,
        secret: bytes,
        address: bytes,
        tun_name: str | None,
        tun_mtu: int,
        tcp_listen: list[tuple[str, int]],
        quic_listen: list[tuple[str, int]],
        udp_listen: list[tuple[str, int]],
        session_suite: bool,
        repair: bool,
        pins: list[bytes],
        max_link_mtu: int,
        lanes: int,
        firewall_mark: int,
        router_id_text: str,
        events_limit: int,
    ) -> Core:
        """Open sockets and device, start the threads. `secret` has 32 bytes, `address` 16; no name, no TUN.

        `pins` are keys of 32 bytes; `max_link_mtu` is that of the largest IP packet that a udp link tries.

        Raises OSError with its errno: EADDRINUSE (port taken), ENOENT (no TUN driver), EPERM, EBUSY (name
        taken). ValueError for arguments that can't be.
        """

    @property
    def fd(self) -> int:
        """An eventfd, readable while events wait."""

    @property
    def tun_name(self) -> str | None:
        """The device's name, None without one."""

    @property
    def listening(self) -> list[tuple[str, str, int]]:
        """Protocol, IP address and port of each listener."""

    def drain_events(self, limit: int = 1024) -> list[tuple[object, ...]]:
        """Up to `limit` events, oldest first, each a tuple whose first item is its kind."""

    def dial(
        self,
        token: int,
        proto: str,
        ip: str,
        port: int,
        scope: int,
        timeout: float,
        key: bytes | None = None,
    ) -> None:
        """Open a link; "link_up" with `token`, or "dial_failed", follows within `timeout` seconds.

        `key`: the one that the other end of a udp link must prove to have.
        """

    def close_link(self, link: int) -> None:
        """Close a link; "link_down" follows."""

    def send_control(self, batch: list[tuple[int, bytes]]) -> None:
        """Queue whole control packets, each for a link, ahead of data. Unknown links are skipped."""

    def apply_routes(self, packed: bytes) -> None:
        """Apply 64-byte records in their order, then swap in the new table.

        Raises ValueError for malformed records (none is applied), MemoryError for a full table.
        """

    def used_routes(self) -> bytes:
        """Routes used since the last call: 17-byte records, prefix and length."""

    def replace_filter(self, open: bool, packed: bytes) -> None:
        """Replace the rules for what may come in: 64-byte records. `open`: let everything in.

        What the old ones let in goes on only if the new ones do so too. Raises ValueError for malformed
        records; then nothing has changed.
        """

    def rule_hits(self) -> list[int]:
        """How often each rule has let in something new since it was set, by its number."""

    def refusals(self, limit: int = 256) -> list[dict[str, object]]:
        """What was refused, the latest first."""

    def replace_allowed_links(self, keys: list[bytes] | None) -> None:
        """Replace the keys of those who may link to this node by `udp://`; None: anyone."""

    def send_message(self, destination: bytes, body: bytes) -> None:
        """Seal and send a message body; it waits for a route as any packet does."""

    def inject(self, packet: bytes) -> None:
        """Send a whole IPv6 packet as if it came from the device."""

    def watch_probe(self, magic: bytes) -> None:
        """Report answers to echo requests whose data starts with these 8 bytes; don't deliver them."""

    def links(self) -> list[dict[str, object]]:
        """Figures of all links that are up, by number."""

    def sessions(self) -> list[dict[str, object]]:
        """Figures of all sessions with other nodes."""

    def forget_pin(self, key: bytes) -> bool:
        """Hold a node to our session suite no longer. False when it was not."""

    def renew_session(self, key: bytes) -> None:
        """A node has started anew: shake hands again."""

    def counters(self) -> dict[str, int]:
        """Totals since the start; a dot parts a name from its label."""

    def close(self) -> None:
        """Flush for at most half a second, end all threads, remove the device. May be called again."""
