"""Light blocks: a header, the commit that signed it, and the validators who could (CometBFT 0.38 to 0.40).

A value that exists is well formed: sizes, ranges, the order of validators. Whether its parts belong together
and who signed is `verify`'s to say. Rules and limits are those of CometBFT's `types` package and of its
specification (spec/core/data_structures.md); keys are Ed25519 only.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256

from zosnet.ledger.comet.protobuf import varint
from zosnet.ledger.light.canonical import (
    SECOND_NS,
    bytes_field,
    fixed_field,
    int_field,
    merkle_root,
    message_field,
    timestamp,
)

__all__ = [
    "NO_BLOCK",
    "BlockId",
    "Commit",
    "CommitSig",
    "Flag",
    "Header",
    "LightBlock",
    "Validator",
    "Validators",
]

#: What an absent time is: the first moment of the year 1.
NO_TIME_NS = -62_135_596_800 * SECOND_NS
END_OF_TIME_NS = 253_402_300_800 * SECOND_NS
MOST_POWER = (2**63 - 1) // 8
#: As many votes as CometBFT allows (types.MaxVotesCount).
MOST_VALIDATORS = 10_000
LONGEST_CHAIN_ID = 50
PRECOMMIT = 2


def _want(claim: bool, text: str) -> None:
    if not claim:
        raise ValueError(text)


def _is_hash(raw: bytes) -> bool:
    return len(raw) in (0, 32)


@dataclass(frozen=True, slots=True)
class BlockId:
    """A block's hash, and the parts that it was sent in."""

    hash: bytes
    parts_total: int
    parts_hash: bytes

    def __post_init__(self) -> None:
        _want(_is_hash(self.hash) and _is_hash(self.parts_hash), "a hash doesn't have 32 bytes")
        _want(0 <= self.parts_total < 2**32, "the number of parts is out of range")

    @property
    def is_whole(self) -> bool:
        """Whether it names a block."""
        return len(self.hash) == len(self.parts_hash) == 32 and self.parts_total > 0

    @property
    def raw(self) -> bytes:
        """As it is hashed and signed."""
        parts = int_field(1, self.parts_total) + bytes_field(2, self.parts_hash)
        return bytes_field(1, self.hash) + message_field(2, parts)


NO_BLOCK = BlockId(b"", 0, b"")


@dataclass(frozen=True, slots=True)
class Header:
    """A block in brief. `app_hash` is the state's root after the block *before* this one."""

    block_version: int
    app_version: int
    chain_id: str
    height: int
    time_ns: int  #: since 1970
    last_block_id: BlockId
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes
    last_results_hash: bytes
    evidence_hash: bytes
    proposer_address: bytes

    def __post_init__(self) -> None:
        _want(0 <= self.block_version < 2**64 and 0 <= self.app_version < 2**64, "a version is out of range")
        _want(0 < len(self.chain_id) <= LONGEST_CHAIN_ID, "a chain's id has 1 to 50 characters")
        _want(all("!" <= char <= "~" for char in self.chain_id), "a chain's id is printable ASCII")
        _want(0 < self.height < 2**63, "a height is out of range")
        _want(NO_TIME_NS <= self.time_ns < END_OF_TIME_NS, "a time is out of range")
        _want(
            all(
                map(
                    _is_hash,
                    (
                        self.last_commit_hash,
                        self.data_hash,
                        self.consensus_hash,
                        self.last_results_hash,
                        self.evidence_hash,
                    ),
                )
            ),
            "a hash doesn't have 32 bytes",
        )
        _want(
            len(self.validators_hash) == len(self.next_validators_hash) == 32,
            "the hash of the validators is missing",
        )
        _want(len(self.proposer_address) == 20, "an address doesn't have 20 bytes")

    @property
    def hash(self) -> bytes:
        """The Merkle root over the 14 fields, each as a protobuf of its own."""
        return merkle_root(
            [
                int_field(1, self.block_version) + int_field(2, self.app_version),
                bytes_field(1, self.chain_id.encode("ascii")),
                int_field(1, self.height),
                timestamp(self.time_ns),
                self.last_block_id.raw,
                bytes_field(1, self.last_commit_hash),
                bytes_field(1, self.data_hash),
                bytes_field(1, self.validators_hash),
                bytes_field(1, self.next_validators_hash),
                bytes_field(1, self.consensus_hash),
                bytes_field(1, self.app_hash),
                bytes_field(1, self.last_results_hash),
                bytes_field(1, self.evidence_hash),
                bytes_field(1, self.proposer_address),
            ]
        )


