"""Submissions under way: whose receipts are still missing, and why."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future

from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.transaction import SignedTransaction
from zosnet.model.errors import HostError

__all__ = ["Pending", "Submission"]


class Submission:
    """An envelope that somebody waits for."""

    def __init__(self, count: int) -> None:
        self.receipts: list[Receipt | None] = [None] * count
        self.left = count
        self.future: Future[list[Receipt]] = Future()
        self.waiting: deque[tuple[int, SignedTransaction]] = deque()
        """Not sent yet."""

    def settle(self, index: int, receipt: Receipt) -> None:
        """One transaction's end."""
        if self.receipts[index] is not None:
            return
        self.receipts[index] = receipt
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result([each for each in self.receipts if each is not None])

    def fail(self, error: Exception) -> None:
        """Nobody knows."""
        self.waiting.clear()
        if not self.future.done():
            self.future.set_exception(error)


class Pending:
    """Transactions by id, from when they are sent until a block has them or nobody wants them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, list[tuple[Submission, int]]]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, identity: bytes, submission: Submission, index: int) -> bool:
        """Wait for a transaction; False where somebody does already, so that it need not be sent."""
        with self._lock:
            found = self._known.get(identity)
            if found is None:
                self._known[identity] = (time.monotonic(), [(submission, index)])
                return True
            found[1].append((submission, index))
            return False

    def settle(self, identity: bytes, receipt: Receipt) -> None:
        """It is in a block, or refused."""
        with self._lock:
            found = self._known.pop(identity, None)
        for submission, index in found[1] if found else ():
            submission.settle(index, receipt)

    def fail(self, error: HostError, *, older_than_s: float = 0.0) -> None:
        """Give up on what has waited for long."""
        limit = time.monotonic() - older_than_s
        with self._lock:
            old = [identity for identity, (since, _) in self._known.items() if since <= limit]
            given_up = [self._known.pop(identity) for identity in old]
        for _, waiting in given_up:
            for submission, _ in waiting:
                submission.fail(error)
