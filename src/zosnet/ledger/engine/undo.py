"""What a block's pages were before it, as one value that is searched without being read whole.

    count (U32) ‖ of each: mark (U32), place (U32), ascending ‖ of each: key and bytes, with their lengths

The mark is the key's CRC-32. One row instead of thousands: most are never asked for.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left
from enum import Enum
from typing import Final, Literal, Protocol

__all__ = ["UNCHANGED", "find", "pack"]

_HEAD = struct.Struct(">I")
_ENTRY = struct.Struct(">II")
_SIZES = struct.Struct(">BI")
#: A length that stands for a page that wasn't there.
_ABSENT = 2**32 - 1


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


def pack(pages: dict[bytes, bytes | None]) -> bytes:
    """The pages of before by their prefixes; None for one that wasn't there."""
    marked = sorted((zlib.crc32(key), key) for key in pages)
    place = _HEAD.size + _ENTRY.size * len(marked)
    index, parts = [_HEAD.pack(len(marked))], []
    for mark, key in marked:
        page = pages[key]
        index.append(_ENTRY.pack(mark, place))
        size = _ABSENT if page is None else len(page)
        part = _SIZES.pack(len(key), size) + key + (page or b"")
        parts.append(part)
        place += len(part)
    return b"".join(index) + b"".join(parts)


def find(packed: Readable, key: bytes) -> bytes | Literal[_Unchanged.UNCHANGED] | None:
    """A page of before: None if it wasn't there, UNCHANGED if it isn't among them."""
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
            return None if size == _ABSENT else packed.read(size)
        at += 1
    return UNCHANGED
