"""CometBFT's canonical bytes: protobuf as its generated code writes it, and the Merkle root over leaves.

Only what is hashed or signed is written here, so nothing is read back: a field that is zero or empty is left
out, a nested message that isn't nullable is written even when it is empty (proto3, gogoproto).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from zosnet.ledger.comet.protobuf import varint

__all__ = ["bytes_field", "fixed_field", "int_field", "merkle_root", "message_field", "timestamp"]

_VARINT, _FIXED64, _LENGTH = 0, 1, 2
SECOND_NS = 1_000_000_000


def _tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def int_field(number: int, value: int) -> bytes:
    """An int64, uint64, int32, uint32 or enum; nothing for 0."""
    return _tag(number, _VARINT) + varint(value) if value else b""


def fixed_field(number: int, value: int) -> bytes:
    """An sfixed64; nothing for 0."""
    return _tag(number, _FIXED64) + value.to_bytes(8, "little", signed=True) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    """Bytes or a string; nothing where it is empty."""
    return message_field(number, value) if value else b""


def message_field(number: int, value: bytes) -> bytes:
    """A message that isn't nullable."""
    return _tag(number, _LENGTH) + varint(len(value)) + value


def timestamp(time_ns: int) -> bytes:
    """google.protobuf.Timestamp of nanoseconds since 1970; before it, the nanoseconds still count up."""
    seconds, nanos = divmod(time_ns, SECOND_NS)
    return int_field(1, seconds) + int_field(2, nanos)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root as in RFC 6962, section 2.1: leaves after 00, nodes after 01, the left side a power of two."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()
