"""An embedded ledger's disk: each block at once, what blocks do to the state many blocks at a time.

    add(block, change) ─→ journal: the block, durable ─→ recent changes, in memory ─→ [flush] ─→ database

Most of what a block writes to the state the next ones write again: the upper pages of the tree, the disk page
beside. So changes are gathered, and written by a thread of their own, in one transaction for many blocks.
What a crash takes from memory is made again from the blocks, which give the same state each time.

Who reads sees both as one. Heights that are not in the database yet are in `_recent`, what is newest of them
merged in `_layers`: the first is added to, a second one is being flushed.
"""

from __future__ import annotations

import io
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from zosnet.ledger.encoding import Malformed
from zosnet.ledger.engine import undo
from zosnet.ledger.engine.database import KEPT_ROOTS, Change, Changes, Database, Snapshot
from zosnet.ledger.engine.interface import Answer, Block, Item
from zosnet.ledger.engine.journal import Journal
from zosnet.ledger.engine.turns import PAUSE_S
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.tree import prove
from zosnet.model.errors import HostError, UsageError

__all__ = ["LIMITS", "Limits", "Store"]

#: SQLite's pages in memory, for whoever writes the state. Its rows come in the order of their keys.
CACHE_MB = 16
#: So many records are read between two looks at whether somebody wants to add a block.
PORTION = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """When changes are flushed. At a start, so many transactions may have to be carried out again, twice."""

    rows: int = 24_000  #: records and pages, some 0.7 KB each in memory
    transactions: int = 5000  #: carried out again in a second or two
    blocks: int = 1000


LIMITS = Limits()


@dataclass(slots=True)
class _Layer:
    """What some blocks changed, merged."""

    records: Changes = field(default_factory=dict)
    pages: Changes = field(default_factory=dict)
    blocks: int = 0
    transactions: int = 0

    def add(self, change: Change) -> None:
        """One more block."""
        self.records.update(change.records)
        self.pages.update(change.pages)
        self.blocks += 1
        self.transactions += len(change.ids)

    def merge(self, later: _Layer) -> None:
        """All of a later one."""
        self.records.update(later.records)
        self.pages.update(later.pages)
        self.blocks += later.blocks
        self.transactions += later.transactions

    def is_full(self, limits: Limits) -> bool:
        """Whether it is to be flushed."""
        return (
            len(self.records) + len(self.pages) >= limits.rows
            or self.transactions >= limits.transactions
            or self.blocks >= limits.blocks
        )


