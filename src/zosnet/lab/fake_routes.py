"""The routing table of a data plane in memory, which reads the records that the real one reads."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

__all__ = ["FakeRoute", "FakeRoutes"]

_RECORD = Struct(">BBBx16s32sIII")
_SPEAKS_OURS, _SPREAD = 1, 2


class FakeRoute(NamedTuple):
    """The node at its end, and the links on which it may be reached; 0 stands for none."""

    key: bytes
    primary: int
    backup: int
    flags: int

    @property
    def speaks_ours(self) -> bool:
        """Whether the node at its end speaks our session suite."""
        return self.flags & _SPEAKS_OURS != 0

    @property
    def is_spread(self) -> bool:
        """Whether flows take either link."""
        return self.flags & _SPREAD != 0


class FakeRoutes:
    """Routes by prefix, and which of them were used of late."""

    def __init__(self) -> None:
        self._routes: dict[tuple[bytes, int], FakeRoute] = {}
        self._used: set[tuple[bytes, int]] = set()

    def apply(self, packed: bytes) -> None:
        """Set and remove routes, record by record."""
        for op, length, flags, prefix, key, primary, backup, _ in _RECORD.iter_unpack(packed):
            if op:
                self._routes[prefix, length] = FakeRoute(key, primary, backup, flags)
            else:
                self._routes.pop((prefix, length), None)

    def lookup(self, destination: bytes) -> FakeRoute | None:
        """The route to an address, from now on one that was used: of the lengths that occur, the longest."""
        for length in (128, 64):
            prefix = (destination[: length // 8].ljust(16, b"\0"), length)
            if prefix in self._routes:
                self.use(*prefix)
                return self._routes[prefix]
        return None

    def use(self, prefix: bytes, length: int) -> None:
        """A packet took this route."""
        self._used.add((prefix, length))

    def take_used(self) -> bytes:
        """The routes used since the last call: 17-byte records, prefix ‖ length."""
        used, self._used = self._used, set()
        return b"".join(prefix + bytes([length]) for prefix, length in used)
