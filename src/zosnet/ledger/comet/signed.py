"""Signed headers of either engine: their bytes, and whether one may follow another.

The first byte says whose a header is:

    1   our own header and its operators' signatures (`ledger/header.py`)
    2   chain (32) ‖ CometBFT's light block, in the one spelling of `ledger/light/rpc.py`

Of CometBFT's header the rest of the ledger sees a part: `root` is its application hash, the state after the
block *before* it; `previous` the hash of the header before it, the chain's id in the first; `time_ms` its
time in whole milliseconds. The operators of the genesis are its validators, each with the power 1, for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from zosnet.ledger.encoding import Malformed
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import Header, SignedHeader, transactions_hash
from zosnet.ledger.header import trouble_of as trouble_of_ours
from zosnet.ledger.light.block import LightBlock, Validator, Validators
from zosnet.ledger.light.canonical import merkle_root
from zosnet.ledger.light.rpc import decode_light_block, encode_light_block
from zosnet.ledger.light.verify import Untrusted, check_block, check_commit

__all__ = [
    "CometHeader",
    "CometSigned",
    "chain_name",
    "content_hash",
    "of_light_block",
    "parse_signed",
    "proven_height",
    "signed_by_comet",
    "trouble_after",
    "trouble_of",
]

_MARK = b"\x02"


@dataclass(frozen=True, slots=True)
class CometHeader(Header):
    """A header of CometBFT, as the rest of the ledger sees headers. `transactions` is its data_hash."""

    block: bytes = b""

    def __post_init__(self) -> None:
        if self.version != 2:
            raise ValueError(f"version {self.version} is not that of CometBFT's headers")

    @property
    def hash(self) -> bytes:
        """CometBFT's own."""
        return self.block


@dataclass(frozen=True, slots=True)
class CometSigned(SignedHeader):
    """A header that a commit of CometBFT's validators is for."""

    light: bytes = b""
    """The light block's bytes."""

    @property
    def block(self) -> LightBlock:
        """The light block."""
        return decode_light_block(self.light)

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return _MARK + self.header.chain + self.light


def chain_name(genesis: Genesis) -> str:
    """CometBFT's name of a ledger: it may have 50 characters."""
    return f"zosnet-{genesis.chain.hex()[:40]}"


def signed_by_comet(chain: bytes, light: bytes) -> CometSigned:
    """A light block as a signed header of a ledger. Raises Malformed; checks no signature."""
    header = decode_light_block(light).header
    if len(header.app_hash) != 32 or len(header.data_hash) != 32 or header.time_ns < 0:
        raise Malformed("a header lacks the hash of the state or of its transactions, or its time")
    view = CometHeader(
        2,
        chain,
        header.height,
        header.time_ns // 1_000_000,
        header.last_block_id.hash or chain,
        header.data_hash,
        header.app_hash,
        header.hash,
    )
    return CometSigned(view, (), light)


def of_light_block(chain: bytes, block: LightBlock) -> CometSigned:
    """The same from a light block that is decoded already."""
    return signed_by_comet(chain, encode_light_block(block))


def parse_signed(raw: bytes) -> SignedHeader:
    """Read the exact bytes of a signed header. Raises Malformed."""
    if raw[:1] != _MARK:
        return SignedHeader.parse(raw)
    if len(raw) < 33:
        raise Malformed("it ends too early")
    return signed_by_comet(raw[1:33], raw[33:])


def proven_height(signed: SignedHeader) -> int:
    """The block whose state a header's root is of: its own, or in CometBFT the one before."""
    return signed.header.height - isinstance(signed, CometSigned)


def content_hash(signed: SignedHeader, transactions: Sequence[bytes]) -> bytes:
    """What a header says of a block's transactions: over these, by the header's engine."""
    if isinstance(signed, CometSigned):
        return merkle_root([sha256(raw).digest() for raw in transactions])
    return transactions_hash(transactions)


@lru_cache(maxsize=16)
def _validators_hash(operators: tuple[bytes, ...]) -> bytes:
    return Validators.of([Validator(key, 1) for key in operators]).hash


def trouble_of(genesis: Genesis, signed: SignedHeader) -> str | None:
    """What keeps a header from being this ledger's; None where nothing does. More than 2/3 must sign."""
    if not isinstance(signed, CometSigned):
        return trouble_of_ours(genesis, signed)
    if signed.header.chain != genesis.chain:
        return "it is of another ledger"
    block = signed.block
    wanted = _validators_hash(genesis.operators)
    if {block.header.validators_hash, block.header.next_validators_hash} != {wanted}:
        return "its validators are not the ledger's operators"
    try:
        check_block(block, chain_name(genesis))
        check_commit(block)
    except Untrusted as error:
        return error.message
    return None


def trouble_after(genesis: Genesis, before: Header | None, signed: SignedHeader) -> str | None:
    """What keeps a header from being the next after `before` (None: the first of all)."""
    header = signed.header
    height, previous = (0, genesis.chain) if before is None else (before.height, before.hash)
    time_ms = genesis.time_ms if before is None else before.time_ms
    if header.height != height + 1:
        return f"its height is {header.height}, not {height + 1}"
    if header.previous != previous:
        return "it does not name the header before it"
    # CometBFT's first block has the time of the genesis itself.
    is_first_of_comet = before is None and isinstance(signed, CometSigned)
    if header.time_ms <= time_ms and not (is_first_of_comet and header.time_ms == time_ms):
        return "its time does not rise"
    return trouble_of(genesis, signed)
