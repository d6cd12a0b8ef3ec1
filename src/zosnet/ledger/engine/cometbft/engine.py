"""The engine of several operators, as `interface.Engine` wants it.

A transaction's way: `submit` judges it here; what is good goes to CometBFT in an envelope, together with what
others submitted meanwhile; a block has it, the application keeps the block, and the receipt is given.

What is proven lags a block behind: CometBFT's header of block n has the root after block n − 1. Where a block
changed anything the next follows at once, so `query` waits for it, for a moment.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, closing
from pathlib import Path

from zosnet.ledger.client.comet import fetch
from zosnet.ledger.comet.abci import Misbehavior
from zosnet.ledger.comet.signed import chain_name
from zosnet.ledger.encoding import Malformed
from zosnet.ledger.engine.cometbft.application import Application, Done
from zosnet.ledger.engine.cometbft.headers import Headers
from zosnet.ledger.engine.cometbft.home import Home
from zosnet.ledger.engine.cometbft.process import Supervisor
from zosnet.ledger.engine.cometbft.rpc import BROADCAST_S, Rpc, Silent
from zosnet.ledger.engine.cometbft.sender import Sender
from zosnet.ledger.engine.cometbft.server import Server
from zosnet.ledger.engine.database import KEPT_ROOTS, Database, Snapshot
from zosnet.ledger.engine.embedded import MOST_QUERIED, now_ms
from zosnet.ledger.engine.events import Events
from zosnet.ledger.engine.home import check_genesis
from zosnet.ledger.engine.interface import Answer, Block, Event, Receipt, Status
from zosnet.ledger.engine.lock import lock
from zosnet.ledger.engine.recovery import damaged
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.state import Result
from zosnet.ledger.transaction import SignedTransaction
from zosnet.model.errors import HostError, UsageError

__all__ = ["Comet"]

#: So long after a block queries wait for the header that proves its state; it comes within two blocks. Where
#: it doesn't come those that ask later wait no more: each of them has a thread meanwhile.
PROOF_S = 3.0
CHECK_S = 0.5
#: While no header comes CometBFT is asked this often whether it answers. A guess.
PULSE_S = 1.0
#: Of the connection that writes and of the one that answers: a validator is to need at most 200 MB, and
#: CometBFT takes a third of that.
CACHE_MB = 12
#: A block comes every 5 s.
STALLED_MS = 15_000


class Comet:
    """One operator's node of a ledger: our process and CometBFT's, in one directory."""

    def __init__(
        self,
        directory: Path,
        home: Home,
        program: Path,
        *,
        clock: Callable[[], int] = now_ms,
        hook: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.genesis, self.home = home.genesis, home
        self._clock = clock
        self._reading = threading.Lock()
        self._rpc = Rpc(home.rpc)
        self._supervisor = Supervisor(program, home.directory, home.rpc, self._on_end)
        self._kept = threading.Condition()
        self._proven = threading.Condition()
        self._proof_due = time.monotonic() + PROOF_S
        self._changed: dict[int, tuple[bytes, ...]] = {}
        self._subscribers: set[Events] = set()
        self._trouble = "CometBFT is starting"
        self.misbehavior = ""
        self._is_stopping = False
        path = directory / "ledger.sqlite"
        with ExitStack() as opened:
            opened.enter_context(closing(lock(directory)))
            try:
                self._database = opened.enter_context(closing(Database(path, hook, cache_mb=CACHE_MB)))
                check_genesis(self._database, home.genesis, home.operator)
                self.application = Application(
                    home.genesis,
                    self._database,
                    chain_name=chain_name(home.genesis),
                    clock=clock,
                    hook=hook,
                    on_done=self._on_done,
                    on_refused=self._on_refused,
                    on_misbehavior=self._on_misbehavior,
                )
                self._committed = self.application.kept.height
                self._snapshot = opened.enter_context(closing(Snapshot(path, cache_mb=CACHE_MB)))
            except (sqlite3.Error, Malformed) as error:
                raise damaged(directory, error) from None
            self._headers = opened.enter_context(
                closing(Headers(directory / "headers.sqlite", home.genesis.chain))
            )
            self._sender = Sender(
                Rpc(home.rpc, BROADCAST_S), self.application.mempool, on_trouble=self._on_trouble
            )
            self._threads = [
                threading.Thread(target=self._sender.run, name="sender", daemon=True),
                threading.Thread(target=self._follow, name="headers", daemon=True),
            ]
            home.write()
            # It comes last: from here on there may be requests.
            opened.enter_context(closing(Server(home.abci, self.application.handle, self._on_trouble)))
            self._opened = opened.pop_all()

    def start(self) -> Comet:
        """Start both processes' work. Blocks come once more than two thirds of the operators are there.

        Where it raises all is given back.
        """
        with ExitStack() as failed:
            failed.callback(self.close)
            self._supervisor.start()
            for each in self._threads:
                each.start()
            failed.pop_all()
        return self

    def close(self) -> None:
        """End CometBFT, then give everything back. What is pending fails.

        Once it is closed it may be closed again.
        """
        self._is_stopping = True
        self._sender.stop()
        with self._kept:
            self._kept.notify_all()
        with self._proven:
            self._proven.notify_all()
        self._supervisor.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._sender.give_up()
        for each in list(self._subscribers):
            each.close()
        with self._reading:
            self._opened.close()

    # What anybody may want: see `interface.Engine`.

    def submit(self, transactions: list[bytes]) -> Future[list[Receipt]]:
        """Put an envelope in order. The future fails with HostError where no block has it for long."""
        return self._sender.submit(transactions)

    def query(self, keys: list[bytes], height: int | None = None) -> Answer:
        """Records with proofs, as of the root that a header has: the state after the block before it."""
        if len(keys) > MOST_QUERIED:
            raise UsageError(f"at most {MOST_QUERIED} records can be asked for at once")
        header = self._newest_proof() if height is None else self._header(height)
        with self._reading, self._snapshot.moment():
            top = self._snapshot.top()
            at = header.header.height - 1
            if not top - KEPT_ROOTS < at <= top:
                raise UsageError(
                    f"the state that header {at + 1} is for can't be proven",
                    remedy=f"ask for one of {max(2, top - KEPT_ROOTS + 2)} to {top + 1}",
                )
            return Answer(header, tuple(self._snapshot.item(key, at, top) for key in keys))

    def _newest_proof(self) -> SignedHeader:
        """The newest header; where it doesn't prove the newest state, the next, if it comes soon."""
        kept = self.application.kept

        def is_there() -> bool:
            newest = self._headers.newest
            if self._is_stopping or newest is None:
                return self._is_stopping
            # Several headers may come at once: the root of the last is of a later state then.
            return newest.header.root == kept.root or newest.header.height > kept.height

        with self._proven:
            self._proven.wait_for(is_there, max(0.0, self._proof_due - time.monotonic()))
        newest = self._headers.newest
        if newest is None:
            raise HostError("there is no block yet", remedy=self._trouble or "wait until others have started")
        return newest

    def _header(self, height: int) -> SignedHeader:
        found = self._headers.range(height, 1)
        if not found or found[0].header.height != height:
            raise UsageError(f"there is no header {height}")
        return found[0]

    def subscribe(self, notify: Callable[[], None] = lambda: None) -> Events:
        """Hear of each header from now on, and of what the block before it changed."""
        events = Events(self._subscribers.discard, notify)
        self._subscribers.add(events)
        return events

    def status(self) -> Status:
        """How it is."""
        newest = self._headers.newest
        height = newest.header.height if newest else 0
        time_ms = newest.header.time_ms if newest else self.genesis.time_ms
        age_ms = self._clock() - time_ms
        stalled = "" if age_ms < STALLED_MS else "no block comes: are more than 2/3 of the operators there?"
        if self._rpc.is_silent:
            stalled = Silent().message
        return Status(
            engine="cometbft", chain=self.genesis.chain, height=height, time_ms=time_ms,
            age_ms=age_ms, root=newest.header.root if newest else self.application.kept.root,
            pending=self._sender.pending, subscribers=len(self._subscribers),
            oldest_root=max(1, height - KEPT_ROOTS + 2),
            trouble="; ".join(text for text in (self._trouble, stalled, self.misbehavior) if text),
        )  # fmt: skip

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        """Headers from a height on."""
        return list(self._headers.range(start, limit))

    def block(self, height: int) -> Block | None:
        """A block as it was recorded: CometBFT has it."""
        found = self._headers.range(height, 1)
        if not found or found[0].header.height != height:
            return None
        return Block(found[0], self._rpc.transactions(height))

    def find(self, identity: bytes) -> int | None:
        """The height of the block that a transaction is in."""
        with self._reading:
            return self._snapshot.find(identity)

    # What the application tells, in its threads.

    def _on_done(self, done: Done) -> None:
        height = done.kept.height
        self._proof_due = time.monotonic() + PROOF_S
        self._changed[height] = done.changed
        self._changed.pop(height - KEPT_ROOTS, None)
        self._sender.settle(done.receipts)
        with self._kept:
            self._committed = height
            self._kept.notify_all()

    def _on_refused(self, signed: SignedTransaction, result: Result) -> None:
        self._sender.settle({signed.copy: Receipt(signed.id, result.reason, result.text)})

    def _on_misbehavior(self, found: Misbehavior) -> None:
        who = found.validator.address.hex() if found.validator else "somebody"
        self.misbehavior = f"operator {who} signed two things at height {found.height}"

    def _on_trouble(self, error: Exception) -> None:
        self._trouble = str(error)

    def _on_end(self, text: str) -> None:
        self._trouble = text

    # The thread that follows the headers.

    def _follow(self) -> None:
        pulse_due = 0.0
        while not self._is_stopping:
            try:
                if self._catch_up():
                    pulse_due = time.monotonic() + PULSE_S
                elif time.monotonic() >= pulse_due:
                    self._rpc.pulse()
                    pulse_due = time.monotonic() + PULSE_S
            except Silent:
                pass  # the status says so
            except Exception as error:
                if not self._trouble and not self._is_stopping:
                    self._trouble = str(error)
                time.sleep(0.1)
            self._sender.give_up_old()
            with self._kept:
                if self._committed <= self._headers.top() and not self._is_stopping:
                    self._kept.wait(CHECK_S)

    def _catch_up(self) -> bool:
        """Fetch the headers up to the last block that is kept; False where there are no more."""
        heights = range(self._headers.top() + 1, self._committed + 1)
        for height in heights:
            if self._is_stopping:
                break
            block = fetch(self._rpc, height)
            with self._proven:
                signed = self._headers.put(block)
                self._proven.notify_all()
            self._trouble = ""
            event = Event(signed, self._changed.get(height - 1, ()))
            for each in list(self._subscribers):
                each.put(event)
        return bool(heights)
