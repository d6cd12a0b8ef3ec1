"""The ledger's bytes: one byte string for each value, and every other byte string refused.

A record is a frozen dataclass whose fields are annotated with how they are written, in their order, with
nothing between them:

    U8 U16 U32 U64      unsigned, big-endian
    Bytes32 Bytes64     as they are
    Blob                a length (U16), then the bytes
    Text                the same, printable ASCII without the space
    Maybe(x)            00, or 01 and x
    Many(x, limit)      a count (U16), then each
    Ordered(x, limit)   the same, strictly ascending, so that a set has one spelling
    another record      its fields
    Choice(...)         a tag (U8), then the record of that tag

A list longer than its limit and bytes left over are refused; a length from outside never sizes anything
before the bytes are there. What is hashed or signed is preceded by a tag of its own (`tagged`), so that no
byte string ever counts for two purposes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import struct
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

__all__ = [
    "U8",
    "U16",
    "U32",
    "U64",
    "Blob",
    "Bytes32",
    "Bytes64",
    "Choice",
    "Codec",
    "Malformed",
    "Many",
    "Maybe",
    "Ordered",
    "Text",
    "codec_of",
    "decode",
    "digest",
    "encode",
    "tagged",
]  # fmt: skip


class Malformed(Exception):
    """These bytes are no value: the text says why."""


Read = Callable[[bytes, int], tuple[Any, int]]
"""Read a value at an offset: the value, and the offset behind it. Raises Malformed."""

Write = Callable[[Any], bytes]


class Codec:
    """How one kind of value is written and read."""

    __slots__ = ("read", "write")

    def __init__(self, write: Write, read: Read) -> None:
        self.write = write
        self.read = read


def _unsigned(size: int) -> Codec:
    packer = struct.Struct({1: ">B", 2: ">H", 4: ">I", 8: ">Q"}[size])
    unpack = packer.unpack_from

    def read(data: bytes, at: int) -> tuple[int, int]:
        try:
            return unpack(data, at)[0], at + size
        except struct.error:
            raise Malformed("it ends too early") from None

    return Codec(packer.pack, read)


def _fixed(size: int) -> Codec:
    def write(value: bytes) -> bytes:
        if len(value) != size:
            raise ValueError(f"{size} bytes are wanted, not {len(value)}")
        return value

    def read(data: bytes, at: int) -> tuple[bytes, int]:
        end = at + size
        if end > len(data):
            raise Malformed("it ends too early")
        return data[at:end], end

    return Codec(write, read)


_U16 = _unsigned(2)


def _write_blob(value: bytes) -> bytes:
    return _U16.write(len(value)) + value


def _read_blob(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _U16.read(data, at)
    end = at + size
    if end > len(data):
        raise Malformed("it ends too early")
    return data[at:end], end


def _write_text(value: str) -> bytes:
    raw = value.encode("ascii")
    if not _is_printable(raw):
        raise ValueError(f"{value!r} has characters that a text may not have")
    return _write_blob(raw)


def _read_text(data: bytes, at: int) -> tuple[str, int]:
    raw, at = _read_blob(data, at)
    if not _is_printable(raw):
        raise Malformed("a text has characters that it may not have")
    return raw.decode("ascii"), at


def _is_printable(raw: bytes) -> bool:
    return not raw or (min(raw) > 0x20 and max(raw) < 0x7F)


def Maybe(item: Any) -> Codec:
    """A value that may be absent."""
    inner = codec_of(item)

    def write(value: Any) -> bytes:
        return b"\x00" if value is None else b"\x01" + inner.write(value)

    def read(data: bytes, at: int) -> tuple[Any, int]:
        flag = data[at : at + 1]
        if flag == b"\x01":
            return inner.read(data, at + 1)
        if flag != b"\x00":
            raise Malformed("a flag is neither 0 nor 1")
        return None, at + 1

    return Codec(write, read)


def Many(item: Any, limit: int, *, ordered: bool = False) -> Codec:
    """A tuple of at most `limit` values; `ordered`: strictly ascending by their bytes."""
    inner = codec_of(item)

    def write(values: tuple[Any, ...]) -> bytes:
        parts = [inner.write(value) for value in values]
        if len(parts) > limit:
            raise ValueError(f"at most {limit} are allowed, not {len(parts)}")
        if ordered and any(a >= b for a, b in itertools.pairwise(parts)):
            raise ValueError("the values must ascend")
        return _U16.write(len(parts)) + b"".join(parts)

    def read(data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
        count, at = _U16.read(data, at)
        if count > limit:
            raise Malformed(f"a list has {count} entries, at most {limit} are allowed")
        found, before = [], b""
        for number in range(count):
            start = at
            value, at = inner.read(data, at)
            if ordered:
                raw = data[start:at]
                if number and raw <= before:
                    raise Malformed("a list does not ascend")
                before = raw
            found.append(value)
        return tuple(found), at

    return Codec(write, read)


def Ordered(item: Any, limit: int) -> Codec:
    """A set, as an ascending tuple."""
    return Many(item, limit, ordered=True)


def Choice(kinds: dict[int, type[Any]]) -> Codec:
    """One of several records, told apart by a tag."""
    readers = {tag: codec_of(kind) for tag, kind in kinds.items()}
    writers = {kind: (bytes([tag]), readers[tag]) for tag, kind in kinds.items()}

    def write(value: Any) -> bytes:
        tag, inner = writers[type(value)]
        return tag + inner.write(value)

    def read(data: bytes, at: int) -> tuple[Any, int]:
        if at >= len(data):
            raise Malformed("it ends too early")
        inner = readers.get(data[at])
        if inner is None:
            raise Malformed(f"the kind {data[at]} is unknown")
        return inner.read(data, at + 1)

    return Codec(write, read)


U8 = Annotated[int, _unsigned(1)]
U16 = Annotated[int, _U16]
U32 = Annotated[int, _unsigned(4)]
U64 = Annotated[int, _unsigned(8)]
Bytes32 = Annotated[bytes, _fixed(32)]
Bytes64 = Annotated[bytes, _fixed(64)]
Blob = Annotated[bytes, Codec(_write_blob, _read_blob)]
Text = Annotated[str, Codec(_write_text, _read_text)]

_CODECS: Final[dict[Any, Codec]] = {}


def codec_of(kind: Any) -> Codec:
    """How values of `kind` are written: a codec itself, an annotated type, or a record."""
    if isinstance(kind, Codec):
        return kind
    if get_origin(kind) is Annotated:
        return next(each for each in get_args(kind)[1:] if isinstance(each, Codec))
    if kind not in _CODECS:
        _CODECS[kind] = _record(kind)
    return _CODECS[kind]


def _record(kind: Any) -> Codec:
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]
    codecs = [codec_of(hints[name]) for name in names]
    writers = [(name, codec.write) for name, codec in zip(names, codecs, strict=True)]
    readers = [codec.read for codec in codecs]

    def write(value: Any) -> bytes:
        return b"".join([put(getattr(value, name)) for name, put in writers])

    def read(data: bytes, at: int) -> tuple[Any, int]:
        values = []
        for take in readers:
            value, at = take(data, at)
            values.append(value)
        try:
            return kind(*values), at
        except ValueError as error:  # what a record's own __post_init__ refuses
            raise Malformed(str(error)) from None

    return Codec(write, read)


T = TypeVar("T")


def encode(value: Any) -> bytes:
    """The bytes of a record. Raises ValueError or struct.error for a value that has none."""
    return codec_of(type(value)).write(value)


def decode(kind: type[T], data: bytes) -> T:
    """The record that `data` is. Raises Malformed for anything but the exact bytes of one."""
    value, end = codec_of(kind).read(data, 0)
    if end != len(data):
        raise Malformed(f"{len(data) - end} bytes are left over")
    found: T = value
    return found


def tagged(purpose: str, data: bytes) -> bytes:
    """`data` made good for one purpose only: ``zosnet ledger <purpose>`` ‖ 00 ‖ data."""
    return b"zosnet ledger " + purpose.encode("ascii") + b"\x00" + data


def digest(purpose: str, data: bytes) -> bytes:
    """SHA-256 of `tagged`."""
    return hashlib.sha256(tagged(purpose, data)).digest()
