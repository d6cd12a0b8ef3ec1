"""The embedded engine: one process, one operator's key, one SQLite file.

A thread of its own makes the blocks: of what is pending as soon as something is, and an empty one when
nothing has been for a while. So what arrives while one block is written shares the next one's commit.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from zosnet.ledger.encoding import Malformed, decode, encode
from zosnet.ledger.engine.database import KEPT_ROOTS, Database, Snapshot
from zosnet.ledger.engine.events import Events
from zosnet.ledger.engine.interface import Answer, Block, Event, Item, Receipt, Status
from zosnet.ledger.engine.lock import lock
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import Header, SignedHeader, sign_header, transactions_hash
from zosnet.ledger.signature import Signer, Verifier
from zosnet.ledger.state import Block as Place
from zosnet.ledger.state import Changes, Machine, UnknownRules
from zosnet.ledger.transaction import SignedTransaction
from zosnet.ledger.tree import Tree, prove
from zosnet.model.errors import HostError, UsageError

__all__ = ["Embedded", "now_ms"]

#: An empty block comes after this long without another, so that with a slow disk none is 5 s away.
IDLE_S = 4.0
#: At most this many transactions share a block, so that nobody waits behind a flood for long. A guess.
MOST_IN_BLOCK = 1000
#: A flood of nonsense is judged in small portions between others' blocks: so many refused ones in a row, of
#: which so many for a wrong signature, the dearest (half a millisecond in all).
MOST_REFUSED = 100
MOST_WRONG_SIGNATURES = 4
MOST_PENDING = 20_000
MOST_QUERIED = 1000


def now_ms() -> int:
    """The time of day."""
    return time.time_ns() // 1_000_000


class _Envelope:
    """A submission under way."""

    def __init__(self, transactions: list[bytes]) -> None:
        self.waiting = deque(enumerate(transactions))
        self.receipts: list[Receipt | None] = [None] * len(transactions)
        self.left = len(transactions)
        self.future: Future[list[Receipt]] = Future()

    def settle(self, index: int, receipt: Receipt) -> None:
        self.receipts[index] = receipt
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result([each for each in self.receipts if each is not None])

    def fail(self, error: Exception) -> None:
        self.waiting.clear()
        if not self.future.done():
            self.future.set_exception(error)


class Embedded:
    """An embedded ledger in a directory, which no other process may use at the same time.

    `clock` and `hook` are for tests: the time of day, and what is called at each point where a crash matters.
    """

    def __init__(
        self,
        directory: Path,
        operator: Signer,
        *,
        genesis: Genesis | None = None,
        clock: Callable[[], int] = now_ms,
        hook: Callable[[str], None] = lambda _: None,
        idle_s: float = IDLE_S,
    ) -> None:
        self._clock, self._hook, self._idle_s = clock, hook, idle_s
        self._operator = operator
        self._lock_file = lock(directory)
        try:
            self._database = Database(directory / "ledger.sqlite", hook)
            self.genesis = _genesis(self._database, genesis, operator)
        except BaseException:
            self._lock_file.close()
            raise
        self._snapshot = Snapshot(directory / "ledger.sqlite")
        self._reading = threading.Lock()
        self.verifier = Verifier()
        self._machine = Machine(self.genesis, self._database, self.verifier)
        self._tree = Tree(self._database.page)
        self._newest = self._database.newest()
        if self._newest is not None and self._tree.root != self._newest.header.root:
            raise HostError(
                "the ledger's state is not that of its last header", remedy="restore the file from a copy"
            )
        self._pending: deque[_Envelope] = deque()
        self._pending_count = 0
        self._wake = threading.Condition()
        self._subscribers: set[Events] = set()
        self._trouble = ""
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> Embedded:
        """Make the first block where there is none, and more from now on."""
        if self._newest is None:
            self._make_block([])
        self._thread.start()
        return self

    def close(self) -> None:
        """Finish the block under way, and give everything back. What is pending fails."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        for envelope in self._pending:
            envelope.fail(HostError("the ledger is stopping"))
        for each in list(self._subscribers):
            each.close()
        with self._reading:
            self._snapshot.close()
        self._database.close()
        self._lock_file.close()

    # What anybody may want: see `interface.Engine`.

    def submit(self, transactions: list[bytes]) -> Future[list[Receipt]]:
        """Put an envelope in order. The future fails with HostError where this machine can't make a block."""
        envelope = _Envelope(transactions)
        with self._wake:
            if self._is_stopping:
                envelope.fail(HostError("the ledger is stopping"))
            elif self._pending_count + len(transactions) > MOST_PENDING:
                for index in range(len(transactions)):
                    envelope.settle(index, Receipt(bytes(32), "busy", "too many transactions are pending"))
            elif transactions:
                self._pending.append(envelope)
                self._pending_count += len(transactions)
                self._wake.notify()
            else:
                envelope.future.set_result([])
        return envelope.future

    def query(self, keys: list[bytes], height: int | None = None) -> Answer:
        """Records with proofs. Raises UsageError for a height that can't be proven (any more)."""
        if len(keys) > MOST_QUERIED:
            raise UsageError(f"at most {MOST_QUERIED} records can be asked for at once")
        with self._reading, self._snapshot.moment():
            newest = self._snapshot.header()
            assert newest is not None
            top = newest.header.height
            at = top if height is None else height
            header = self._snapshot.header(at)
            if header is None or at <= top - KEPT_ROOTS:
                raise UsageError(
                    f"the state of block {at} can't be proven",
                    remedy=f"ask for one of {max(1, top - KEPT_ROOTS + 1)} to {top}",
                )
            return Answer(header, tuple(self._item(key, at, top) for key in keys))

    def _item(self, key: bytes, at: int, top: int) -> Item:
        proof = prove(lambda prefix: self._snapshot.page(prefix, at, top), key)
        return Item(key, self._snapshot.record(key, at, top), proof)

    def subscribe(self, notify: Callable[[], None] = lambda: None) -> Events:
        """Hear of each block from now on; `notify` is called, by another thread, when there is news."""
        events = Events(self._subscribers.discard, notify)
        self._subscribers.add(events)
        return events

    def status(self) -> Status:
        """How it is."""
        newest = self._newest
        assert newest is not None
        header = newest.header
        return Status(
            engine="embedded", chain=header.chain, height=header.height, time_ms=header.time_ms,
            age_ms=self._clock() - header.time_ms, root=header.root, pending=self._pending_count,
            subscribers=len(self._subscribers), oldest_root=max(1, header.height - KEPT_ROOTS + 1),
            trouble=self._trouble,
        )  # fmt: skip

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        """Headers from a height on."""
        with self._reading:
            return self._snapshot.headers(start, limit)

    def block(self, height: int) -> Block | None:
        """A block as it was recorded."""
        with self._reading:
            return self._snapshot.block(height)

    def find(self, identity: bytes) -> int | None:
        """The height of the block that a transaction is in."""
        with self._reading:
            return self._snapshot.find(identity)

    # The thread that makes blocks.

    def _run(self) -> None:
        due = time.monotonic() + self._idle_s
        while True:
            with self._wake:
                while not self._pending and not self._is_stopping and time.monotonic() < due:
                    self._wake.wait(max(0.0, due - time.monotonic()))
                if self._is_stopping:
                    return
                taken = self._take()
            is_due = time.monotonic() >= due
            try:
                made = self._make_block(taken, allow_empty=is_due)
                self._trouble = ""
            except Exception as error:
                self._trouble = str(error)
                for envelope in {id(each): each for each, _, _ in taken}.values():
                    envelope.fail(error)
                # Not at once again: what was refused now is refused a moment later too.
                due, made = time.monotonic() + min(1.0, self._idle_s), False
            if made:
                due = time.monotonic() + self._idle_s

    def _take(self) -> list[tuple[_Envelope, int, bytes]]:
        """The next transactions: one of each envelope in turn, so that a large one delays no small one."""
        taken: list[tuple[_Envelope, int, bytes]] = []
        while self._pending and len(taken) < MOST_IN_BLOCK:
            envelope = self._pending.popleft()
            if envelope.waiting:
                index, raw = envelope.waiting.popleft()
                taken.append((envelope, index, raw))
                self._pending_count -= 1
            if envelope.waiting:
                self._pending.append(envelope)
        if not self._pending:
            self._pending_count = 0
        return taken

    def _make_block(self, taken: list[tuple[_Envelope, int, bytes]], *, allow_empty: bool = True) -> bool:
        """Judge what was taken, keep a block of what was good. On HostError nothing is kept."""
        place = self._place()
        try:
            self._machine.begin(place)
        except UnknownRules as error:
            raise HostError(str(error), remedy="install a newer zosnet") from None
        try:
            done, receipts = self._judge(taken, place.height)
            if not done and not allow_empty:
                self._machine.abandon()
                self._acknowledge(receipts)
                return False
            records = self._machine.end()
            root, pages = self._tree.update(records)
            raws = tuple(signed.raw for signed in done)
            content, chain = transactions_hash(raws), self.genesis.chain
            header = Header(1, chain, place.height, place.time_ms, place.previous, content, root)
            block = Block(sign_header(header, self._operator), raws)
            self._keep(block, [signed.id for signed in done], records, pages)
        except BaseException:
            self._machine.abandon()
            self._tree.abandon()
            raise
        self._machine.settle()
        self._tree.settle()
        self._newest = block.header
        self._acknowledge(receipts)
        event = Event(block.header, tuple(records))
        for each in list(self._subscribers):
            each.put(event)
        return True

    def _keep(self, block: Block, ids: list[bytes], records: Changes, pages: Changes) -> None:
        """Keep a block. A commit that failed may have reached the disk all the same: then it counts."""
        try:
            self._database.keep(block, ids, records, pages)
        except HostError:
            if self._database.newest() != block.header:
                raise

    def _judge(
        self, taken: list[tuple[_Envelope, int, bytes]], height: int
    ) -> tuple[list[SignedTransaction], list[tuple[_Envelope, int, Receipt]]]:
        done: list[SignedTransaction] = []
        receipts: list[tuple[_Envelope, int, Receipt]] = []
        wrong = 0
        for number, (envelope, index, raw) in enumerate(taken):
            if len(receipts) - len(done) >= MOST_REFUSED or wrong >= MOST_WRONG_SIGNATURES:
                self._put_back(taken[number:])
                break
            try:
                signed = SignedTransaction.parse(raw)
            except Malformed as error:
                receipts.append((envelope, index, Receipt(bytes(32), "malformed", str(error))))
                continue
            result = self._machine.apply(signed)
            wrong += result.reason == "signature"
            if result.is_done:
                done.append(signed)
            where = height if result.is_done else 0
            receipt = Receipt(signed.id, result.reason, result.text, where, result.epoch)
            receipts.append((envelope, index, receipt))
        return done, receipts

    def _put_back(self, taken: list[tuple[_Envelope, int, bytes]]) -> None:
        """These wait for their next turn, before the rest of their envelopes."""
        with self._wake:
            for envelope, index, raw in reversed(taken):
                if not envelope.waiting:
                    self._pending.append(envelope)
                envelope.waiting.appendleft((index, raw))
            self._pending_count += len(taken)

    def _acknowledge(self, receipts: list[tuple[_Envelope, int, Receipt]]) -> None:
        if receipts:
            self._hook("before-acknowledgement")
        for envelope, index, receipt in receipts:
            envelope.settle(index, receipt)

    def _place(self) -> Place:
        """The next block's height and time. Raises HostError where the clock is behind the last block's."""
        if self._newest is None:
            return Place(1, max(self._clock(), self.genesis.time_ms + 1), self.genesis.chain)
        before, now = self._newest.header, self._clock()
        if now == before.time_ms:  # two blocks in a millisecond: the time of the second must be later
            time.sleep(0.001)
            now = self._clock()
        if now <= before.time_ms:
            raise HostError(
                f"the clock is {before.time_ms - now} ms behind the last block's: no block is signed",
                remedy="mend the clock, or wait until it has caught up",
            )
        return Place(before.height + 1, now, before.hash)


def _genesis(database: Database, given: Genesis | None, operator: Signer) -> Genesis:
    if database.meta("engine") is not None:
        raise HostError("the ledger here has several operators", remedy="start it with `zosnet ledger start`")
    raw = database.meta("genesis")
    if raw is None:
        if given is None:
            raise HostError("there is no ledger here yet", remedy="make one with `zosnet ledger dev`")
        database.set_meta("genesis", encode(given))
        raw = encode(given)
    kept = decode(Genesis, raw)
    if given is not None and given != kept:
        raise HostError("the ledger here has another genesis", remedy="name another directory")
    if kept.operators != (operator.public,):
        raise HostError("the ledger here is of another operator", remedy="use the key that it was made with")
    return kept
