"""The data plane in Rust behind the seam of this room: tuples become events, dicts become stats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from zosnet._core import Core
from zosnet.dataplane import events
from zosnet.dataplane.protocol import LinkStats, Refusal, SessionStats

if TYPE_CHECKING:
    from zosnet.model.keys import SecretKey
    from zosnet.model.router_id import RouterId

__all__ = ["CoreDataplane"]

#: The first item of a tuple → what the others are the fields of, in their order. Foreign data enters here:
#: its shape is kept by the tests, which meet every kind.
_EVENTS: Mapping[object, Callable[..., events.Event]] = {
    "control": events.ControlReceived,
    "link_up": events.LinkUp,
    "dial_failed": events.DialFailed,
    "link_down": events.LinkDown,
    "stalled": events.Stalled,
    "resumed": events.Resumed,
    "busy": events.Busy,
    "idle": events.Idle,
    "measured": events.Measured,
    "pinned": events.Pinned,
    "downgraded": events.Downgraded,
    "need_route": events.RouteNeeded,
    "message": events.MessageReceived,
    "probe": events.ProbeReceived,
    "failed": events.Failed,
}

_LINK_STATS: Callable[..., LinkStats] = LinkStats
_REFUSAL: Callable[..., Refusal] = Refusal
_SESSION_STATS: Callable[..., SessionStats] = SessionStats

#: All addresses of the machine, of both families.
_EVERYWHERE = "::"


class CoreDataplane:
    """The packet path of a real node. Thread-safe; no call here ever waits for the network, but `close`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @classmethod
    def open(
        cls,
        *,
        secret: SecretKey,
        router_id: RouterId,
        tun_name: str | None,
        tun_mtu: int,
        tcp_port: int | None,
        quic_port: int | None,
        udp_port: int | None,
        session_suite: bool,
        repair: bool,
        pins: Sequence[bytes],
        max_link_mtu: int,
        lanes: int,
        firewall_mark: int,
        events_limit: int,
    ) -> Self:
        """Open device and sockets, start the lanes. None leaves a device or a listener out.

        Raises OSError with its errno: EADDRINUSE (port taken), ENOENT (no TUN driver), EPERM, EBUSY (name
        taken).
        """
        core = Core(
            secret=secret.raw,
            address=secret.public().address().packed,
            tun_name=tun_name,
            tun_mtu=tun_mtu,
            tcp_listen=[] if tcp_port is None else [(_EVERYWHERE, tcp_port)],
            quic_listen=[] if quic_port is None else [(_EVERYWHERE, quic_port)],
            udp_listen=[] if udp_port is None else [(_EVERYWHERE, udp_port)],
            session_suite=session_suite,
            repair=repair,
            pins=list(pins),
            max_link_mtu=max_link_mtu,
            lanes=lanes,
            firewall_mark=firewall_mark,
            router_id_text=str(router_id),
            events_limit=events_limit,
        )
        return cls(core)

    @property
    def fd(self) -> int:
        """A descriptor that is readable while events wait."""
        return self._core.fd

    @property
    def tun_name(self) -> str | None:
        """The device's name, None without one."""
        return self._core.tun_name

    @property
    def listen_addresses(self) -> Sequence[str]:
        """Where links are accepted, as endpoints: `tcp://[::]:9651`."""
        return [
            f"{proto}://[{ip}]:{port}" if ":" in ip else f"{proto}://{ip}:{port}"
            for proto, ip, port in self._core.listening
        ]

    def drain_events(self, limit: int = 1024) -> list[events.Event]:
        """Take up to `limit` events, oldest first."""
        return [_EVENTS[event[0]](*event[1:]) for event in self._core.drain_events(limit)]

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
        self._core.dial(token, proto, ip, port, scope, timeout, key)

    def close_link(self, link: int) -> None:
        """Close a link. LinkDown follows."""
        self._core.close_link(link)

    def send_control(self, batch: Sequence[tuple[int, bytes]]) -> None:
        """Queue whole control packets, each for a link, before all data. Unknown links are skipped."""
        self._core.send_control(list(batch))

    def apply_routes(self, packed: bytes) -> None:
        """Apply 64-byte records in their order and swap in the new table."""
        self._core.apply_routes(packed)

    def used_routes(self) -> bytes:
        """The routes used since the last call: 17-byte records, prefix ‖ length."""
        return self._core.used_routes()

    def replace_filter(self, open: bool, packed: bytes) -> None:
        """Replace the rules for what may come in: 64-byte records. `open`: let everything in."""
        self._core.replace_filter(open, packed)

    def rule_hits(self) -> list[int]:
        """How often each rule has let in something new since it was set, by its number."""
        return self._core.rule_hits()

    def refusals(self, limit: int = 256) -> list[Refusal]:
        """What was refused, the latest first."""
        return [_REFUSAL(**refusal) for refusal in self._core.refusals(limit)]

    def replace_allowed_links(self, keys: Sequence[bytes] | None) -> None:
        """Replace the keys of those who may link, where the data plane learns them first; None: anyone."""
        self._core.replace_allowed_links(None if keys is None else list(keys))

    def send_message(self, destination: bytes, body: bytes) -> None:
        """Seal and send a message packet; it waits for a route as any packet does."""
        self._core.send_message(destination, body)

    def inject(self, packet: bytes) -> None:
        """Send a whole IPv6 packet as if it came from this node's device."""
        self._core.inject(packet)

    def watch_probe(self, magic: bytes) -> None:
        """Report answers to echo requests whose data starts with these 8 bytes; don't deliver them."""
        self._core.watch_probe(magic)

    def links(self) -> list[LinkStats]:
        """All links that are up."""
        return [_LINK_STATS(**link) for link in self._core.links()]

    def sessions(self) -> list[SessionStats]:
        """All sessions with other nodes."""
        return [_SESSION_STATS(**session) for session in self._core.sessions()]

    def forget_pin(self, key: bytes) -> bool:
        """Hold the node with this key to our suite no longer. False when it was not."""
        return self._core.forget_pin(key)

    def renew_session(self, key: bytes) -> None:
        """The node with this key has started anew: shake hands again. Without a session nothing happens."""
        self._core.renew_session(key)

    def counters(self) -> Mapping[str, int]:
        """Counts since the start; a dot parts a name from its label."""
        return self._core.counters()

    def close(self) -> None:
        """Send what is queued for at most half a second, and free everything. May be called twice."""
        self._core.close()
