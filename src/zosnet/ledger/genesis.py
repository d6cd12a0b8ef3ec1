"""What a ledger starts from, and never changes: its operators, its parameters. Its hash is the chain's id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from zosnet.ledger.encoding import U8, U16, U32, U64, Maybe, Ordered, Text, digest, encode
from zosnet.ledger.fields import Key, KeySet, Label

__all__ = ["DAY_MS", "Genesis", "Parameters", "Switch"]

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Switch:
    """From block `height` on, transactions are judged by this version of the rules."""

    height: U64
    rules: U16


@dataclass(frozen=True, slots=True)
class Parameters:
    """The numbers of the rules. Times are milliseconds of the block's clock. Guesses, but for the grace."""

    lease_ms: U64 = 365 * DAY_MS
    grace_ms: U64 = 30 * DAY_MS
    reveal_blocks: U32 = 1000
    """A commit may be revealed 1 to this many blocks after its own, and counts against the quota so long."""
    names: U16 = 64
    """Names that one account may hold."""
    commits: U16 = 16
    """Commits that one account may have open."""
    children: U16 = 64
    """Sub-names with a delegation or a route that one name may have."""
    objects: U16 = 64
    """Claims, gateways, clusters and networks that one account may have, of each."""
    transaction_life_ms: U64 = 3_600_000
    """A transaction may not promise to be good for longer."""
    stamp_bits: U8 = 20
    """Leading zero bits of the proof of work that opens an account: 20 take about a second."""
    governors: Annotated[KeySet | None, Maybe(KeySet)] = None
    """Who may admit an account without proof of work."""
    reserved: Annotated[tuple[str, ...], Ordered(Label, 4096)] = ()
    """Names that nobody gets, in the order of an ordered set: by length, then by letter."""
    schedule: Annotated[tuple[Switch, ...], Ordered(Switch, 64)] = (Switch(1, 1),)

    def rules_at(self, height: int) -> int:
        """The version of the rules for block `height`."""
        return max((each for each in self.schedule if each.height <= height), key=lambda s: s.height).rules

    def __post_init__(self) -> None:
        if not self.schedule or self.schedule[0].height > 1:
            raise ValueError("the schedule of rules must start at height 1")


@dataclass(frozen=True, slots=True)
class Genesis:
    """The beginning of one ledger."""

    label: Text
    time_ms: U64
    operators: Annotated[tuple[bytes, ...], Ordered(Key, 128)]
    """Whose signatures make a header; an embedded ledger has exactly one."""
    parameters: Parameters = Parameters()

    @property
    def chain(self) -> bytes:
        """The chain's id, 32 bytes: every transaction and header covers it."""
        return digest("genesis v1", encode(self))
