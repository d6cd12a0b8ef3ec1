"""A block that is judged and not on disk yet, and the state that the next one is judged on."""

from __future__ import annotations

from dataclasses import dataclass

from zosnet.ledger.engine.database import Change, Changes
from zosnet.ledger.engine.interface import Block, Receipt
from zosnet.ledger.engine.store import Store
from zosnet.ledger.engine.turns import Waiting
from zosnet.ledger.engine.undo import pack
from zosnet.ledger.tree import Before

__all__ = ["Ahead", "Made"]


@dataclass(frozen=True, slots=True)
class Made:
    """A block that is judged and signed, and not on disk yet."""

    block: Block
    ids: list[bytes]
    records: Changes
    pages: Changes
    before: Before  #: what the pages were
    receipts: list[tuple[Waiting, Receipt]]

    @property
    def change(self) -> Change:
        """What the block does to the state."""
        header = self.block.header
        return Change(header.header.height, header.raw, self.ids, self.records, self.pages, pack(self.before))


class Ahead:
    """What is kept, and what is on its way there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.records: Changes = {}
        self.pages: Changes = {}

    def get(self, key: bytes) -> bytes | None:
        """A record."""
        return self.records[key] if key in self.records else self._store.get(key)

    def page(self, prefix: bytes) -> bytes | None:
        """A page of the tree."""
        return self.pages[prefix] if prefix in self.pages else self._store.page(prefix)
