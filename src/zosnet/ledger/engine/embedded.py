"""The embedded engine: one process, one operator's key, one directory.

    submit ─→ [turns, pace] ─→ judge: rules, tree, header ─→ keeper: disk, then receipts and events

Judging, which is here, and keeping are a thread each, so that the next block is judged while one is written.
A block comes of what is pending as soon as something is, and an empty one when nothing has been for a while;
what arrives meanwhile shares the next one's commit. Nobody is told of a block before it is on disk.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from zosnet._core import fold_page
from zosnet.ledger.encoding import Malformed
from zosnet.ledger.engine.ahead import Ahead, Made
from zosnet.ledger.engine.batch import BatchVerifier
from zosnet.ledger.engine.clock import Watch, now_ms, steady_ms
from zosnet.ledger.engine.database import KEPT_ROOTS
from zosnet.ledger.engine.events import Events
from zosnet.ledger.engine.home import kept_genesis
from zosnet.ledger.engine.interface import Answer, Block, Receipt, Status
from zosnet.ledger.engine.keeper import Keeper
from zosnet.ledger.engine.lock import lock
from zosnet.ledger.engine.pace import Pace
from zosnet.ledger.engine.recovery import damaged, recover
from zosnet.ledger.engine.store import LIMITS, Limits, Store
from zosnet.ledger.engine.turns import PAUSE_S, PORTION, Envelope, Turns, Waiting
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import Header, SignedHeader, sign_header, transactions_hash
from zosnet.ledger.signature import Signer
from zosnet.ledger.state import Block as Place
from zosnet.ledger.state import Machine, UnknownRules
from zosnet.ledger.transaction import SignedTransaction
from zosnet.ledger.tree import Tree
from zosnet.model.errors import HostError, UsageError

__all__ = ["Embedded", "now_ms"]

#: An empty block comes after this long without another, so that with a slow disk none is 5 s away.
IDLE_S = 4.0
#: The clock is looked at this often, so that a step back shows in the status and not only at the next block.
LOOK_S = 1.0
MOST_QUERIED = 1000

#: Of the state, in memory besides what isn't on disk: the tree's upper levels, and accounts that are busy.
#: Some 1 KB and 0.7 KB each.
RECORDS, PAGES = 16_000, 24_000

BUSY = Receipt(bytes(32), "busy", "too many transactions are pending: send it again, a little later")


class Embedded:
    """An embedded ledger in a directory, which no other process may use at the same time.

    `clock`, `steady` and `hook` are for tests: the time of day, a clock that nobody sets, and what is called
    at each point where a crash matters.
    """

    def __init__(
        self,
        directory: Path,
        operator: Signer,
        *,
        genesis: Genesis | None = None,
        clock: Callable[[], int] = now_ms,
        steady: Callable[[], int] = steady_ms,
        hook: Callable[[str], None] = lambda _: None,
        idle_s: float = IDLE_S,
        limits: Limits = LIMITS,
    ) -> None:
        self._clock, self._idle_s = clock, idle_s
        self._directory, self._operator = directory, operator
        self._turns = Turns()
        self._pace = Pace(time.monotonic)
        self._wake = threading.Condition()
        self._is_stopping = False
        self._flight: Future[None] | None = None
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        with ExitStack() as opened:
            opened.enter_context(closing(lock(directory)))
            try:
                self._store = Store(directory, hook, limits)
                opened.callback(self._store.release)
                newest = self._store.journal.newest()
                self.genesis = kept_genesis(self._store.database, genesis, operator, newest)
                self.verifier = BatchVerifier()
                self._ahead = Ahead(self._store)
                self._machine = Machine(self.genesis, self._ahead, self.verifier, cache=RECORDS)
                self._tree = Tree(self._ahead.page, fold=fold_page, cache=PAGES)
                newest = recover(self._store, self._machine, self._tree)
            except (sqlite3.Error, Malformed) as error:
                raise damaged(directory, error) from None
            self._keeper = Keeper(self._store, newest, hook)
            self._tip = newest  # the last that is signed, on disk or on its way there
            self._watch = Watch(clock, steady, 0 if newest is None else newest.header.time_ms)
            self._opened = opened.pop_all()
            self._opened.callback(self._store.close)

    def start(self) -> Embedded:
        """Make a block, so that the first question finds a present one, and more from now on.

        Where it raises all is given back.
        """
        with ExitStack() as failed:
            failed.callback(self.close)
            try:
                self._make_block(allow_empty=True)
                self._land()
            except (HostError, sqlite3.Error, Malformed) as error:
                trouble = error if isinstance(error, HostError) else damaged(self._directory, error)
                if self._keeper.newest is None:
                    raise trouble from None
                self._keeper.trouble = str(trouble)  # what there is can be read all the same
            self._thread.start()
            failed.pop_all()
        return self

    def close(self) -> None:
        """Finish the block under way, and give everything back. What is pending fails.

        Once it is closed it may be closed again.
        """
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._keeper.close()
        for envelope in self._turns.clear():
            envelope.fail(HostError("the ledger is stopping"))
        self._opened.close()

    # What anybody may want: see `interface.Engine`.

    def submit(self, transactions: list[bytes]) -> Future[list[Receipt]]:
        """Put an envelope in order. The future fails with HostError where this machine can't make a block."""
        envelope = Envelope(len(transactions))
        if not transactions:
            envelope.future.set_result([])
        # By portions, or others would wait for the lock.
        for first in range(0, len(transactions), PORTION):
            if first:
                time.sleep(PAUSE_S)
            with self._wake:
                if self._is_stopping:
                    envelope.fail(HostError("the ledger is stopping"))
                    break
                evicted = self._turns.add(envelope, transactions[first : first + PORTION], first)
                self._pace.arrived(len(transactions))
                if evicted:
                    self._keeper.acknowledge([(each, BUSY) for each in evicted])
                self._wake.notify()
        return envelope.future

    def query(self, keys: list[bytes], height: int | None = None) -> Answer:
        """Records with proofs. Raises UsageError for a height that can't be proven (any more)."""
        if len(keys) > MOST_QUERIED:
            raise UsageError(f"at most {MOST_QUERIED} records can be asked for at once")
        return self._store.answer(keys, height)

    def subscribe(self, notify: Callable[[], None] = lambda: None) -> Events:
        """Hear of each block from now on; `notify` is called, by another thread, when there is news."""
        return self._keeper.subscribe(notify)

    def status(self) -> Status:
        """How it is."""
        newest = self._keeper.newest
        assert newest is not None
        header = newest.header
        return Status(
            engine="embedded", chain=header.chain, height=header.height, time_ms=header.time_ms,
            age_ms=self._clock() - header.time_ms, root=header.root, pending=len(self._turns),
            subscribers=self._keeper.subscribers, oldest_root=max(1, header.height - KEPT_ROOTS + 1),
            trouble=self._keeper.trouble,
        )  # fmt: skip

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        """Headers from a height on."""
        return self._store.headers(start, limit)

    def block(self, height: int) -> Block | None:
        """A block as it was recorded."""
        return self._store.block(height)

    def find(self, identity: bytes) -> int | None:
        """The height of the block that a transaction is in."""
        return self._store.find(identity)

    # The thread that judges.

    def _run(self) -> None:
        due = time.monotonic() + self._idle_s
        while self._wait(due):
            if self._has_landed():
                with suppress(Exception):  # told already, to those whose block it was
                    self._land()
            try:
                self._watch.read()
                is_due = time.monotonic() >= due
                if (self._has_work() or is_due) and self._make_block(allow_empty=is_due):
                    due = time.monotonic() + self._idle_s
            except Exception as error:
                self._keeper.trouble = str(error)
                # Not at once again: what was refused now is refused a moment later too.
                due = time.monotonic() + min(LOOK_S, self._idle_s)
                self._refuse_all(error)

    def _wait(self, due: float) -> bool:
        """Until there is something to do, or to look at the clock. False when all is to end."""
        with self._wake:
            now = time.monotonic()
            until = min(due, now + LOOK_S, self._pace.rests_until if self._pace.rests_until > now else due)
            while not (self._has_work() or self._is_stopping or self._has_landed()):
                if (left := until - time.monotonic()) <= 0:
                    break
                self._wake.wait(left)
            return not self._is_stopping

    def _has_work(self) -> bool:
        return self._pace.has_work(self._turns, is_kept=self._is_kept)

    @property
    def _is_kept(self) -> bool:
        return self._flight is None or self._flight.done()

    def _has_landed(self) -> bool:
        return self._flight is not None and self._flight.done()

    def _land(self) -> None:
        """Wait for the block that is being kept. Raises HostError where it is not: all is as before it."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        try:
            flight.result()
        except BaseException:
            self._ahead.records, self._ahead.pages = {}, {}
            self._machine.forget()
            self._tree.forget()
            self._tip = self._keeper.newest
            raise

    def _refuse_all(self, error: Exception) -> None:
        """No block can be made: whoever waits is told so."""
        with self._wake:
            left = self._turns.clear()
        for envelope in left:
            envelope.fail(error)

    def _make_block(self, *, allow_empty: bool) -> bool:
        """Judge what is pending, sign a block of what is good, and have it kept. On HostError nothing is."""
        place = self._place()
        taken: list[Waiting] = []
        began = time.monotonic()
        try:
            self._machine.begin(place)
            done, receipts = self._judge(place.height, taken)
            if not done and not allow_empty:
                self._machine.abandon()
                self._keeper.acknowledge(receipts)
                return False
            made = self._seal(place, done, receipts)
            self._land()
        except Exception as error:
            self._machine.abandon()
            self._tree.abandon()
            for one in taken:
                one.envelope.fail(error)
            if isinstance(error, UnknownRules):
                raise HostError(str(error), remedy="install a newer zosnet") from None
            raise
        finally:
            self._pace.worked(taken, began)
        self._machine.settle()
        self._tree.settle()
        self._ahead.records, self._ahead.pages = made.records, made.pages
        self._tip = made.block.header
        self._flight = self._keeper.keep(made)
        self._flight.add_done_callback(self._tell_judge)
        return True

    def _tell_judge(self, _: Future[None]) -> None:
        with self._wake:
            self._wake.notify()

    def _seal(
        self, place: Place, done: list[SignedTransaction], receipts: list[tuple[Waiting, Receipt]]
    ) -> Made:
        records = self._machine.end()
        root, pages = self._tree.update(records)
        raws = tuple(signed.raw for signed in done)
        content, chain = transactions_hash(raws), self.genesis.chain
        header = Header(1, chain, place.height, place.time_ms, place.previous, content, root)
        block = Block(sign_header(header, self._operator), raws)
        return Made(block, [signed.id for signed in done], records, pages, self._tree.before, receipts)

    def _judge(
        self, height: int, taken: list[Waiting]
    ) -> tuple[list[SignedTransaction], list[tuple[Waiting, Receipt]]]:
        """Judge whoever's turn it is, until the block is long enough: refused ones take time as well."""
        done: list[SignedTransaction] = []
        receipts: list[tuple[Waiting, Receipt]] = []
        while portion := self._portion(len(taken)):
            taken += portion
            early: list[Waiting] = []
            decided = len(receipts)
            for one, signed in self._parsed(portion, receipts):
                result = self._machine.apply(signed)
                if result.reason == "nonce" and not self._is_first(one):
                    early.append(one)
                    continue
                if result.is_done:
                    done.append(signed)
                where = height if result.is_done else 0
                receipts.append((one, Receipt(signed.id, result.reason, result.text, where, result.epoch)))
            with self._wake:
                for one, _ in receipts[decided:]:
                    self._turns.decided(one)
                for one in reversed(early):
                    self._turns.put_back(one)
        return done, receipts

    def _is_first(self, one: Waiting) -> bool:
        with self._wake:
            return self._turns.is_first(one)

    def _portion(self, judged: int) -> list[Waiting]:
        """Who is next, as long as the block isn't long enough."""
        with self._wake:
            return self._pace.portion(self._turns, judged, is_kept=self._is_kept)

    def _parsed(
        self, portion: list[Waiting], receipts: list[tuple[Waiting, Receipt]]
    ) -> list[tuple[Waiting, SignedTransaction]]:
        """Those of a portion that are well-formed, their signatures verified; the others are refused."""
        found = []
        for one in portion:
            try:
                found.append((one, SignedTransaction.parse(one.raw)))
            except Malformed as error:
                receipts.append((one, Receipt(bytes(32), "malformed", str(error))))
        self.verifier.prepare(claim for _, signed in found for claim in self._machine.claims(signed))
        return found

    def _place(self) -> Place:
        """The next block's height and time. Raises HostError where the clock is behind."""
        now = self._watch.read()
        if self._tip is None:
            return Place(1, max(now, self.genesis.time_ms + 1), self.genesis.chain)
        before = self._tip.header
        while now <= before.time_ms:  # two blocks in a millisecond: the time of the second must be later
            time.sleep(0.001)
            now = self._watch.read()
        return Place(before.height + 1, now, before.hash)
