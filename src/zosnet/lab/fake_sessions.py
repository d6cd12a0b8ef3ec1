"""The sessions of a data plane in memory: nothing is encrypted, but who is held to which suite is decided."""

from __future__ import annotations

from collections.abc import Sequence

from zosnet.dataplane.protocol import SessionStats

__all__ = ["FakeSessions"]

_MOST_FRAME_BYTES = 1408


class FakeSessions:
    """One session for each node that something was sent to, and the nodes that are held to our suite."""

    def __init__(self, pins: Sequence[bytes] = ()) -> None:
        self._pins = set(pins)
        self._stats: dict[bytes, SessionStats] = {}

    def stats(self) -> list[SessionStats]:
        """All sessions."""
        return list(self._stats.values())

    def pin(self, key: bytes) -> bool:
        """Hold a node that has spoken our suite to it. False when it is held already."""
        is_new = key not in self._pins
        self._pins.add(key)
        return is_new

    def is_pinned(self, key: bytes) -> bool:
        """Whether the node is held to our suite."""
        return key in self._pins

    def forget_pin(self, key: bytes) -> bool:
        """Hold the node to our suite no longer. False when it wasn't."""
        was_pinned = key in self._pins
        self._pins.discard(key)
        return was_pinned

    def send(self, key: bytes, *, ours: bool, direct: bool) -> None:
        """Count a frame to a node, and make the session that the first of them needs.

        `ours`: it speaks our suite. `direct`: over a datagram link to that node.
        """
        sent = self._stats[key].tx_frames + 1 if key in self._stats else 1
        self._stats[key] = SessionStats(
            key=key,
            suite="zosnet" if ours else "mycelium",
            cipher="none",
            state="established",
            age=0.0,
            tx_frames=sent,
            rx_frames=0,
            via="direct" if direct else "relayed",
            max_frame=_MOST_FRAME_BYTES,
        )
