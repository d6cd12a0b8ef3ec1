"""The thread that keeps: a block that is judged goes to disk, and then whoever waits is told of it.

It knows the newest block that is on disk, and what is wrong; it knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from zosnet.ledger.engine.ahead import Made
from zosnet.ledger.engine.events import Events
from zosnet.ledger.engine.interface import Event, Receipt
from zosnet.ledger.engine.store import Store
from zosnet.ledger.engine.turns import Waiting
from zosnet.ledger.header import SignedHeader

__all__ = ["Keeper"]


class Keeper:
    """Keeps one block after the other. `hook` is called before receipts are given."""

    def __init__(self, store: Store, newest: SignedHeader | None, hook: Callable[[str], None]) -> None:
        self._store, self._hook = store, hook
        self._thread = ThreadPoolExecutor(1, "ledger-keeper")
        self._subscribers: set[Events] = set()
        self.newest = newest
        self.trouble = ""

    def keep(self, made: Made) -> Future[None]:
        """Put a block on disk after those before. The future fails where it isn't there."""
        return self._thread.submit(self._keep, made)

    def acknowledge(self, receipts: list[tuple[Waiting, Receipt]]) -> None:
        """Give receipts, but none before the blocks that they rest on are on disk."""
        self._thread.submit(self._acknowledge, receipts)

    def subscribe(self, notify: Callable[[], None]) -> Events:
        """Hear of each block that is on disk from now on."""
        events = Events(self._subscribers.discard, notify)
        self._subscribers.add(events)
        return events

    @property
    def subscribers(self) -> int:
        """How many there are."""
        return len(self._subscribers)

    def close(self) -> None:
        """Finish what is under way, and tell nobody any more."""
        self._thread.shutdown()
        for each in list(self._subscribers):
            each.close()

    def _keep(self, made: Made) -> None:
        """It counts if it is there, even though its commit failed."""
        header, change = made.block.header, made.change
        try:
            self._store.add(made.block, change)
        except Exception as error:
            if not self._store.has(header):
                self.trouble = str(error)
                for one, _ in made.receipts:
                    one.envelope.fail(error)
                raise
            self._store.remember(change)
        self.newest, self.trouble = header, ""
        self._acknowledge(made.receipts)
        event = Event(header, tuple(made.records))
        for each in list(self._subscribers):
            each.put(event)

    def _acknowledge(self, receipts: list[tuple[Waiting, Receipt]]) -> None:
        if receipts:
            self._hook("before-acknowledgement")
        for one, receipt in receipts:
            one.envelope.settle(one.index, receipt)
