"""Places that many sources share: however much one of them sends, each of n has a place in n.

A source takes what is free. Where nothing is, whoever has the most makes room for one that has less, with
what came last. So a flood fills what others don't want, and no more.

No I/O and no locks: for one thread at a time.
"""

from __future__ import annotations

__all__ = ["Shares"]


class Shares:
    """Who has which of `most` places. Sources and items are bytes; an item has one place."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[bytes, dict[bytes, None]] = {}
        self._source: dict[bytes, bytes] = {}
        #: Sources by how much they hold, so that the largest is found at once among very many.
        self._by_size: dict[int, dict[bytes, None]] = {}
        self._largest = 0

    def __len__(self) -> int:
        """Places that are taken."""
        return len(self._source)

    def __contains__(self, item: bytes) -> bool:
        return item in self._source

    def has_room(self, source: bytes) -> bool:
        """Whether there is a place for one more of this source, if another must make room or not.

        One that would only have another's share in its turn gets none, or the two would take turns for ever.
        """
        return len(self._source) < self._most or self._largest > len(self._held.get(source, ())) + 1

    def take(self, source: bytes, item: bytes) -> bytes | None:
        """Give a place to an item, as `has_room` allows; the item that had to make room for it."""
        evicted: bytes | None = None
        if len(self._source) >= self._most:
            largest = next(iter(self._by_size[self._largest]))
            evicted = next(reversed(self._held[largest]))
            self.drop(evicted)
        held = self._held.setdefault(source, {})
        held[item] = None
        self._source[item] = source
        self._moved(source, len(held) - 1, len(held))
        return evicted

    def drop(self, item: bytes) -> None:
        """Its place is free, if it had one."""
        source = self._source.pop(item, None)
        if source is None:
            return
        held = self._held[source]
        del held[item]
        if not held:
            del self._held[source]
        self._moved(source, len(held) + 1, len(held))

    def _moved(self, source: bytes, before: int, now: int) -> None:
        if before:
            same = self._by_size[before]
            del same[source]
            if not same:
                del self._by_size[before]
        if now:
            self._by_size.setdefault(now, {})[source] = None
        # One at a time, so the largest is next to what it was.
        self._largest = now if now > self._largest or self._largest not in self._by_size else self._largest