class Store:
    """Blocks and state of one ledger. `add`, `get` and `page` are for one thread each, the rest for any."""

    def __init__(self, directory: Path, hook: Callable[[str], None], limits: Limits) -> None:
        path = directory / "ledger.sqlite"
        self._limits = limits
        # Nothing is lost with a commit that is: the blocks are there, and are carried out again.
        with ExitStack() as opened:
            database = Database(
                path, lambda point: hook(f"state-{point}"), cache_mb=CACHE_MB, is_final=False, pause_s=PAUSE_S
            )
            self.database = opened.enter_context(closing(database))
            self.journal = opened.enter_context(closing(Journal(directory / "blocks.sqlite", hook)))
            self._snapshot = opened.enter_context(closing(Snapshot(path)))
            self._flusher = ThreadPoolExecutor(1, "ledger-flusher")
            self._opened = opened.pop_all()
        self._lock = threading.Lock()  # of what is in memory, and of the connections that read
        self._recent: list[Change] = []
        self._layers: tuple[_Layer, ...] = (_Layer(),)
        self._flight: Future[None] | None = None
        self._is_failing = False

    def close(self) -> None:
        """Flush what there is, if the disk lets us, and give the files back."""
        try:
            with suppress(HostError):
                self._land()
                if self._recent:
                    self._flush_later()
                    self._land()
        finally:
            self.release()

    def release(self) -> None:
        """Give the files back as they are: what isn't flushed is carried out again at the next start."""
        self._flusher.shutdown()
        with self._lock:
            self._opened.close()

    # For the thread that judges.

    def get(self, key: bytes) -> bytes | None:
        """A record, as of the last block."""
        for layer in self._layers:
            if key in layer.records:
                return layer.records[key]
        return self.database.get(key)

    def page(self, prefix: bytes) -> bytes | None:
        """A page of the tree, as of the last block."""
        for layer in self._layers:
            if prefix in layer.pages:
                return layer.pages[prefix]
        return self.database.page(prefix)

    # For the thread that keeps.

    def add(self, block: Block, change: Change) -> None:
        """Keep a block. Raises HostError if the disk refuses: the block, or those before it."""
        self.make_room()
        self.journal.append(block)
        self.remember(change)

    def has(self, header: SignedHeader) -> bool:
        """Whether the last block is that of this header; False where the disk doesn't say."""
        try:
            return self.journal.newest() == header
        except (HostError, Malformed, sqlite3.Error):
            return False

    def remember(self, change: Change) -> None:
        """What a block that is kept does to the state."""
        with self._lock:
            self._recent.append(change)
            self._layers[0].add(change)

    def unkept(self) -> Iterator[Block]:
        """At a start: the blocks whose changes are not in the database. Raises HostError if one is gone."""
        head, newest = self.database.head(), self.journal.newest()
        top = 0 if newest is None else newest.header.height
        start = 0 if head is None else head[0]
        for height in range(start + 1, top + 1):
            block = self.journal.block(height)
            if block is None:
                break
            yield block
        else:
            if start <= top:
                return
        raise HostError(
            f"the ledger's blocks are missing after {min(start, top)}",
            remedy="restore its directory from a copy",
        )

    def make_room(self) -> None:
        """Have recent changes flushed when they are many; wait for it only when they are twice as many.

        Raises HostError if the disk has refused those before: nothing of them is lost.
        """
        if self._flight is not None and self._flight.done():
            self._land()
        if self._layers[0].is_full(self._limits):
            self._land()
            self._flush_later()
            if self._is_failing:  # then nobody goes on before it is done
                self._land()

    def _land(self) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.result()

    def _flush_later(self) -> None:
        with self._lock:
            self._layers = (_Layer(), *self._layers)
            changes = list(self._recent)
        self._flight = self._flusher.submit(self._flush, changes)

    def _flush(self, changes: list[Change]) -> None:
        try:
            self.database.keep(changes)
        except Exception:
            self._is_failing = True
            with self._lock:
                younger, older = self._layers
                older.merge(younger)
                self._layers = (older,)
            raise
        self._is_failing = False
        with self._lock:
            del self._recent[: len(changes)]
            self._layers = self._layers[:1]

    # For anybody.

    def answer(self, keys: list[bytes], height: int | None) -> Answer:
        """Records with proofs. Raises UsageError for a height that can't be proven (any more)."""
        items: list[Item] = []
        header: SignedHeader | None = None
        at = height
        for start in range(0, max(1, len(keys)), PORTION):
            with self._lock, self._snapshot.moment():
                kept = self._snapshot.top()
                top = max(kept, self._recent[-1].height if self._recent else 0)
                at = top if at is None else at
                if not max(0, top - KEPT_ROOTS) < at <= top:
                    raise UsageError(
                        f"the state of block {at} can't be proven",
                        remedy=f"ask for one of {max(1, top - KEPT_ROOTS + 1)} to {top}",
                    )
                if header is None:
                    (header,) = self.journal.headers(at, 1)
                items += [self._item(key, at, kept) for key in keys[start : start + PORTION]]
        assert header is not None
        return Answer(header, tuple(items))

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        """Headers from a height on."""
        with self._lock:
            return self.journal.headers(start, limit)

    def block(self, height: int) -> Block | None:
        """A block as it was recorded."""
        with self._lock:
            return self.journal.block(height)

    def find(self, identity: bytes) -> int | None:
        """The height of the block that a transaction is in."""
        with self._lock:
            for change in self._recent:
                if identity in change.ids:
                    return change.height
            return self._snapshot.find(identity)

    def _item(self, key: bytes, at: int, kept: int) -> Item:
        """A record with its proof as of a height; `kept`: that of the database."""
        later = [change for change in reversed(self._recent) if change.height > max(at, kept)]
        proof = prove(lambda prefix: self._page_at(prefix, at, kept, later), key)
        return Item(key, self._record_at(key, at, kept), proof)

    def _record_at(self, key: bytes, at: int, kept: int) -> bytes | None:
        for change in reversed(self._recent):
            if kept < change.height <= at and key in change.records:
                return change.records[key]
        return self._snapshot.record(key, min(at, kept), kept)

    def _page_at(self, prefix: bytes, at: int, kept: int, later: list[Change]) -> bytes | None:
        for layer in self._layers:
            if prefix in layer.pages:
                newest = layer.pages[prefix]
                break
        else:
            newest = self._snapshot.page(prefix, kept, kept)
        page = undo.Rewind(prefix, newest)
        for change in later:
            page.back(io.BytesIO(change.before))
        if at < kept:
            self._snapshot.rewind(page, at, kept)
        return page.page
