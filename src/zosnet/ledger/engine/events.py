"""News for whoever listens to an engine in the same process."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable

from zosnet.ledger.engine.interface import Event

__all__ = ["Events"]

#: A subscriber that is this many blocks behind is cut off, and asks anew. A guess: some minutes of load.
MOST_UNREAD = 1000


class Events:
    """One subscriber's queue."""

    def __init__(self, forget: Callable[[Events], None], notify: Callable[[], None]) -> None:
        self._queue: queue.Queue[Event | None] = queue.Queue(MOST_UNREAD)
        self._forget = forget
        self._notify = notify
        self._is_closed = False

    def put(self, event: Event) -> None:
        """For the engine: tell of an event, or cut off a subscriber that doesn't listen."""
        try:
            self._queue.put_nowait(event)
            self._notify()
        except queue.Full:
            self.close()

    def get(self, timeout: float | None) -> Event | None:
        """The next event; None when none came in time. Raises EOFError once it is closed."""
        if self._is_closed and self._queue.empty():
            raise EOFError
        try:
            event = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if event is None:
            raise EOFError
        return event

    def close(self) -> None:
        """No more."""
        self._is_closed = True
        self._forget(self)
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._notify()
