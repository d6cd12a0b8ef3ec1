"""The one rule for signatures, stricter than any backend, so that every backend agrees.

Ed25519 as in RFC 8032 with the equation that has no cofactor, and before it: S is below the group's order;
key and R are canonical points (y below 2²⁵⁵ − 19, no sign without an x); neither is one of the eight points
of small order. A backend that multiplies by the cofactor differs only for keys with a small component that
their owner put there on purpose; `tests/ledger/signature_vectors.json` has cases a backend must get right.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from zosnet._core import is_point

__all__ = ["Signer", "Verifier", "verify"]

ORDER: Final = 2**252 + 27742317777372353535851937790883648493
FIELD: Final = 2**255 - 19

_ROOT_OF_8: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
#: The y of every point whose order divides 8 (0, 1, −1, and two of order 8), with either sign.
_SMALL: Final = frozenset({0, 1, FIELD - 1, _ROOT_OF_8, FIELD - _ROOT_OF_8})


def _is_canonical(raw: bytes) -> bool:
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    return len(raw) == 32 and y < FIELD and y not in _SMALL


@lru_cache(maxsize=8192)
def _key(raw: bytes) -> Ed25519PublicKey | None:
    return Ed25519PublicKey.from_public_bytes(raw) if is_point(raw) else None


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is `key`'s of `message`, by the rule above. Never raises."""
    if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= ORDER:
        return False
    if not _is_canonical(signature[:32]):
        return False
    known = _key(key)
    if known is None:
        return False
    try:
        known.verify(signature, message)
    except InvalidSignature:
        return False
    return True


class Verifier:
    """`verify`, once for each signature in a process: what was good when it arrived is good in its block."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._good: dict[bytes, None] = {}
        self.checked = 0

    def __call__(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """As `verify`."""
        mark = self.mark(key, message, signature)
        if mark in self._good:
            return True
        self.checked += 1
        if not verify(key, message, signature):
            return False
        self._remember(mark)
        return True

    def mark(self, key: bytes, message: bytes, signature: bytes) -> bytes:
        """What one of them is remembered by.

        The whole hash: whoever found two claims with one mark would have a wrong signature taken for a good
        one, where the good one was seen before. That must cost as much as to break a key.
        """
        return hashlib.sha256(key + signature + message).digest()

    def _remember(self, mark: bytes) -> None:
        if len(self._good) >= self._limit:
            # Many at once: a dictionary that loses one at its front for each at its end is slow to find it.
            for old in list(islice(self._good, max(1, self._limit // 8))):
                del self._good[old]
        self._good[mark] = None


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """A secret Ed25519 key: 32 bytes that never reach a log or a traceback."""

    raw: bytes = field(repr=False)

    @classmethod
    def derive(cls, secret: bytes, purpose: str) -> Signer:
        """The key for one purpose that comes from a secret kept for several."""
        return cls(blake3(secret, derive_key_context=f"zosnet ledger {purpose}").digest())

    @property
    def public(self) -> bytes:
        """The public half, 32 bytes."""
        return _public(self.raw)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return _private(self.raw).sign(message)


@lru_cache(maxsize=4096)
def _private(raw: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(raw)


@lru_cache(maxsize=4096)
def _public(raw: bytes) -> bytes:
    return _private(raw).public_key().public_bytes_raw()
