"""Our own headers: what an operator of an embedded ledger signs for each block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zosnet.ledger.encoding import U8, U64, Bytes32, decode, digest, encode, tagged
from zosnet.ledger.fields import Signature, Signatures
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.signature import Signer, verify

__all__ = ["Header", "SignedHeader", "sign_header", "transactions_hash", "trouble_of"]


@dataclass(frozen=True, slots=True)
class Header:
    """A block in brief. The first one's `previous` is the chain's id."""

    version: U8
    chain: Bytes32
    height: U64
    time_ms: U64
    previous: Bytes32
    transactions: Bytes32
    root: Bytes32  #: of the state after the block

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ValueError(f"version {self.version} of headers is unknown")

    @property
    def hash(self) -> bytes:
        """What the next header names, and stamps do."""
        return digest("header v1", encode(self))


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header and its operators' signatures."""

    header: Header
    signatures: Signatures

    @classmethod
    def parse(cls, raw: bytes) -> SignedHeader:
        """Read the exact bytes of one. Raises Malformed."""
        return decode(cls, raw)

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return encode(self)


def header_bytes(header: Header) -> bytes:
    """What an operator signs."""
    return tagged("header signature v1", encode(header))


def sign_header(header: Header, operator: Signer, index: int = 0) -> SignedHeader:
    """Signed by the operator in this place of the genesis."""
    return SignedHeader(header, (Signature(index, operator.sign(header_bytes(header))),))


def transactions_hash(raws: Iterable[bytes]) -> bytes:
    """The hash over a block's transactions, each with its length."""
    return digest("transactions v1", b"".join(len(raw).to_bytes(4) + raw for raw in raws))


def trouble_of(genesis: Genesis, signed: SignedHeader) -> str | None:
    """What keeps a header from being this ledger's; None where nothing does. More than 2/3 must sign."""
    header, operators = signed.header, genesis.operators
    if header.chain != genesis.chain:
        return "it is of another ledger"
    indexes = [each.index for each in signed.signatures]
    if len(set(indexes)) != len(indexes) or any(index >= len(operators) for index in indexes):
        return "a signature is by no operator, or by one twice"
    if 3 * len(indexes) <= 2 * len(operators):
        return "too few operators have signed it"
    message = header_bytes(header)
    if all(verify(operators[each.index], message, each.raw) for each in signed.signatures):
        return None
    return "a signature is wrong"
