"""A chain as CometBFT would sign it, made in memory, with whatever validators a test wants."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace

from zosnet.ledger.light.block import (
    NO_BLOCK,
    BlockId,
    Commit,
    CommitSig,
    Flag,
    Header,
    LightBlock,
    Validator,
    Validators,
)
from zosnet.ledger.light.canonical import SECOND_NS
from zosnet.ledger.light.client import LightClient, Steps
from zosnet.ledger.signature import Signer

CHAIN_ID = "light-test"
START_NS = 1_790_000_000 * SECOND_NS
FOUR = {0: 10, 1: 10, 2: 10, 3: 10}

Powers = dict[int, int]
"""The number of each validator's key, and its power."""


def signer(number: int) -> Signer:
    return Signer(hashlib.sha256(f"light validator {number}".encode()).digest())


SIGNERS = {signer(number).public: signer(number) for number in range(230)}


def validators(powers: Powers) -> Validators:
    return Validators.of([Validator(signer(number).public, power) for number, power in powers.items()])


def keys(numbers: Collection[int]) -> set[bytes]:
    return {signer(number).public for number in numbers}


def commit(
    header: Header,
    members: Validators,
    *,
    absent: Collection[int] = (),
    nil: Collection[int] = (),
    chain_id: str | None = None,
    names: bytes | None = None,
) -> LightBlock:
    """The header, signed by all of these validators but some; or a vote for what has the hash `names`."""
    gone, against = keys(absent), keys(nil)
    block_id = BlockId(names or header.hash, 1, hashlib.sha256(b"parts").digest())
    empty = Commit(header.height, 1, block_id, (CommitSig(Flag.ABSENT),))
    votes = []
    for place, member in enumerate(members.members):
        if member.key in gone:
            votes.append(CommitSig(Flag.ABSENT))
            continue
        flag = Flag.NIL if member.key in against else Flag.COMMIT
        vote = CommitSig(flag, member.address, header.time_ns + place, bytes(64))
        message = empty.sign_bytes(chain_id or header.chain_id, vote)
        votes.append(replace(vote, signature=SIGNERS[member.key].sign(message)))
    return LightBlock(header, replace(empty, signatures=tuple(votes)), members)


class LightChain:
    """Blocks 1 to `top`, a second apart; `powers_at` says who validates a height."""

    def __init__(
        self,
        top: int = 8,
        powers_at: Callable[[int], Powers] = lambda _: FOUR,
        *,
        mark: bytes = b"",
        root: bytes = bytes(32),
        start_ns: int = START_NS,
        like: LightChain | None = None,
        until: int = 0,
    ) -> None:
        """`like` gives the blocks up to the height `until`; after it, `mark` makes this chain another one."""
        if like is not None:
            start_ns = like.blocks[1].header.time_ns - SECOND_NS
        self.blocks: dict[int, LightBlock] = {}
        before = NO_BLOCK
        for height in range(1, top + 1):
            if like is not None and height <= until:
                self.blocks[height] = like.blocks[height]
            else:
                members = validators(powers_at(height))
                header = Header(
                    11, 1, CHAIN_ID, height, start_ns + height * SECOND_NS, before,
                    bytes(32), hashlib.sha256(mark).digest(), members.hash,
                    validators(powers_at(height + 1)).hash, bytes(32), root, b"", b"",
                    members.members[0].address,
                )  # fmt: skip
                self.blocks[height] = commit(header, members)
            before = self.blocks[height].commit.block_id

    @property
    def now_ns(self) -> int:
        """A second after the last block."""
        return self.blocks[max(self.blocks)].header.time_ns + SECOND_NS

    def client(self, height: int = 1) -> LightClient:
        """One that starts at this height."""
        client = LightClient()
        client.pin(self.blocks[height], height, self.blocks[height].header.hash, self.now_ns)
        return client


def drive(steps: Steps, blocks: dict[int, LightBlock]) -> tuple[LightBlock, list[int]]:
    """The block that was wanted, and the heights that were asked for."""
    asked: list[int] = []
    try:
        height = next(steps)
        while True:
            asked.append(height)
            height = steps.send(blocks[height])
    except StopIteration as end:
        found: LightBlock = end.value
        return found, asked
