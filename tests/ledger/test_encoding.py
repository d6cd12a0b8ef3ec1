"""One byte string a value: what decodes encodes to itself, and nothing else decodes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.ledger.encoding import (
    U8,
    U16,
    U32,
    U64,
    Blob,
    Bytes32,
    Choice,
    Malformed,
    Many,
    Maybe,
    Ordered,
    Text,
    decode,
    digest,
    encode,
    tagged,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Leaf:
    number: U32
    text: Text


@dataclass(frozen=True, slots=True)
class Other:
    key: Bytes32


@dataclass(frozen=True, slots=True)
class Everything:
    a: U8
    b: U16
    c: U64
    blob: Blob
    maybe: Annotated[int | None, Maybe(U16)]
    many: Annotated[tuple[int, ...], Many(U8, 5)]
    some: Annotated[tuple[str, ...], Ordered(Text, 5)]
    choice: Annotated[Leaf | Other, Choice({1: Leaf, 2: Other})]

    def __post_init__(self) -> None:
        if self.a == 255:
            raise ValueError("255 is not allowed")


texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8)
everything = st.builds(
    Everything,
    st.integers(0, 254),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=20),
    st.none() | st.integers(0, 2**16 - 1),
    st.lists(st.integers(0, 255), max_size=5).map(tuple),
    st.sets(texts, max_size=5).map(lambda found: tuple(sorted(found, key=lambda text: (len(text), text)))),
    st.builds(Leaf, st.integers(0, 2**32 - 1), texts) | st.builds(Other, st.binary(min_size=32, max_size=32)),
)


@given(everything)
def test_a_value_survives(value: Everything) -> None:
    assert decode(Everything, encode(value)) == value


@given(everything, st.data())
def test_no_second_spelling(value: Everything, data: st.DataObject) -> None:
    raw = bytearray(encode(value))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(Everything, bytes(raw))
    except Malformed:
        return
    assert encode(other) == raw and other != value


@given(everything, st.binary(min_size=1, max_size=3))
def test_neither_more_nor_less(value: Everything, more: bytes) -> None:
    raw = encode(value)
    with pytest.raises(Malformed):
        decode(Everything, raw + more)
    for size in range(len(raw)):
        with pytest.raises(Malformed):
            decode(Everything, raw[:size])


@given(st.binary(max_size=80))
def test_garbage_never_does_more_than_be_refused(raw: bytes) -> None:
    try:
        assert encode(decode(Everything, raw)) == raw
    except Malformed:
        pass


GOOD = Everything(1, 2, 3, b"", None, (), (), Leaf(1, "a"))


@pytest.mark.parametrize(
    "change",
    [
        {"a": 256}, {"b": -1}, {"many": (1,) * 6}, {"some": ("b", "a")}, {"some": ("a", "a")},
        {"choice": Leaf(1, "a b")}, {"choice": Leaf(1, "é")}, {"choice": Other(b"short")},
        {"blob": bytes(2**16)},
    ],
)  # fmt: skip
def test_what_cannot_be_written(change: dict[str, object]) -> None:
    from dataclasses import replace

    with pytest.raises((ValueError, struct.error)):
        encode(replace(GOOD, **change))  # type: ignore[arg-type]


def test_bytes_are_as_documented() -> None:
    value = Everything(1, 2, 3, b"xy", 4, (5, 6), ("a", "b"), Leaf(7, "z"))
    assert encode(value).hex() == (
        "01" "0002" "0000000000000003" "0002" "7879" "01" "0004" "0002" "05" "06"
        "0002" "000161" "000162" "01" "00000007" "00017a"
    )  # fmt: skip


def test_purposes_never_mix() -> None:
    assert tagged("a", b"") == b"zosnet ledger a\x00"
    assert digest("a", b"b") != digest("ab", b"") and len(digest("a", b"")) == 32
