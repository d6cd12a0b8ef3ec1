"""A ledger's disk: one SQLite file, one transaction a block, nothing acknowledged before.

Records and pages are kept as they are now. What a block replaces goes to `old_record` and
`old_pages` under the block's height, so
that the state before it can be read, and proven, until that many blocks have passed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from zosnet.ledger.engine import undo
from zosnet.ledger.engine.interface import Block, Item
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.tree import prove
from zosnet.model.errors import HostError

__all__ = ["KEPT_ROOTS", "Database", "Snapshot"]

SCHEMA_VERSION = 2

#: Heights whose state can be proven, the newest included: 100 are promised.
KEPT_ROOTS = 128

#: So many changed rows are in the log, some 64 MB, before it is worked into the file: what changes in every
#: block is then written once for many. It is read again at a start, in a fraction of a second. A guess.
ROWS_IN_LOG = 20_000
ROWS_OF_ANY_BLOCK = 10

#: SQLite's pages in memory. Whoever writes finds half of what it changes of a million names; measured: with
#: half of it, a fifth fewer operations a second. What others read is stale after the next block.
CACHE_MB = 64
SMALL_CACHE_MB = 4

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS page (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS old_record (
    height INTEGER, key BLOB, value BLOB, PRIMARY KEY (height, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS old_pages (height INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS block (
    height INTEGER PRIMARY KEY, header BLOB NOT NULL, transactions BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS known (id BLOB PRIMARY KEY, height INTEGER NOT NULL) WITHOUT ROWID;
"""

Changes = dict[bytes, bytes | None]


class Database:
    """A connection to write, for one thread, and one to read what is kept beside it, for another one.

    Whoever asks from further threads opens a `Snapshot`'s connection.
    """

    def __init__(
        self, path: Path, hook: Callable[[str], None] = lambda _: None, *, cache_mb: int = CACHE_MB
    ) -> None:
        self.path = path
        self._hook = hook
        self._connection = _connect(path, cache_mb)
        self._reader = _connect(path)
        self._other = _connect(path)
        self._tidier = ThreadPoolExecutor(1, "ledger-tidier")
        self._tidying: Future[None] | None = None
        self._rows = ROWS_IN_LOG  # whatever an earlier process has left
        try:
            with self._connection:
                self._connection.executescript(_TABLES)
            version = self.meta("schema")
            if version is None:
                self.set_meta("schema", b"%d" % SCHEMA_VERSION)
            elif version != b"%d" % SCHEMA_VERSION:
                raise HostError(
                    f"{path} is of another version of zosnet", remedy="use that version, or a newer one"
                )
        except sqlite3.Error as error:
            raise _trouble(path, error) from None

    def close(self) -> None:
        """Give the file back."""
        self._tidier.shutdown()
        self._other.close()
        self._reader.close()
        self._connection.close()

    def meta(self, name: str) -> bytes | None:
        """A value about the whole."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def set_meta(self, name: str, value: bytes) -> None:
        """Keep one."""
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def get(self, key: bytes) -> bytes | None:
        """A record."""
        row = self._reader.execute("SELECT value FROM record WHERE key = ?", (_place(key),)).fetchone()
        return None if row is None else row[0]

    def page(self, prefix: bytes) -> bytes | None:
        """A page of the tree."""
        row = self._reader.execute("SELECT value FROM page WHERE key = ?", (prefix,)).fetchone()
        return None if row is None else row[0]

    def newest(self) -> SignedHeader | None:
        """The last header."""
        raw = self.newest_head()
        return None if raw is None else SignedHeader.parse(raw)

    def newest_head(self) -> bytes | None:
        """What was kept as the last block's header, as the engine wrote it."""
        row = self._connection.execute("SELECT header FROM block ORDER BY height DESC LIMIT 1").fetchone()
        return None if row is None else row[0]

    def put_state(self, block: tuple[bytes, bytes], records: Changes, pages: Changes) -> None:
        """More of the state that a ledger begins with: height 0, before the first block."""
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            _change(connection, "record", {_place(key): value for key, value in records.items()})
            _change(connection, "page", pages)
            connection.execute("INSERT OR REPLACE INTO block VALUES (0, ?, ?)", block)
        self._tidy(len(records) + len(pages))

    def keep(self, block: Block, ids: list[bytes], records: Changes, pages: Changes, before: Changes) -> None:
        """Keep a block and its changes, whole or not at all; `before`: what its pages were.

        Raises HostError if the disk refuses.
        """
        head, body = block.header.raw, _join(block.transactions)
        self.keep_state(block.header.header.height, (head, body), ids, records, pages, before=before)

    def keep_state(
        self,
        height: int,
        block: tuple[bytes, bytes],
        ids: list[bytes],
        records: Changes,
        pages: Changes,
        *,
        before: Changes,
    ) -> None:
        """The same for an engine with headers of another kind, and perhaps its blocks elsewhere."""
        self._hook("before-write")
        try:
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                placed = {_place(key): records[key] for key in records}
                _many(
                    connection,
                    "INSERT INTO old_record SELECT ?, k.column1, t.value FROM (VALUES ",
                    [(key,) for key in placed],
                    ") k LEFT JOIN record t ON t.key = k.column1",
                    height,
                )
                _change(connection, "record", placed)
                self._hook("between-writes")
                connection.execute("INSERT INTO old_pages VALUES (?, ?)", (height, undo.pack(before)))
                _change(connection, "page", pages)
                # A block replaces nothing that a root of KEPT_ROOTS blocks before it still needs.
                for table in ("old_record", "old_pages"):
                    connection.execute(f"DELETE FROM {table} WHERE height <= ?", (height - KEPT_ROOTS + 1,))
                connection.execute("INSERT INTO block VALUES (?, ?, ?)", (height, *block))
                _many(connection, "INSERT INTO known VALUES ", [(each, height) for each in ids])
                self._hook("before-commit")
        except sqlite3.Error as error:
            raise _trouble(self.path, error) from None
        self._hook("after-commit")
        self._tidy(len(records) + len(pages))

    def _tidy(self, rows: int) -> None:
        """Work the log into the file: another thread does most, and this one what has come meanwhile.

        Then the log starts anew. In a commit, as SQLite does it by itself, everybody would wait for it.
        """
        self._rows += rows + ROWS_OF_ANY_BLOCK
        if self._tidying is None:
            if self._rows > ROWS_IN_LOG:
                self._tidying = self._tidier.submit(_work_in, self._other)
        elif self._tidying.done():
            _work_in(self._connection)
            self._tidying, self._rows = None, 0


