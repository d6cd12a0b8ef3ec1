"""CometBFT's signed headers with the validators that signed: what a light client checks, as one message.

`LightBlock` is CometBFT's own (proto/tendermint/types/types.proto, validator.proto), made here from the
answers of its RPC. `view` is a header of it as the rest of the ledger sees headers; it checks nothing.

    root        the state after the block *before*: CometBFT's app_hash
    previous    the hash of the header before; the chain's id in the first one
    time        that of the block, in whole milliseconds
"""

from __future__ import annotations

import base64
import calendar
import re
import time
from dataclasses import dataclass
from typing import Annotated, Any

from zosnet.ledger.comet.abci import PublicKey, Time
from zosnet.ledger.comet.protobuf import Bytes, Several, String, Sub, Whole, decode, encode
from zosnet.ledger.encoding import Malformed
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import Header

__all__ = ["BlockHeader", "CometHeader", "Commit", "LightBlock", "chain_name", "from_rpc", "parse", "view"]


@dataclass(frozen=True, slots=True)
class Version:
    """Of the block's format, and of the application."""

    block: Annotated[int, Whole(1)] = 0
    app: Annotated[int, Whole(2)] = 0


@dataclass(frozen=True, slots=True)
class PartSet:
    """The pieces that a block is sent in."""

    total: Annotated[int, Whole(1)] = 0
    hash: Annotated[bytes, Bytes(2)] = b""


@dataclass(frozen=True, slots=True)
class BlockId:
    """A block's name."""

    hash: Annotated[bytes, Bytes(1)] = b""
    parts: Annotated[PartSet | None, Sub(2, PartSet)] = None


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """CometBFT's header."""

    version: Annotated[Version | None, Sub(1, Version)] = None
    chain_id: Annotated[str, String(2)] = ""
    height: Annotated[int, Whole(3)] = 0
    time: Annotated[Time | None, Sub(4, Time)] = None
    last_block_id: Annotated[BlockId | None, Sub(5, BlockId)] = None
    last_commit_hash: Annotated[bytes, Bytes(6)] = b""
    data_hash: Annotated[bytes, Bytes(7)] = b""
    validators_hash: Annotated[bytes, Bytes(8)] = b""
    next_validators_hash: Annotated[bytes, Bytes(9)] = b""
    consensus_hash: Annotated[bytes, Bytes(10)] = b""
    app_hash: Annotated[bytes, Bytes(11)] = b""
    last_results_hash: Annotated[bytes, Bytes(12)] = b""
    evidence_hash: Annotated[bytes, Bytes(13)] = b""
    proposer_address: Annotated[bytes, Bytes(14)] = b""


@dataclass(frozen=True, slots=True)
class CommitSig:
    """One validator's vote. Flags: 1 absent, 2 for the block, 3 for none."""

    flag: Annotated[int, Whole(1)] = 0
    address: Annotated[bytes, Bytes(2)] = b""
    time: Annotated[Time | None, Sub(3, Time)] = None
    signature: Annotated[bytes, Bytes(4)] = b""


@dataclass(frozen=True, slots=True)
class Commit:
    """The votes for a block."""

    height: Annotated[int, Whole(1)] = 0
    round: Annotated[int, Whole(2)] = 0
    block_id: Annotated[BlockId | None, Sub(3, BlockId)] = None
    signatures: Annotated[tuple[CommitSig, ...], Several(Sub(4, CommitSig))] = ()


@dataclass(frozen=True, slots=True)
class SignedBlockHeader:
    """A header and the votes for it."""

    header: Annotated[BlockHeader | None, Sub(1, BlockHeader)] = None
    commit: Annotated[Commit | None, Sub(2, Commit)] = None


@dataclass(frozen=True, slots=True)
class BlockValidator:
    """One who may vote."""

    address: Annotated[bytes, Bytes(1)] = b""
    pub_key: Annotated[PublicKey | None, Sub(2, PublicKey)] = None
    power: Annotated[int, Whole(3)] = 0
    priority: Annotated[int, Whole(4)] = 0


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """All who may vote on a block."""

    validators: Annotated[tuple[BlockValidator, ...], Several(Sub(1, BlockValidator))] = ()
    total_power: Annotated[int, Whole(3)] = 0


