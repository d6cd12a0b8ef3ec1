"""SQLite files with a write-ahead log: how they are opened, and how the log is worked into the file."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from zosnet.model.errors import HostError

__all__ = ["SMALL_CACHE_MB", "Tidier", "connect", "trouble"]

SMALL_CACHE_MB = 4


def connect(path: Path, cache_mb: int = SMALL_CACHE_MB, *, is_final: bool = True) -> sqlite3.Connection:
    """A connection to a file. `is_final`: what is committed survives that the machine loses its power.

    Without it a commit may be lost then, with those after it; none is half there. Raises HostError.
    """
    try:
        with ExitStack() as opened:
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
            opened.callback(connection.close)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if is_final else 'NORMAL'}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `Tidier`
            connection.execute(f"PRAGMA cache_size = {-1024 * cache_mb}")  # negative means KiB
            opened.pop_all()
    except sqlite3.Error as error:
        raise trouble(path, error) from None
    return connection


def trouble(path: Path, error: sqlite3.Error) -> HostError:
    """What to tell where SQLite refuses."""
    return HostError(
        f"the ledger's file {path} refuses: {error}",
        remedy="make room on its disk, and check its permissions",
    )


class Tidier:
    """Works the log into the file: a thread of its own does most, and the writer what has come meanwhile.

    Then the log starts anew. In a commit, as SQLite does it by itself, everybody would wait for it.
    """

    def __init__(self, path: Path, writer: sqlite3.Connection, limit: int) -> None:
        self._writer, self._limit = writer, limit
        self._pool = ThreadPoolExecutor(1, "ledger-tidier")
        self._other = connect(path, 1)
        self._under_way: Future[None] | None = None
        self._written = limit  # whatever an earlier process has left

    def wrote(self, amount: int) -> None:
        """For the writer, after a commit: so much more is in the log, in the limit's unit."""
        self._written += amount
        if self._under_way is None:
            if self._written > self._limit:
                self._under_way = self._pool.submit(_work_in, self._other)
        elif self._under_way.done():
            _work_in(self._writer)
            self._under_way, self._written = None, 0

    def close(self) -> None:
        """No more."""
        self._pool.shutdown()
        self._other.close()


def _work_in(connection: sqlite3.Connection) -> None:
    # A disk that refuses this refuses the next block too, and that is told.
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
