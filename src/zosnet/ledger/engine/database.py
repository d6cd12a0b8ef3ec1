"""An embedded ledger's disk: one SQLite file, one transaction a block, nothing acknowledged before.

Records and pages are kept as they are now. What a block replaces goes to `old` under the block's height, so
that the state before it can be read, and proven, until that many blocks have passed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zosnet.ledger.engine.interface import Block
from zosnet.ledger.header import SignedHeader
from zosnet.model.errors import HostError

__all__ = ["KEPT_ROOTS", "Database", "Snapshot"]

SCHEMA_VERSION = 1

#: Heights whose state can be proven, the newest included: 100 are promised.
KEPT_ROOTS = 128

#: Of pages: the upper levels of all tables of a million names.
CACHE_MB = 32

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS page (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS old_record (
    height INTEGER, key BLOB, value BLOB, PRIMARY KEY (height, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS old_page (
    height INTEGER, key BLOB, value BLOB, PRIMARY KEY (height, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS block (
    height INTEGER PRIMARY KEY, header BLOB NOT NULL, transactions BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS known (id BLOB PRIMARY KEY, height INTEGER NOT NULL) WITHOUT ROWID;
"""

Changes = dict[bytes, bytes | None]


class Database:
    """A connection for whoever writes. Other threads open a `Snapshot`'s connection of their own."""

    def __init__(
        self, path: Path, hook: Callable[[str], None] = lambda _: None, *, cache_mb: int = CACHE_MB
    ) -> None:
        self.path = path
        self._hook = hook
        self._connection = _connect(path, cache_mb)
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
        row = self._connection.execute("SELECT value FROM record WHERE key = ?", (_place(key),)).fetchone()
        return None if row is None else row[0]

    def page(self, prefix: bytes) -> bytes | None:
        """A page of the tree."""
        row = self._connection.execute("SELECT value FROM page WHERE key = ?", (prefix,)).fetchone()
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
            for table, changes in (
                ("record", {_place(key): value for key, value in records.items()}),
                ("page", pages),
            ):
                connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", list(changes.items()))
            connection.execute("INSERT OR REPLACE INTO block VALUES (0, ?, ?)", block)

    def keep(self, block: Block, ids: list[bytes], records: Changes, pages: Changes) -> None:
        """Keep a block and its changes, whole or not at all. Raises HostError if the disk refuses."""
        head, body = block.header.raw, _join(block.transactions)
        self.keep_state(block.header.header.height, (head, body), ids, records, pages)

    def keep_state(
        self, height: int, block: tuple[bytes, bytes], ids: list[bytes], records: Changes, pages: Changes
    ) -> None:
        """The same for an engine with headers of another kind, and perhaps its blocks elsewhere."""
        self._hook("before-write")
        try:
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                _change(connection, "record", height, {_place(key): records[key] for key in records})
                self._hook("between-writes")
                _change(connection, "page", height, pages)
                connection.execute("INSERT INTO block VALUES (?, ?, ?)", (height, *block))
                connection.executemany("INSERT INTO known VALUES (?, ?)", [(each, height) for each in ids])
                self._hook("before-commit")
        except sqlite3.Error as error:
            raise _trouble(self.path, error) from None
        self._hook("after-commit")


def _place(key: bytes) -> bytes:
    """Where a record is kept: behind what it belongs to, so that an account's records share a disk page."""
    return key[1:] + key[:1]


def _change(connection: sqlite3.Connection, table: str, height: int, changes: Changes) -> None:
    connection.executemany(
        f"INSERT INTO old_{table} VALUES (?, ?, (SELECT value FROM {table} WHERE key = ?))",
        [(height, key, key) for key in changes],
    )
    connection.executemany(
        f"INSERT OR REPLACE INTO {table} VALUES (?, ?)",
        [(key, value) for key, value in changes.items() if value is not None],
    )
    connection.executemany(
        f"DELETE FROM {table} WHERE key = ?", [(key,) for key, value in changes.items() if value is None]
    )
    # A block replaces nothing that a root of KEPT_ROOTS blocks before it still needs.
    connection.execute(f"DELETE FROM old_{table} WHERE height <= ?", (height - KEPT_ROOTS + 1,))


class Snapshot:
    """Reading beside the writer: what is read inside `at` is of one moment. For one thread at a time."""

    def __init__(self, path: Path, *, cache_mb: int = CACHE_MB) -> None:
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
        return self._as_of("record", _place(key), height, newest)

    def page(self, prefix: bytes, height: int, newest: int) -> bytes | None:
        """A page as it was after block `height`."""
        return self._as_of("page", prefix, height, newest)

    def _as_of(self, table: str, key: bytes, height: int, newest: int) -> bytes | None:
        for later in range(height + 1, newest + 1):
            found = self._connection.execute(
                f"SELECT value FROM old_{table} WHERE height = ? AND key = ?", (later, key)
            ).fetchone()
            if found is not None:
                return found[0] if found[0] is None else bytes(found[0])
        row = self._connection.execute(f"SELECT value FROM {table} WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])


def _connect(path: Path, cache_mb: int) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # 64 MB of log before it is worked into the file: the upper levels change in every block, and are
        # then written once for many. It is read again at a start, in a fraction of a second.
        connection.execute("PRAGMA wal_autocheckpoint = 16384")
        connection.execute(f"PRAGMA cache_size = {-1024 * cache_mb}")  # negative means KiB
    except sqlite3.Error as error:
        raise _trouble(path, error) from None
    return connection


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
