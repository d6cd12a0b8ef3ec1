"""Which votes count: Ed25519 after ZIP 215, as every validator of CometBFT judges them.

The ledger's own rule (`ledger/signature.py`) is narrower: it has no cofactor in its equation, and refuses
points that are of small order or not canonical. All that it accepts is good here as well, so it is asked
first, and by far the most signatures need nothing else. What it refuses is judged by ZIP 215: S below the
group's order, key and R any encoding of a point on the curve, and [8][S]B = [8]R + [8][k]A.

Why the wider rule: which block is final was settled by it. A client with a narrower one could be kept from
every header by a single validator who signs, on purpose, what only the wider rule takes. Why that is safe: a
vote counts for its validator once, whatever its bytes, so a second signature of the same vote gains nothing;
and a key of small order, for which anybody can sign, is in the set only if the operators put it there.
"""

from __future__ import annotations

from hashlib import sha512
from typing import Final

from zosnet.ledger.signature import FIELD, ORDER
from zosnet.ledger.signature import verify as verify_strictly

__all__ = ["verify"]

Point = tuple[int, int, int, int]
"""Extended coordinates (RFC 8032, section 5.1.4): x = X/Z, y = Y/Z, xy = T/Z."""

D: Final = -121665 * pow(121666, -1, FIELD) % FIELD
ROOT_OF_MINUS_1: Final = pow(2, (FIELD - 1) // 4, FIELD)
ZERO: Final[Point] = (0, 1, 1, 0)


def _add(p: Point, q: Point) -> Point:
    a = (p[1] - p[0]) * (q[1] - q[0]) % FIELD
    b = (p[1] + p[0]) * (q[1] + q[0]) % FIELD
    c = 2 * p[3] * q[3] * D % FIELD
    d = 2 * p[2] * q[2] % FIELD
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % FIELD, g * h % FIELD, f * g % FIELD, e * h % FIELD


def _times(n: int, p: Point) -> Point:
    found = ZERO
    while n:
        if n & 1:
            found = _add(found, p)
        p, n = _add(p, p), n >> 1
    return found


def _point(raw: bytes) -> Point | None:
    """The point that 32 bytes encode; y may exceed the field, and −0 is 0 (ZIP 215)."""
    sign, y = raw[31] >> 7, (int.from_bytes(raw, "little") & ((1 << 255) - 1)) % FIELD
    square = (y * y - 1) * pow(D * y * y + 1, -1, FIELD) % FIELD
    x = pow(square, (FIELD + 3) // 8, FIELD)
    if (x * x - square) % FIELD:
        x = x * ROOT_OF_MINUS_1 % FIELD
    if (x * x - square) % FIELD:
        return None
    if x & 1 != sign:
        x = -x % FIELD
    return x, y, 1, x * y % FIELD


BASE: Final = _point((4 * pow(5, -1, FIELD) % FIELD).to_bytes(32, "little"))


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether validators take `signature` for `key`'s of `message`. Never raises. A wrong one: 7 ms."""
    if verify_strictly(key, message, signature):
        return True
    if len(key) != 32 or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    a, r = _point(key), _point(signature[:32])
    if s >= ORDER or a is None or r is None:
        return False
    assert BASE is not None
    k = int.from_bytes(sha512(signature[:32] + key + message).digest(), "little") % ORDER
    x, y, z, t = _times(k, a)
    left = _add(_times(s, BASE), (-x % FIELD, y, z, -t % FIELD))
    x, y, z, _ = _times(8, _add(left, (-r[0] % FIELD, r[1], 1, -r[3] % FIELD)))
    return x % FIELD == 0 and (y - z) % FIELD == 0
