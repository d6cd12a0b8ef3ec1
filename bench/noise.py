"""The Noise protocol's symmetric state (section 5.2 of its specification) and its keys, in Python.

Slow and plain, and nothing of it is the product's: for callers of a benchmark, and tests that compute vectors
again.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agree(secret: bytes, key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(key))


class Symmetric:
    """With ChaChaPoly and BLAKE2s."""

    def __init__(self, name: str, prologue: bytes) -> None:
        self.h = self.ck = blake2s(name.encode()).digest()
        self.key = b""
        self.n = 0
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.h = blake2s(self.h + data).digest()

    def hkdf(self, material: bytes) -> tuple[bytes, bytes]:
        temp = hmac.digest(self.ck, material, "blake2s")
        first = hmac.digest(temp, b"\x01", "blake2s")
        return first, hmac.digest(temp, first + b"\x02", "blake2s")

    def mix_key(self, material: bytes) -> None:
        self.ck, self.key = self.hkdf(material)
        self.n = 0

    def clear(self, data: bytes) -> bytes:
        """Bytes that are written as they are."""
        self.mix_hash(data)
        return data

    def sealed(self, plain: bytes) -> bytes:
        """What is written under the key."""
        return self.clear(ChaCha20Poly1305(self.key).encrypt(self._nonce(), plain, self.h))

    def open(self, data: bytes) -> bytes:
        """What was written, under the key if there is one."""
        plain = ChaCha20Poly1305(self.key).decrypt(self._nonce(), data, self.h) if self.key else data
        self.mix_hash(data)
        return plain

    def _nonce(self) -> bytes:
        self.n += 1
        return bytes(4) + (self.n - 1).to_bytes(8, "little")
