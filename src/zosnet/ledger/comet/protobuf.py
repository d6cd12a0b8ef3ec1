"""Protocol Buffers (proto3), as far as CometBFT's messages need them: dataclasses whose fields have numbers.

    Whole(n)         int64, uint64, int32, bool, enum: a varint, negative ones as two's complement of 64 bits
    Bytes(n)         bytes
    String(n)        UTF-8
    Sub(n, kind)     a message, None where it is absent
    Several(field)   the same field any number of times, as a tuple

Unknown fields are skipped, as the rules of the format want it; a field that comes again replaces the first; a
value of zero length or zero is not written. Source: protobuf.dev, "Encoding" and "Proto3".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

from zosnet.ledger.encoding import Malformed

__all__ = ["Bytes", "Several", "String", "Sub", "Whole", "decode", "encode", "read_varint", "varint"]

_VARINT, _FIXED64, _BLOB, _FIXED32 = 0, 1, 2, 5
_MASK64: Final = (1 << 64) - 1


def varint(value: int) -> bytes:
    """A number of at most 64 bits, seven bits a byte, the lowest first."""
    value &= _MASK64
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at an offset, as unsigned 64 bits, and the offset behind it. Raises Malformed."""
    try:
        byte = data[at]
        if byte < 0x80:
            return byte, at + 1
        value, shift = byte & 0x7F, 7
        while shift < 70:
            at += 1
            byte = data[at]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _MASK64, at + 1
            shift += 7
    except IndexError:
        raise Malformed("it ends within a number") from None
    raise Malformed("a number has more than ten bytes")


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """How one field of a message is written, and what it is where it is absent."""

    number: int
    wire: int
    write: Callable[[Any], bytes]
    """The bytes behind the tag and, for a blob, behind the length."""
    read: Callable[[Any], Any]
    """From the varint, or the blob."""
    default: Any
    is_repeated: bool = False


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def Whole(number: int) -> Field:
    """An integer, a truth value or an enumeration."""
    return Field(number, _VARINT, varint, _signed, 0)


def Bytes(number: int) -> Field:
    """A byte string."""
    return Field(number, _BLOB, bytes, bytes, b"")


def String(number: int) -> Field:
    """A text."""
    return Field(number, _BLOB, lambda text: str(text).encode(), _text, "")


def Sub(number: int, kind: type[Any]) -> Field:
    """A message within."""
    return Field(number, _BLOB, encode, lambda raw: decode(kind, raw), None)


def Several(field: Field) -> Field:
    """Any number of them."""
    return dataclasses.replace(field, default=(), is_repeated=True)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("a text is not UTF-8") from None


_SHAPES: dict[type[Any], list[tuple[str, Field]]] = {}


def _shape(kind: type[Any]) -> list[tuple[str, Field]]:
    found = _SHAPES.get(kind)
    if found is None:
        hints = get_type_hints(kind, include_extras=True)
        found = [(name, _field(hint)) for name, hint in hints.items()]
        _SHAPES[kind] = found
    return found


def _field(hint: Any) -> Field:
    assert get_origin(hint) is Annotated
    return next(each for each in get_args(hint)[1:] if isinstance(each, Field))


def encode(message: Any) -> bytes:
    """The bytes of a message, its fields by ascending number where the class has them so."""
    parts: list[bytes] = []
    for name, field in _shape(type(message)):
        value = getattr(message, name)
        if value == field.default and (value is None or not field.is_repeated):
            continue
        tag = varint(field.number << 3 | field.wire)
        for each in value if field.is_repeated else (value,):
            raw = field.write(each)
            parts.append(tag + varint(len(raw)) + raw if field.wire == _BLOB else tag + raw)
    return b"".join(parts)


T = TypeVar("T")


def decode(kind: type[T], data: bytes) -> T:
    """The message that `data` is. Raises Malformed."""
    shape = {field.number: (name, field) for name, field in _shape(kind)}
    found: dict[str, Any] = {}
    at, end = 0, len(data)
    while at < end:
        tag, at = read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == _VARINT:
            value, at = read_varint(data, at)
        elif wire == _BLOB:
            size, at = read_varint(data, at)
            value, at = data[at : at + size], at + size
        elif wire in {_FIXED64, _FIXED32}:
            size = 8 if wire == _FIXED64 else 4
            value, at = data[at : at + size], at + size
        else:
            raise Malformed(f"a field of the wire type {wire}")
        if at > end:
            raise Malformed("it ends within a field")
        if not number:
            raise Malformed("a field has the number 0")
        if number not in shape:
            continue
        name, field = shape[number]
        if wire != field.wire:
            raise Malformed(f"field {number} is of the wire type {wire}, not {field.wire}")
        if field.is_repeated:
            found.setdefault(name, []).append(field.read(value))
        else:
            found[name] = field.read(value)
    values = {}
    for name, field in shape.values():
        got = found.get(name, field.default)
        values[name] = tuple(got) if field.is_repeated else got
    return kind(**values)
