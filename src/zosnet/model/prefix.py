"""IPv6 prefixes, as the routing tables hold them.

An address is a plain int of 128 bits here: the standard library's address objects cost a microsecond each,
and routing compares thousands of them a second. `ipaddress` values are for the edges.
"""

from ipaddress import IPv6Address
from typing import NamedTuple, Self

from zosnet.model.errors import UsageError

ADDRESS_BITS = 128
_ALL = (1 << ADDRESS_BITS) - 1

#: The network mask of every prefix length, 0 to 128.
MASKS = tuple(_ALL ^ (_ALL >> length) for length in range(ADDRESS_BITS + 1))


class Prefix(NamedTuple):
    """An IPv6 prefix. Build it with `of` or `parse`: the bare constructor trusts that host bits are zero."""

    network: int
    """The 128-bit network address, host bits zero."""
    length: int
    """0 to 128."""

    @classmethod
    def of(cls, address: int | IPv6Address, length: int) -> Self:
        """The prefix of `length` bits that holds `address`, whose host bits are dropped.

        Raises UsageError for a length outside 0 to 128.
        """
        if not 0 <= length <= ADDRESS_BITS:
            raise UsageError(f"a prefix length is 0 to 128, not {length}")
        return cls(int(address) & MASKS[length], length)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "5a6:f0c6::/64"; a bare address is a /128, host bits are dropped.

        Raises UsageError for anything else.
        """
        address, slash, length = text.strip().partition("/")
        try:
            bits = ADDRESS_BITS if not slash else int(length) if length.isascii() and length.isdigit() else -1
            return cls.of(IPv6Address(address), bits)
        except ValueError:
            raise UsageError(
                f"{text!r} is not an IPv6 prefix", remedy="write it as address/length, such as 5a6:f0c6::/64"
            ) from None

    def contains(self, address: int) -> bool:
        """Whether `address`, a 128-bit int, lies in this prefix."""
        return address & MASKS[self.length] == self.network

    def covers(self, other: "Prefix") -> bool:
        """Whether every address of `other` lies in this prefix."""
        return other.length >= self.length and other.network & MASKS[self.length] == self.network

    def packed(self) -> bytes:
        """The network address in 16 bytes, big-endian."""
        return self.network.to_bytes(16, "big")

    def __str__(self) -> str:
        return f"{IPv6Address(self.network)}/{self.length}"


OVERLAY = Prefix(0x04 << 120, 7)
"""400::/7, where every node's address lies."""
