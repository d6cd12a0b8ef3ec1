"""CometBFT's signed headers, kept as they come, in a file of their own that can be made anew at any time."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import ExitStack
from pathlib import Path

from zosnet.ledger.comet.signed import CometSigned, of_light_block, signed_by_comet
from zosnet.ledger.encoding import Malformed
from zosnet.ledger.light.block import LightBlock
from zosnet.model.errors import HostError

__all__ = ["Headers"]


class Headers:
    """The headers from the first to the newest, for any thread."""

    def __init__(self, path: Path, chain: bytes) -> None:
        self._chain = chain
        self._lock = threading.Lock()
        with ExitStack() as opened:
            try:
                self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                opened.callback(self._connection.close)
                self._connection.execute("PRAGMA journal_mode = WAL")
                # What a power cut takes is asked of CometBFT again.
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS light (height INTEGER PRIMARY KEY, block BLOB NOT NULL)"
                )
                newest = self.range(self.top(), 1)
            except (sqlite3.Error, Malformed) as error:
                raise HostError(f"{path} refuses: {error}", remedy="remove it: it is made anew") from None
            opened.pop_all()
        self.newest: CometSigned | None = newest[0] if newest else None

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()

    def top(self) -> int:
        """The newest height, 0 where there is none."""
        with self._lock:
            row = self._connection.execute("SELECT coalesce(max(height), 0) FROM light").fetchone()
        return int(row[0])

    def range(self, start: int, limit: int) -> list[CometSigned]:
        """Headers from a height on."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT block FROM light WHERE height >= ? ORDER BY height LIMIT ?", (start, limit)
            ).fetchall()
        return [signed_by_comet(self._chain, row[0]) for row in rows]

    def put(self, block: LightBlock) -> CometSigned:
        """Keep the next one."""
        signed = of_light_block(self._chain, block)
        try:
            with self._lock:
                self._connection.execute(
                    "INSERT OR REPLACE INTO light VALUES (?, ?)", (signed.header.height, signed.light)
                )
        except sqlite3.Error as error:
            raise HostError(f"a header can't be kept: {error}", remedy="make room on the disk") from None
        self.newest = signed
        return signed
