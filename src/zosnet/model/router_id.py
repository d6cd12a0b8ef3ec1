"""Router ids: who originates a route, and since which start of its process."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from zosnet.model.errors import UsageError
from zosnet.model.keys import KEY_BYTES, PublicKey, address_of
from zosnet.model.prefix import Prefix

ROUTER_ID_BYTES = 40
_RANDOM_BYTES = 6


@dataclass(frozen=True, slots=True, eq=False)
class RouterId:
    """The originator of a route: public key (32) ‖ zone (2) ‖ random (6), as Mycelium carries it.

    `random` is drawn at each start, so a restarted node is a new source and its seqno may begin anew.
    `zone` is 0 at stock nodes. Equality is over all 40 bytes. Hashing costs a dictionary nothing: bytes
    remember their hash.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != ROUTER_ID_BYTES:
            raise UsageError(f"a router id has {ROUTER_ID_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def of(cls, public: PublicKey, zone: int, random: bytes) -> Self:
        """Compose one. Raises UsageError unless zone fits 16 bits and random is 6 bytes."""
        if not 0 <= zone <= 0xFFFF or len(random) != _RANDOM_BYTES:
            raise UsageError("a router id takes a zone of 16 bits and 6 random bytes")
        return cls(public.raw + zone.to_bytes(2, "big") + random)

    @property
    def public_key(self) -> PublicKey:
        """The key of the node, which owns the prefix that holds the key's address."""
        return PublicKey(self.raw[:KEY_BYTES])

    @property
    def address(self) -> int:
        """The overlay address of the node, as a 128-bit int."""
        return address_of(self.raw[:KEY_BYTES])

    @property
    def subnet(self) -> Prefix:
        """The /64 of the node."""
        return self.public_key.subnet()

    @property
    def zone(self) -> int:
        """16 bits that forwarders carry verbatim: capabilities of the node, 0 at stock Mycelium."""
        return int.from_bytes(self.raw[KEY_BYTES : KEY_BYTES + 2], "big")

    @property
    def random(self) -> bytes:
        """6 bytes, new at each start of the process."""
        return self.raw[KEY_BYTES + 2 :]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, RouterId) and self.raw == other.raw)

    def __hash__(self) -> int:
        return hash(self.raw)

    def __str__(self) -> str:
        return f"{self.raw[:32].hex()}-{self.raw[32:34].hex()}-{self.raw[34:].hex()}"


@lru_cache(maxsize=8192)
def interned(raw: bytes) -> RouterId:
    """The RouterId of 40 bytes, the same object for the same bytes while it is among the last 8192 asked for.

    Identity is what a dictionary compares first, so tables keyed by router id rarely compare bytes at all.
    """
    return RouterId(raw)
