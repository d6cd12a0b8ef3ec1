"""Signed headers of either engine, as bytes and back: the first byte says whose it is.

1   our own header and its operators' signatures (`header.py`)
2   chain (32) ‖ CometBFT's light block
"""

from __future__ import annotations

from dataclasses import dataclass

from zosnet.ledger.comet import light_block
from zosnet.ledger.comet.light_block import LightBlock
from zosnet.ledger.encoding import Malformed
from zosnet.ledger.header import SignedHeader

__all__ = ["CometSigned", "parse_signed", "signed_by_comet"]


@dataclass(frozen=True, slots=True)
class CometSigned(SignedHeader):
    """A header that a commit of CometBFT's validators is for."""

    light: bytes = b""
    """The light block's bytes."""

    @property
    def block(self) -> LightBlock:
        """The light block."""
        return light_block.parse(self.light)

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return b"\x02" + self.header.chain + self.light


def signed_by_comet(chain: bytes, light: bytes) -> CometSigned:
    """A light block as a signed header of a ledger. Raises Malformed; checks no signature."""
    return CometSigned(light_block.view(chain, light_block.parse(light)), (), light)


def parse_signed(raw: bytes) -> SignedHeader:
    """Read the exact bytes of one. Raises Malformed."""
    if raw[:1] != b"\x02":
        return SignedHeader.parse(raw)
    if len(raw) < 33:
        raise Malformed("it ends too early")
    return signed_by_comet(raw[1:33], raw[33:])
