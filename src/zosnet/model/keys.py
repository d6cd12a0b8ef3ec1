"""X25519 keys, and the overlay address that comes from one.

A node has one secret. Its X25519 public key names it on the network; its address is a hash of that key, so
nobody hands addresses out; an Ed25519 key derived from the same secret signs where signing is needed.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Self

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from zosnet.model.errors import PeerError, UsageError
from zosnet.model.prefix import Prefix

KEY_BYTES = 32
SUBNET_BITS = 64

#: BLAKE3 key derivation context of the signing key. Part of the identity of every node: it never changes.
_SIGNING_CONTEXT = "zosnet signing v1"


@lru_cache(maxsize=8192)
def address_of(key: bytes) -> int:
    """The overlay address, as an int, of a raw X25519 public key (Mycelium 0.5.0 and later).

    The first 16 bytes of the key's BLAKE3 hash, the first of which becomes 4, or 5 where it has an odd
    number of one bits. Cached, since every Update that arrives asks for it; 8192 entries are about 1.5 MB.
    """
    digest = blake3(key).digest(16)
    first = 4 | digest[0].bit_count() & 1
    return first << 120 | int.from_bytes(digest[1:], "big")


@dataclass(frozen=True, slots=True, order=True)
class PublicKey:
    """An X25519 public key: who a node is."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != KEY_BYTES:
            raise UsageError(f"a public key has {KEY_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read 64 hexadecimal digits. Raises UsageError for anything else."""
        if len(text) == 2 * KEY_BYTES and text.isascii() and text.isalnum():
            try:
                return cls(bytes.fromhex(text))
            except ValueError:
                pass
        raise UsageError(
            f"{text!r} is not a public key",
            remedy="a public key is 64 hexadecimal digits; `zosnet key` shows yours",
        )

    @property
    def hex(self) -> str:
        """64 lower-case hexadecimal digits, as Mycelium writes keys."""
        return self.raw.hex()

    def address(self) -> IPv6Address:
        """The overlay address of this key's node, always inside 400::/7."""
        return IPv6Address(address_of(self.raw))

    def subnet(self) -> Prefix:
        """The /64 that the node announces, of which its address is one."""
        return Prefix.of(address_of(self.raw), SUBNET_BITS)

    def __str__(self) -> str:
        return self.hex


@dataclass(frozen=True, slots=True, eq=False)
class SecretKey:
    """An X25519 private key. Its bytes never reach a log, a traceback, or an `==` that leaks timing."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.raw) != KEY_BYTES:
            raise UsageError(f"a secret key has {KEY_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def generate(cls, entropy: bytes) -> Self:
        """A new key out of 32 bytes from the operating system's random source.

        They are the key: X25519 clamps them when it uses them, so they stay on disk as they came.
        """
        return cls(entropy)

    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(X25519PrivateKey.from_private_bytes(self.raw).public_key().public_bytes_raw())

    def shared(self, peer: PublicKey) -> bytes:
        """The raw X25519 secret shared with `peer`, 32 bytes.

        Raises PeerError for a low-order key, with which everybody would share the same secret (RFC 7748,
        section 6.1).
        """
        try:
            own = X25519PrivateKey.from_private_bytes(self.raw)
            return own.exchange(X25519PublicKey.from_public_bytes(peer.raw))
        except ValueError:
            raise PeerError(f"the public key {peer.hex} is of low order") from None

    def signing_public(self) -> bytes:
        """The public half, 32 bytes, of the Ed25519 key that comes from this secret."""
        return self._signing().public_key().public_bytes_raw()

    def _signing(self) -> Ed25519PrivateKey:
        seed = blake3(self.raw, derive_key_context=_SIGNING_CONTEXT).digest()
        return Ed25519PrivateKey.from_private_bytes(seed)
