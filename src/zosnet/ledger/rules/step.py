"""What a rule sees and does: the state, the block, the sender, and the one way to refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from zosnet.ledger.genesis import Parameters
from zosnet.ledger.records import HoldingsRecord, holdings_key
from zosnet.ledger.signature import Verifier

__all__ = ["Block", "Refused", "Rules", "Step", "World"]


@dataclass(frozen=True, slots=True)
class Block:
    """What the rules know of a block: its place, its time, the hash of the one before."""

    height: int
    time_ms: int
    previous: bytes


class Refused(Exception):
    """The rules say no. `reason` is a constant word, `text` is for people."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class World(Protocol):
    """The state that rules change."""

    chain: bytes
    parameters: Parameters
    verify: Verifier

    def read(self, key: bytes) -> Any:
        """A record, or None."""

    def write(self, key: bytes, record: Any) -> None:
        """Put or (None) delete a record."""

    def next_epoch(self) -> int:
        """One more than any epoch before."""


class Step:
    """One transaction under way."""

    __slots__ = ("block", "sender", "world", "written")

    def __init__(self, world: World, block: Block, sender: bytes) -> None:
        self.world = world
        self.block = block
        self.sender = sender
        self.written = 0

    @property
    def parameters(self) -> Parameters:
        """The ledger's numbers."""
        return self.world.parameters

    @property
    def now(self) -> int:
        """The block's time."""
        return self.block.time_ms

    def read(self, key: bytes) -> Any:
        """A record, or None."""
        return self.world.read(key)

    def write(self, key: bytes, record: Any) -> None:
        """Put or (None) delete a record."""
        self.world.write(key, record)

    def epoch(self) -> int:
        """A new epoch, for the record that this transaction is about."""
        self.written = self.world.next_epoch()
        return self.written

    def replaces(self, record: Any, named: int) -> None:
        """Refuse a writer that hasn't seen the present record."""
        present = 0 if record is None else record.epoch
        if named != present:
            raise Refused("epoch", f"the record is of epoch {present}, not {named}")

    def holdings(self, account: bytes) -> HoldingsRecord:
        """What an account has; empty where it never had anything."""
        found: HoldingsRecord | None = self.read(holdings_key(account))
        return found or HoldingsRecord()

    def hold(self, account: bytes, **changes: Any) -> None:
        """Change what an account has; the record goes when nothing is left."""
        new = replace(self.holdings(account), **changes)
        self.write(holdings_key(account), None if new == HoldingsRecord() else new)

    def count(self, kind: str, by: int) -> None:
        """Count one of the sender's objects up (within its quota) or down."""
        number: int = getattr(self.holdings(self.sender), kind) + by
        if by > 0 and number > self.parameters.objects:
            raise Refused("quota", f"an account may have {self.parameters.objects} {kind}")
        self.hold(self.sender, **{kind: number})


Rules = dict[type[Any], Callable[[Step, Any], None]]
"""For each operation, what carries it out."""