def _place(key: bytes) -> bytes:
    """Where a record is kept: behind what it belongs to, so that an account's records share a disk page."""
    return key[1:] + key[:1]


def _change(connection: sqlite3.Connection, table: str, changes: Changes) -> None:
    puts = [(key, value) for key, value in changes.items() if value is not None]
    gone = [(key,) for key, value in changes.items() if value is None]
    _many(connection, f"INSERT OR REPLACE INTO {table} VALUES ", puts)
    _many(connection, f"DELETE FROM {table} WHERE key IN (VALUES ", gone, ")")


def _many(
    connection: sqlite3.Connection, head: str, rows: Sequence[tuple[Any, ...]], tail: str = "", *first: Any
) -> None:
    """One statement for many rows: it runs without the interpreter, which each of many statements would want.

    Few sizes, so that the statements are prepared once.
    """
    at = 0
    for size in (256, 16, 1):
        while len(rows) - at >= size:
            row = "(" + ", ".join("?" * len(rows[at])) + ")"
            values = [*first, *chain.from_iterable(rows[at : at + size])]
            connection.execute(head + ", ".join([row] * size) + tail, values)
            at += size


class Snapshot:
    """Reading beside the writer: what is read inside `at` is of one moment. For one thread at a time."""

    def __init__(self, path: Path, *, cache_mb: int = SMALL_CACHE_MB) -> None:
        self._connection = _connect(path, cache_mb)

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Hold the present state still."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def header(self, height: int | None = None) -> SignedHeader | None:
        """A header; the newest where no height is said."""
        row = self._connection.execute(
            "SELECT header FROM block WHERE height = coalesce(?, (SELECT max(height) FROM block))", (height,)
        ).fetchone()
        return None if row is None else SignedHeader.parse(row[0])

    def top(self) -> int:
        """The height of the last block that is kept; 0 before the first."""
        row = self._connection.execute("SELECT coalesce(max(height), 0) FROM block").fetchone()
        return int(row[0])

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        """Headers from a height on."""
        rows = self._connection.execute(
            "SELECT header FROM block WHERE height >= ? ORDER BY height LIMIT ?", (start, limit)
        )
        return [SignedHeader.parse(row[0]) for row in rows]

    def block(self, height: int) -> Block | None:
        """A block as it was recorded."""
        row = self._connection.execute(
            "SELECT header, transactions FROM block WHERE height = ?", (height,)
        ).fetchone()
        return None if row is None else Block(SignedHeader.parse(row[0]), _split(row[1]))

    def find(self, identity: bytes) -> int | None:
        """The height of the block that a transaction is in."""
        row = self._connection.execute("SELECT height FROM known WHERE id = ?", (identity,)).fetchone()
        return None if row is None else int(row[0])

    def record(self, key: bytes, height: int, newest: int) -> bytes | None:
        """A record as it was after block `height`."""
        for later in range(height + 1, newest + 1):
            found = self._connection.execute(
                "SELECT value FROM old_record WHERE height = ? AND key = ?", (later, _place(key))
            ).fetchone()
            if found is not None:
                return None if found[0] is None else bytes(found[0])
        return self._one("record", _place(key))

    def item(self, key: bytes, height: int, newest: int) -> Item:
        """A record as of a height, with its proof under the root of that height."""
        return Item(
            key,
            self.record(key, height, newest),
            prove(lambda prefix: self.page(prefix, height, newest), key),
        )

    def page(self, prefix: bytes, height: int, newest: int) -> bytes | None:
        """A page as it was after block `height`."""
        for later in range(height + 1, newest + 1):
            with self._connection.blobopen("old_pages", "value", later, readonly=True) as blob:
                found = undo.find(blob, prefix)
            if found is not undo.UNCHANGED:
                return found
        return self._one("page", prefix)

    def _one(self, table: str, key: bytes) -> bytes | None:
        row = self._connection.execute(f"SELECT value FROM {table} WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])


def _connect(path: Path, cache_mb: int = SMALL_CACHE_MB) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `Database._tidy`
        connection.execute(f"PRAGMA cache_size = {-1024 * cache_mb}")  # negative means KiB
    except sqlite3.Error as error:
        raise _trouble(path, error) from None
    return connection


def _work_in(connection: sqlite3.Connection) -> None:
    # A disk that refuses this refuses the next block too, and that is told.
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _trouble(path: Path, error: sqlite3.Error) -> HostError:
    return HostError(
        f"the ledger's file {path} refuses: {error}",
        remedy="make room on its disk, and check its permissions",
    )


def _join(raws: tuple[bytes, ...]) -> bytes:
    return b"".join(len(raw).to_bytes(4) + raw for raw in raws)


def _split(joined: bytes) -> tuple[bytes, ...]:
    found, at = [], 0
    while at < len(joined):
        size = int.from_bytes(joined[at : at + 4])
        found.append(joined[at + 4 : at + 4 + size])
        at += 4 + size
    return tuple(found)