class Flag(IntEnum):
    """What a validator's precommit was for."""

    ABSENT = 1
    COMMIT = 2
    NIL = 3


@dataclass(frozen=True, slots=True)
class CommitSig:
    """One validator's precommit. An absent one has nothing else."""

    flag: Flag
    address: bytes = b""
    time_ns: int = NO_TIME_NS
    signature: bytes = b""

    def __post_init__(self) -> None:
        _want(NO_TIME_NS <= self.time_ns < END_OF_TIME_NS, "a time is out of range")
        if self.flag is Flag.ABSENT:
            is_empty = not self.address and not self.signature and self.time_ns == NO_TIME_NS
            _want(is_empty, "an absent precommit has content")
            return
        _want(len(self.address) == 20, "an address doesn't have 20 bytes")
        _want(len(self.signature) == 64, "a signature doesn't have 64 bytes")


@dataclass(frozen=True, slots=True)
class Commit:
    """The precommits of one round for a block, in the order of the validators."""

    height: int
    round: int
    block_id: BlockId
    signatures: tuple[CommitSig, ...]

    def __post_init__(self) -> None:
        _want(0 < self.height < 2**63, "a height is out of range")
        _want(0 <= self.round < 2**31, "a round is out of range")
        _want(self.block_id.is_whole, "a commit names no block")
        _want(
            0 < len(self.signatures) <= MOST_VALIDATORS, f"a commit has 1 to {MOST_VALIDATORS:,} precommits"
        )

    def sign_bytes(self, chain_id: str, vote: CommitSig) -> bytes:
        """What the validator of this vote signed: a CanonicalVote after its length."""
        block_id = self.block_id if vote.flag is Flag.COMMIT else None
        return vote_sign_bytes(chain_id, PRECOMMIT, (self.height, self.round), block_id, vote.time_ns)


def vote_sign_bytes(
    chain_id: str, kind: int, place: tuple[int, int], block_id: BlockId | None, time_ns: int
) -> bytes:
    """A CanonicalVote after its length. `place` is height and round, `block_id` is None for nil."""
    height, round_ = place
    vote = (
        int_field(1, kind)
        + fixed_field(2, height)
        + fixed_field(3, round_)
        + (b"" if block_id is None else message_field(4, block_id.raw))
        + message_field(5, timestamp(time_ns))
        + bytes_field(6, chain_id.encode("ascii"))
    )
    return varint(len(vote)) + vote


@dataclass(frozen=True, slots=True)
class Validator:
    """An Ed25519 key, and how much its vote weighs."""

    key: bytes
    power: int

    def __post_init__(self) -> None:
        _want(len(self.key) == 32, "a key doesn't have 32 bytes")
        _want(0 < self.power <= MOST_POWER, "a power is out of range")

    @property
    def address(self) -> bytes:
        """The first 20 bytes of the key's hash."""
        return sha256(self.key).digest()[:20]

    @property
    def raw(self) -> bytes:
        """A SimpleValidator, as it is hashed."""
        return message_field(1, bytes_field(1, self.key)) + int_field(2, self.power)


@dataclass(frozen=True, slots=True)
class Validators:
    """A set of validators in the only order it has: by falling power, then by rising address."""

    members: tuple[Validator, ...]
    total: int = field(init=False)
    hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        _want(0 < len(self.members) <= MOST_VALIDATORS, f"a set has 1 to {MOST_VALIDATORS:,} validators")
        places = [(-each.power, each.address) for each in self.members]
        _want(all(a < b for a, b in itertools.pairwise(places)), "the validators are not in their order")
        _want(len({each.key for each in self.members}) == len(self.members), "a validator is there twice")
        total = sum(each.power for each in self.members)
        _want(total <= MOST_POWER, "the powers' sum is out of range")
        object.__setattr__(self, "total", total)
        object.__setattr__(self, "hash", merkle_root([each.raw for each in self.members]))

    @classmethod
    def of(cls, members: list[Validator]) -> Validators:
        """These, put in order."""
        return cls(tuple(sorted(members, key=lambda each: (-each.power, each.address))))

    @property
    def powers(self) -> dict[bytes, int]:
        """The power of each key."""
        return {each.key: each.power for each in self.members}


@dataclass(frozen=True, slots=True)
class LightBlock:
    """A header, who signed it, and who could."""

    header: Header
    commit: Commit
    validators: Validators

    @property
    def height(self) -> int:
        """The header's."""
        return self.header.height
