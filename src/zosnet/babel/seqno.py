"""Sequence numbers: 16 bits on a circle (RFC 8966, section 3.2.1)."""

SEQNO_MASK = 0xFFFF
_HALF = 0x8000


def ahead(a: int, b: int) -> int:
    """How many steps `a` is after `b`, 0 to 65535: above 32767 it is rather before it."""
    return (a - b) & SEQNO_MASK


def is_newer(a: int, b: int) -> bool:
    """Whether `a` comes after `b`. At a distance of exactly 32768 neither comes after the other."""
    return 0 < (a - b) & SEQNO_MASK < _HALF


def next_after(seqno: int) -> int:
    """The seqno that follows."""
    return (seqno + 1) & SEQNO_MASK
