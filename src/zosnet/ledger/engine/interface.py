"""What anybody may want of an engine: submit, query with proof, subscribe, status, and its blocks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.tree import Proof

__all__ = ["Answer", "Block", "Engine", "Event", "Item", "Receipt", "Status", "Subscription"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction. Done: in block `height`, on disk. Refused: in none, see `reason`."""

    id: bytes
    reason: str = ""
    text: str = ""
    height: int = 0
    epoch: int = 0

    @property
    def is_done(self) -> bool:
        """Whether it is final."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Item:
    """A record, or its absence, and the proof of it."""

    key: bytes
    value: bytes | None
    proof: Proof


@dataclass(frozen=True, slots=True)
class Answer:
    """Records as of one header, whose root the proofs lead to."""

    header: SignedHeader
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A block as it was recorded."""

    header: SignedHeader
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """A new block, and the keys of the records that it changed."""

    header: SignedHeader
    changed: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """An engine at a glance."""

    engine: str
    chain: bytes
    height: int
    time_ms: int
    age_ms: int
    root: bytes
    pending: int
    subscribers: int
    oldest_root: int  #: the lowest height that can still be proven
    trouble: str  #: what is wrong: why no block is made, who voted twice; "" where all is well


class Subscription(Protocol):
    """Events as they come."""

    def get(self, timeout: float | None) -> Event | None:
        """The next event; None when none came in time. Raises EOFError once it is closed."""

    def close(self) -> None:
        """No more."""


class Engine(Protocol):
    """An engine that runs."""

    genesis: Genesis

    def submit(self, transactions: list[bytes]) -> Future[list[Receipt]]:
        """Put an envelope of signed transactions in order; each stands or falls alone."""

    def query(self, keys: list[bytes], height: int | None = None) -> Answer:
        """Records with proofs, as of the newest header or an earlier one."""

    def subscribe(self, notify: Callable[[], None] = lambda: None) -> Subscription:
        """Hear of each block from now on; `notify` is called, by any thread, when there is news."""

    def status(self) -> Status:
        """How it is."""

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        """Headers from a height on."""

    def block(self, height: int) -> Block | None:
        """A block as it was recorded."""

    def find(self, identity: bytes) -> int | None:
        """The height of the block that a transaction is in."""
