"""How many may wait for this node at a time, so that who wants an answer at once finds a free connection.

A request that waits (for a message, a receipt, the next block) holds its connection for as long as it takes.
So only a part of a socket's connections may be held like that, and a part of those by one remote address, or
by one program of this machine.

No I/O: for one thread at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address

__all__ = ["RETRY_S", "Crowded", "Places", "source_of"]

#: After so long whoever found no place may find one. A guess.
RETRY_S = 5
#: IPv6 addresses that agree in so many bytes are one client's: a host may choose the rest (RFC 4291, 2.5.4).
PREFIX = 8


class Crowded(Exception):
    """There is no place to wait: `status` is that of HTTP (RFC 6585, 4: too many requests of one client)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Places:
    """`most` at a time, and `most_each` of one source."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most, self._most_each = most, most_each
        self._used: Counter[str] = Counter()

    def __len__(self) -> int:
        """Places that are taken."""
        return self._used.total()

    @contextmanager
    def held(self, source: str) -> Iterator[None]:
        """Have a place; of the source "" there may be any number. Raises Crowded where there is none."""
        if source and self._used.get(source, 0) >= self._most_each:
            raise Crowded(429, "too many requests of this address or program wait for an answer already")
        if len(self) >= self._most:
            raise Crowded(503, "too many requests wait for an answer already")
        self._used[source] += 1
        try:
            yield
        finally:
            self._used[source] -= 1
            if not self._used[source]:
                del self._used[source]


def source_of(host: str | None) -> str:
    """Whose places a client uses: that of an address, or a program by its own name; "" where it has none."""
    if not host:
        return ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return address.packed[:PREFIX].hex()
    return str(address)
