"""What this node's own clients submitted: judged here, and what is good sent to CometBFT, by a thread.

    submit ─→ Front ─ portion ─→ judged by the mempool's rules ─→ an envelope ─→ CometBFT ─ settle ─→ receipts

It holds the lock that `Front` wants. Whoever keeps the blocks tells it what they settle.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from zosnet.ledger.comet.envelope import pack
from zosnet.ledger.encoding import Malformed
from zosnet.ledger.engine.cometbft.front import BUSY, Front
from zosnet.ledger.engine.cometbft.mempool import Mempool
from zosnet.ledger.engine.cometbft.rpc import Rpc, Silent
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.engine.turns import Waiting
from zosnet.ledger.transaction import SignedTransaction
from zosnet.model.errors import HostError

__all__ = ["Sender"]

#: After this long without a block of it nobody knows what becomes of a transaction. A guess.
GIVE_UP_S = 25.0
_IN_CACHE = "already exists in cache"
"""CometBFT's words for an envelope that waits already."""
_STOPPING = "the ledger is stopping"


class Sender:
    """Submissions, from their arrival to their receipts. `rpc` is its own; `run` is for a thread."""

    def __init__(self, rpc: Rpc, mempool: Mempool, *, on_trouble: Callable[[Exception], None]) -> None:
        self._rpc = rpc
        self._mempool = mempool
        self._on_trouble = on_trouble
        self._front = Front(time.monotonic)
        self._wake = threading.Condition()  # guards the front
        self._is_stopping = False

    @property
    def pending(self) -> int:
        """Transactions that have no receipt yet."""
        return len(self._front)

    def submit(self, transactions: list[bytes]) -> Future[list[Receipt]]:
        """Put an envelope in order. The future fails with HostError where no block has it for long."""
        with self._wake:
            envelope, evicted = self._front.submit(transactions)
            if not transactions:
                envelope.future.set_result([])
            if self._is_stopping:
                envelope.fail(HostError(_STOPPING))
            self._wake.notify_all()
        for one in evicted:
            one.envelope.settle(one.index, BUSY)
        return envelope.future

    def settle(self, receipts: Mapping[bytes, Receipt]) -> None:
        """What became of transactions, by their `copy`: blocks have them, or they are refused."""
        with self._wake:
            for copy, receipt in receipts.items():
                self._front.settle(copy, receipt)
            self._wake.notify_all()

    def give_up_old(self) -> None:
        """Nobody knows what becomes of what has waited for too long: whoever waits for it is told so."""
        nobody_knows = HostError(
            f"no block has it after {GIVE_UP_S:.0f} s; it may still be carried out",
            remedy="look at `zosnet ledger status`: are more than two thirds of the operators there?",
        )
        with self._wake:
            self._front.give_up(nobody_knows, GIVE_UP_S)
            self._wake.notify_all()  # there is room for others now, perhaps

    def stop(self) -> None:
        """Let the thread end, and take nothing more."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify_all()

    def give_up(self) -> None:
        """Fail what is pending. The thread has ended."""
        with self._wake:
            self._front.give_up(HostError(_STOPPING))

    def run(self) -> None:
        """The thread: judge and send, in turns, until it is stopped."""
        while True:
            with self._wake:
                while not (portion := self._front.portion(self._mempool.is_hurried)):
                    if self._is_stopping:
                        return
                    self._wake.wait(self._front.rest() or None)
                if self._is_stopping:
                    return
                awaited = self._front.is_awaited
            try:
                good = self._judge(portion)
            except Exception as error:  # a disk that can't be read, say: the next portion may find it better
                self._fail(portion, error)
                continue
            if good:
                self._broadcast(good, pack((signed.raw for signed in good), awaited=awaited))

    def _judge(self, portion: list[Waiting]) -> list[SignedTransaction]:
        """Those of a portion that are good, and the receipts of those that are not."""
        started, refused = time.monotonic(), 0
        good: list[SignedTransaction] = []
        early: list[Waiting] = []
        parsed: list[tuple[Waiting, SignedTransaction]] = []
        for one in portion:
            try:
                parsed.append((one, SignedTransaction.parse(one.raw)))
            except Malformed as error:
                one.envelope.settle(one.index, Receipt(bytes(32), "malformed", str(error)))
                refused += 1
        self._mempool.foresee(signed for _, signed in parsed)
        for one, signed in parsed:
            copy = signed.copy
            with self._wake:
                if not self._front.send(copy, one):
                    continue
            result = self._mempool.admit(signed, is_own=True)
            if result.is_done:
                good.append(signed)
                continue
            with self._wake:
                is_early = result.reason == "nonce" and not self._front.is_first(one)
                if is_early and self._front.unsend(copy):
                    early.append(one)
                    continue
                self._front.settle(copy, Receipt(signed.id, result.reason, result.text))
                refused += 1
        with self._wake:
            self._front.judged(portion, early, refused, time.monotonic() - started)
        return good

    def _fail(self, portion: list[Waiting], error: Exception) -> None:
        """This portion can't be judged: whoever waits for any of it is told so."""
        self._on_trouble(error)
        trouble = HostError(f"this node can't judge transactions: {error}", remedy="look at its disk")
        with self._wake:
            for one in portion:
                one.envelope.fail(trouble)
            self._front.judged(portion, [], len(portion), 0.0)
            self._front.give_up(trouble, math.inf)  # what is left of those alone

    def _broadcast(self, good: list[SignedTransaction], envelope: bytes) -> None:
        self._mempool.expect(envelope)
        ends = time.monotonic() + GIVE_UP_S / 2
        is_there = False  # perhaps: one that let the time pass may have it, and go on one day
        while not self._is_stopping:
            try:
                refusal = self._rpc.broadcast(envelope)
            except HostError as error:
                is_there |= isinstance(error, Silent)
                if time.monotonic() < ends:  # it is starting again, perhaps
                    time.sleep(0.1)
                    continue
                refusal = "" if is_there else error.message
            except Exception as error:
                refusal = str(error)
            if refusal and _IN_CACHE not in refusal:
                self.settle({signed.copy: Receipt(signed.id, "busy", refusal) for signed in good})
            return