@dataclass(frozen=True, slots=True)
class LightBlock:
    """All that a light client needs of a block."""

    signed_header: Annotated[SignedBlockHeader | None, Sub(1, SignedBlockHeader)] = None
    validators: Annotated[ValidatorSet | None, Sub(2, ValidatorSet)] = None

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return encode(self)


@dataclass(frozen=True, slots=True)
class CometHeader(Header):
    """A header of CometBFT, as the rest of the ledger sees headers."""

    block: bytes = b""

    def __post_init__(self) -> None:
        if self.version != 2:
            raise ValueError(f"version {self.version} is not that of CometBFT's headers")

    @property
    def hash(self) -> bytes:
        """CometBFT's own."""
        return self.block


def chain_name(genesis: Genesis) -> str:
    """CometBFT's name of a ledger: it may have 50 characters."""
    return f"zosnet-{genesis.chain.hex()[:40]}"


def parse(raw: bytes) -> LightBlock:
    """The light block that `raw` is. Raises Malformed where a part is missing that every one has."""
    block = decode(LightBlock, raw)
    signed = block.signed_header
    if signed is None or signed.header is None or signed.commit is None or block.validators is None:
        raise Malformed("a light block lacks its header, its votes or its validators")
    return block


def view(chain: bytes, block: LightBlock) -> CometHeader:
    """The header as the rest of the ledger sees it. Nothing is checked but its form: raises Malformed."""
    signed = block.signed_header
    assert signed is not None and signed.header is not None and signed.commit is not None
    header = signed.header
    before = header.last_block_id.hash if header.last_block_id else b""
    name = signed.commit.block_id.hash if signed.commit.block_id else b""
    if {len(name), len(header.app_hash), len(header.data_hash)} != {32} or len(before) not in {0, 32}:
        raise Malformed("a hash in a light block has another length")
    if header.height < 1 or header.time is None or header.time.seconds < 0:
        raise Malformed("a light block is of no height or no time")
    return CometHeader(
        2, chain, header.height, header.time.ms, before or chain, header.data_hash, header.app_hash, name
    )


def from_rpc(commit: dict[str, Any], validators: list[dict[str, Any]]) -> LightBlock:
    """From the answers of RPC's `commit` and `validators`. Raises Malformed."""
    try:
        signed = commit["signed_header"]
        header, votes = signed["header"], signed["commit"]
        return LightBlock(
            SignedBlockHeader(
                BlockHeader(
                    Version(int(header["version"].get("block", 0)), int(header["version"].get("app", 0))),
                    header["chain_id"],
                    int(header["height"]),
                    _time(header["time"]),
                    _block_id(header["last_block_id"]),
                    *(
                        bytes.fromhex(header[name])
                        for name in (
                            "last_commit_hash", "data_hash", "validators_hash", "next_validators_hash",
                            "consensus_hash", "app_hash", "last_results_hash", "evidence_hash",
                            "proposer_address",
                        )
                    ),
                ),
                Commit(
                    int(votes["height"]),
                    int(votes["round"]),
                    _block_id(votes["block_id"]),
                    tuple(map(_vote, votes["signatures"])),
                ),
            ),
            ValidatorSet(tuple(map(_validator, validators)), sum(int(v["voting_power"]) for v in validators)),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"CometBFT's answer is no signed header: {error}") from None


def _block_id(found: dict[str, Any]) -> BlockId:
    parts = found["parts"]
    return BlockId(bytes.fromhex(found["hash"]), PartSet(int(parts["total"]), bytes.fromhex(parts["hash"])))


def _vote(found: dict[str, Any]) -> CommitSig:
    return CommitSig(
        int(found["block_id_flag"]),
        bytes.fromhex(found["validator_address"]),
        _time(found["timestamp"]),
        base64.b64decode(found["signature"] or "", validate=True),
    )


def _validator(found: dict[str, Any]) -> BlockValidator:
    key = PublicKey(base64.b64decode(found["pub_key"]["value"], validate=True))
    return BlockValidator(
        bytes.fromhex(found["address"]), key, int(found["voting_power"]), int(found["proposer_priority"])
    )


def _time(text: str) -> Time:
    """RFC 3339 in UTC, with up to nine digits behind the point. Year 1 is CometBFT's "no time"."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", text)
    if match is None:
        raise ValueError(f"{text!r} is no time")
    seconds = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    return Time(seconds, int((match[2] or "").ljust(9, "0")))
