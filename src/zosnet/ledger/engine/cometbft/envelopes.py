"""The envelopes in CometBFT's mempool, as far as its questions tell: others' have a part of the room.

It has room for so many, and for so many bytes, whatever they hold and whoever has sent them. Where it is full
it asks the application no more, and refuses what this node's own clients submit as well. So others' envelopes
are refused before that, however few of their transactions wait.

No I/O and no locks: for one thread at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

__all__ = ["Envelopes"]


@dataclass(slots=True)
class _Held:
    size: int  #: as it counts: an own one's is 0
    asked: int  #: the height at which it was asked for last


class Envelopes:
    """At most `most` of others', and `most_bytes` of theirs. They are known by their hashes."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._held: dict[bytes, _Held] = {}
        self._others = self._bytes = 0

    def __len__(self) -> int:
        """Others' that are there."""
        return self._others

    def expect(self, envelope: bytes, height: int) -> None:
        """One of this node's own will come."""
        self._held.setdefault(_hash(envelope), _Held(0, height))

    def has_room(self, envelope: bytes) -> bool:
        """Whether this one is there, or may be."""
        if _hash(envelope) in self._held:
            return True
        return self._others < self._most and self._bytes + len(envelope) <= self._most_bytes

    def put(self, envelope: bytes, height: int) -> None:
        """It is there, or there still."""
        key = _hash(envelope)
        if found := self._held.get(key):
            found.asked = height
            return
        self._held[key] = _Held(len(envelope), height)
        self._others += 1
        self._bytes += len(envelope)

    def drop(self, envelope: bytes) -> None:
        """It is not, or not any more."""
        self._drop(_hash(envelope))

    def forget(self, height: int) -> None:
        """Those that nobody has asked for since this height are there no more."""
        for key in [key for key, each in self._held.items() if each.asked < height]:
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        found = self._held.pop(key, None)
        if found is not None and found.size:
            self._others -= 1
            self._bytes -= found.size


def _hash(envelope: bytes) -> bytes:
    return sha256(envelope).digest()
