"""The blocks of an embedded ledger: one SQLite file, one commit a block, nothing acknowledged before.

A block is on disk once `append` returns, whatever then becomes of this process or its machine. What it does
to the state is kept later, with others': see `store`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from zosnet.ledger.encoding import Malformed
from zosnet.ledger.engine.interface import Block
from zosnet.ledger.engine.wal import Tidier, connect, trouble
from zosnet.ledger.header import SignedHeader

__all__ = ["Journal"]

#: So many bytes are in the log before it is worked into the file. A guess.
BYTES_IN_LOG = 16_000_000
#: What a block takes in the log besides its own bytes: two disk pages.
BYTES_OF_ANY_BLOCK = 8192
#: What was written is hardly asked for again.
CACHE_MB = 1


class Journal:
    """A connection to write, for one thread, and one to read beside it, for one thread at a time."""

    def __init__(self, path: Path, hook: Callable[[str], None] = lambda _: None) -> None:
        self._path, self._hook = path, hook
        with ExitStack() as opened:
            self._connection = opened.enter_context(closing(connect(path, CACHE_MB)))
            self._reader = opened.enter_context(closing(connect(path, CACHE_MB)))
            self._tidier = opened.enter_context(closing(Tidier(path, self._connection, BYTES_IN_LOG)))
            try:
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS block ("
                    "height INTEGER PRIMARY KEY, header BLOB NOT NULL, transactions BLOB NOT NULL)"
                )
            except sqlite3.Error as error:
                raise trouble(path, error) from None
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Give the file back."""
        self._opened.close()

    def append(self, block: Block) -> None:
        """Keep a block, whole or not at all. Raises HostError if the disk refuses."""
        head, body = block.header.raw, _join(block.transactions)
        self._hook("before-write")
        try:
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                row = (block.header.header.height, head, body)
                connection.execute("INSERT INTO block VALUES (?, ?, ?)", row)
                self._hook("before-commit")
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None
        self._hook("after-commit")
        self._tidier.wrote(BYTES_OF_ANY_BLOCK + len(head) + len(body))

    def newest(self) -> SignedHeader | None:
        """For the thread that writes: the last header. Raises Malformed, as the others, where it is none."""
        row = self._connection.execute("SELECT header FROM block ORDER BY height DESC LIMIT 1").fetchone()
        return None if row is None else SignedHeader.parse(_bytes(row[0]))

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        """Headers from a height on."""
        rows = self._reader.execute(
            "SELECT header FROM block WHERE height >= ? ORDER BY height LIMIT ?", (start, limit)
        )
        return [SignedHeader.parse(_bytes(row[0])) for row in rows]

    def block(self, height: int) -> Block | None:
        """A block as it was recorded."""
        row = self._reader.execute(
            "SELECT header, transactions FROM block WHERE height = ?", (height,)
        ).fetchone()
        if row is None:
            return None
        return Block(SignedHeader.parse(_bytes(row[0])), _split(_bytes(row[1])))


def _bytes(value: object) -> bytes:
    # A damaged file may have a value of any kind where bytes were written.
    if not isinstance(value, bytes):
        raise Malformed("a block is not bytes")
    return value


def _join(raws: tuple[bytes, ...]) -> bytes:
    return b"".join(len(raw).to_bytes(4) + raw for raw in raws)


def _split(joined: bytes) -> tuple[bytes, ...]:
    found, at = [], 0
    while at < len(joined):
        size = int.from_bytes(joined[at : at + 4])
        found.append(joined[at + 4 : at + 4 + size])
        at += 4 + size
    return tuple(found)
