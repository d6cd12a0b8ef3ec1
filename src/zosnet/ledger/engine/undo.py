"""What a block's pages were before it, as one value that is searched without being read whole.

    count (U32) ‖ of each: mark (U32), place (U32), ascending ‖ of each: key and subtrees, with their lengths

The mark is the key's CRC-32. Of each page there are the subtrees that the block changed, as they were: a byte
with the place and, times 16, the length in units of 32 bytes, and the subtree. One row instead of thousands:
most are never asked for.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left
from enum import Enum
from typing import Final, Literal, Protocol

from zosnet._core import fold_page
from zosnet.ledger.tree import Before, Slot

__all__ = ["UNCHANGED", "Rewind", "find", "pack"]

_HEAD = struct.Struct(">I")
_ENTRY = struct.Struct(">II")
_SIZES = struct.Struct(">BI")
#: A length that stands for a page that wasn't there.
_ABSENT = 2**32 - 1
_UNIT = 32


class _Unchanged(Enum):
    UNCHANGED = 0


UNCHANGED: Final = _Unchanged.UNCHANGED
"""The block didn't change this page."""


class Readable(Protocol):
    """Bytes that can be read in parts."""

    def read(self, size: int, /) -> bytes:
        """The next bytes."""

    def seek(self, place: int, /) -> object:
        """Go on at a place."""


def pack(pages: Before) -> bytes:
    """The pages of before by their prefixes; None for one that wasn't there."""
    marked = sorted((zlib.crc32(key), key) for key in pages)
    place = _HEAD.size + _ENTRY.size * len(marked)
    index, parts = [_HEAD.pack(len(marked))], []
    for mark, key in marked:
        slots = pages[key]
        index.append(_ENTRY.pack(mark, place))
        were = b"".join([bytes((len(slot) // _UNIT << 4 | nibble,)) + slot for nibble, slot in slots or ()])
        part = _SIZES.pack(len(key), _ABSENT if slots is None else len(were)) + key + were
        parts.append(part)
        place += len(part)
    return b"".join(index) + b"".join(parts)


def find(packed: Readable, key: bytes) -> list[tuple[int, Slot]] | Literal[_Unchanged.UNCHANGED] | None:
    """What a page's subtrees were: None if it wasn't there, UNCHANGED if it isn't among them."""
    (count,) = _HEAD.unpack(packed.read(_HEAD.size))
    index, mark = packed.read(_ENTRY.size * count), zlib.crc32(key)
    marks = memoryview(index)
    at = bisect_left(range(count), mark, key=lambda number: _ENTRY.unpack_from(marks, number * 8)[0])
    while at < count:
        here, place = _ENTRY.unpack_from(index, at * _ENTRY.size)
        if here != mark:
            break
        packed.seek(place)
        length, size = _SIZES.unpack(packed.read(_SIZES.size))
        if packed.read(length) == key:
            return None if size == _ABSENT else _slots(packed.read(size))
        at += 1
    return UNCHANGED


def _slots(raw: bytes) -> list[tuple[int, Slot]]:
    found, at = [], 0
    while at < len(raw):
        end = at + 1 + (raw[at] >> 4) * _UNIT
        found.append((raw[at] & 15, raw[at + 1 : end]))
        at = end
    return found


class Rewind:
    """A page of the tree on its way back through blocks, the newest first."""

    def __init__(self, prefix: bytes, page: bytes | None) -> None:
        self._prefix, self._page = prefix, page
        self._slots: dict[int, Slot] = {}

    def back(self, packed: Readable) -> None:
        """To before the block that this is of."""
        found = find(packed, self._prefix)
        if found is None:
            self._page = None
            self._slots.clear()
        elif found is not UNCHANGED:
            self._slots.update(found)

    @property
    def page(self) -> bytes | None:
        """The page as it was; None where it wasn't there."""
        if not self._slots:
            return self._page
        return fold_page(self._page or b"", list(self._slots.items()))[0]
