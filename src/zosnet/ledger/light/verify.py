"""Whether a light block may be believed because an earlier one is: CometBFT's light client verification.

Adjacent headers are tied by the hash of the next validators. A later one is believed when more than a third
of the trusted validators' power signed it, so that at least one honest validator did, and when more than two
thirds of its own validators' did. Both hold only for the trust period: those who were validators once may
later sign anything. (CometBFT's spec/light-client/verification, and its `light` and `types` packages.)

Stricter than CometBFT's own: every precommit's signature is checked, nil ones too, and those beyond the two
thirds; a block is all right or it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zosnet.ledger.light.block import Flag, Header, LightBlock, Validators
from zosnet.ledger.light.canonical import SECOND_NS
from zosnet.ledger.light.zip215 import verify as verify_signature
from zosnet.model.errors import PeerError, UsageError

__all__ = ["DAY_NS", "Fork", "Reason", "Trust", "Untrusted", "check_block", "check_commit", "verify"]

BLOCK_PROTOCOL = 11
DAY_NS = 86_400 * SECOND_NS

Reason = Literal[
    "version", "chain", "height", "hash", "time", "future", "expired", "validators", "next validators",
    "overlap", "commit", "address", "signature", "power", "pin", "fork", "unverified", "proof",
]  # fmt: skip


class Untrusted(PeerError):
    """A block, or what hangs on it, can't be believed. `reason` is a constant word."""

    def __init__(self, reason: Reason, text: str, *, remedy: str = "") -> None:
        super().__init__(text, remedy=remedy)
        self.reason = reason


class Fork(Untrusted):
    """Two signed headers that can't both be of one chain: validators lie. Both are the evidence."""

    def __init__(self, first: LightBlock, second: LightBlock, text: str = "") -> None:
        super().__init__(
            "fork",
            text
            or f"there are two signed headers of height {first.height}: "
            f"{first.header.hash.hex()} and {second.header.hash.hex()}",
            remedy="don't trust this ledger; show both headers to its operators",
        )
        self.first, self.second = first, second


@dataclass(frozen=True, slots=True)
class Trust:
    """How far trust goes."""

    period_ns: int = 7 * DAY_NS
    """A header older than this vouches for none; CometBFT's own light client begins with a week too."""
    drift_ns: int = 10 * SECOND_NS
    """How far a header may be ahead of this machine's clock (CometBFT: 10 s)."""
    level: tuple[int, int] = (1, 3)
    """Of the trusted power more than this fraction must have signed a later header: 1/3 to 1."""

    def __post_init__(self) -> None:
        part, whole = self.level
        if not (0 < part <= whole <= 3 * part):
            raise UsageError(f"the trust level must be from 1/3 to 1, not {part}/{whole}")
        if self.period_ns <= 0 or self.drift_ns < 0:
            raise UsageError("the trust period must be positive, and the clock drift not negative")

    def check_age(self, header: Header, now_ns: int) -> None:
        """Raises Untrusted for a header that can't vouch for others any more."""
        if header.time_ns + self.period_ns <= now_ns:
            raise Untrusted(
                "expired",
                f"header {header.height}, which is trusted, is older than the trust period",
                remedy="ask an operator for a recent height and hash, and start from them",
            )

    def check_clock(self, header: Header, now_ns: int) -> None:
        """Raises Untrusted for a header from the future."""
        if header.time_ns >= now_ns + self.drift_ns:
            raise Untrusted(
                "future", f"header {header.height} is from the future", remedy="compare the clocks"
            )


def verify(
    trusted: Header, trusted_validators: Validators, block: LightBlock, now_ns: int, trust: Trust
) -> None:
    """Returns where `block` may be believed because `trusted` is; raises Untrusted where not.

    `trusted_validators` are those of the trusted height or of the next. "overlap" says that too few of them
    signed: a header between the two may help. Every other reason is final.
    """
    header = block.header
    trust.check_age(trusted, now_ns)
    check_block(block, trusted.chain_id)
    if header.height <= trusted.height:
        raise Untrusted("height", f"height {header.height} doesn't follow the trusted {trusted.height}")
    if header.time_ns <= trusted.time_ns:
        raise Untrusted("time", f"header {header.height} is not younger than the trusted {trusted.height}")
    trust.check_clock(header, now_ns)
    if header.height == trusted.height + 1:
        if header.validators_hash != trusted.next_validators_hash:
            raise Untrusted("next validators", f"header {header.height} has other validators than announced")
    else:
        _check_overlap(trusted_validators, block, trust)
    check_commit(block)


def check_block(block: LightBlock, chain_id: str) -> None:
    """That header, commit and validators belong together and to this chain. Signatures aren't looked at."""
    header, commit = block.header, block.commit
    if header.block_version != BLOCK_PROTOCOL:
        raise Untrusted("version", f"the block protocol is {header.block_version}, not {BLOCK_PROTOCOL}")
    if header.chain_id != chain_id:
        raise Untrusted("chain", f"the header is of the chain {header.chain_id}, not {chain_id}")
    if commit.height != header.height:
        raise Untrusted("height", f"header {header.height} came with the commit of {commit.height}")
    if commit.block_id.hash != header.hash:
        raise Untrusted("hash", f"the commit of height {header.height} is for another header")
    if block.validators.hash != header.validators_hash:
        raise Untrusted("validators", f"header {header.height} came with other validators than its own")


def check_commit(block: LightBlock) -> None:
    """That more than 2/3 of the validators' power signed for the block, and each signature is good."""
    commit, members, chain_id = block.commit, block.validators.members, block.header.chain_id
    if len(commit.signatures) != len(members):
        raise Untrusted(
            "commit", f"{len(members)} validators have {len(commit.signatures)} precommits at {commit.height}"
        )
    power = sum(
        member.power
        for member, vote in zip(members, commit.signatures, strict=True)
        if vote.flag is Flag.COMMIT
    )
    if 3 * power <= 2 * block.validators.total:
        raise Untrusted(
            "power", f"{power} of {block.validators.total} signed header {commit.height}: not more than 2/3"
        )
    for place, (member, vote) in enumerate(zip(members, commit.signatures, strict=True)):
        if vote.flag is Flag.ABSENT:
            continue
        if vote.address != member.address:
            raise Untrusted("address", f"precommit {place} of height {commit.height} is of another validator")
        if not verify_signature(member.key, commit.sign_bytes(chain_id, vote), vote.signature):
            raise Untrusted("signature", f"signature {place} of header {commit.height} is wrong")


def _check_overlap(trusted: Validators, block: LightBlock, trust: Trust) -> None:
    """That enough trusted power claims to have signed; `check_commit` sees whether it did."""
    powers, (part, whole) = trusted.powers, trust.level
    power = sum(
        powers.get(member.key, 0)
        for member, vote in zip(block.validators.members, block.commit.signatures, strict=False)
        if vote.flag is Flag.COMMIT
    )
    if power * whole <= trusted.total * part:
        raise Untrusted(
            "overlap",
            f"{power} of the trusted {trusted.total} signed {block.height}: not more than {part}/{whole}",
        )
