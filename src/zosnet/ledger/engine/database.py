"""A ledger's state on disk, as of one height, and what it was at some heights before.

Records and pages are kept as they are now. What a block replaces goes to `old_record` and `old_pages` under
the block's height, so that the state before it can be read, and proven, until that many blocks have passed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from zosnet.ledger.engine import undo
from zosnet.ledger.engine.interface import Item
from zosnet.ledger.engine.wal import SMALL_CACHE_MB, Tidier, connect, trouble
from zosnet.ledger.tree import prove
from zosnet.model.errors import HostError

__all__ = ["KEPT_ROOTS", "Change", "Changes", "Database", "Snapshot"]

SCHEMA_VERSION = 3

#: Heights whose state can be proven, the newest included: 100 are promised.
KEPT_ROOTS = 128

#: So many changed rows are in the log, some 64 MB, before it is worked into the file: what changes in every
#: block is then written once for many. It is read again at a start, in a fraction of a second. A guess.
ROWS_IN_LOG = 20_000
ROWS_OF_ANY_BLOCK = 10

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS page (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS old_record (
    height INTEGER, key BLOB, value BLOB, PRIMARY KEY (height, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS old_pages (height INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY, height INTEGER NOT NULL, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS known (id BLOB PRIMARY KEY, height INTEGER NOT NULL) WITHOUT ROWID;
"""

Changes = dict[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Change:
    """What a block does to the state."""

    height: int
    head: bytes  #: what its engine knows the block by
    ids: Sequence[bytes]  #: of its transactions
    records: Changes
    pages: Changes
    before: bytes  #: what its pages were, see `undo`


class Database:
    """A connection to write, for one thread, and one to read what is kept beside it, for another one.

    Whoever asks from further threads opens a `Snapshot`'s connection.
    """

    def __init__(
        self,
        path: Path,
        hook: Callable[[str], None] = lambda _: None,
        *,
        cache_mb: int = SMALL_CACHE_MB,
        is_final: bool = True,
        pause_s: float = 0.0,
    ) -> None:
        self.path = path
        self._hook = hook
        self._pause_s = pause_s
        with ExitStack() as opened:
            self._connection = opened.enter_context(closing(connect(path, cache_mb, is_final=is_final)))
            self._reader = opened.enter_context(closing(connect(path)))
            self._tidier = opened.enter_context(closing(Tidier(path, self._connection, ROWS_IN_LOG)))
            try:
                self._prepare()
            except sqlite3.Error as error:
                raise trouble(path, error) from None
            self._opened = opened.pop_all()

    def _prepare(self) -> None:
        with self._connection:
            self._connection.executescript(_TABLES)
        version = self.meta("schema")
        if version is None:
            self.set_meta("schema", b"%d" % SCHEMA_VERSION)
        elif version != b"%d" % SCHEMA_VERSION:
            raise HostError(
                f"{self.path} is of another version of zosnet", remedy="use that version, or a newer one"
            )

    def close(self) -> None:
        """Give the file back."""
        self._opened.close()

    def meta(self, name: str) -> bytes | None:
        """A value about the whole."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def set_meta(self, name: str, value: bytes) -> None:
        """Keep one for good, whatever becomes of changes of the state. Raises HostError."""
        try:
            with self._connection:
                self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
            # Where commits aren't final this alone is synced: blocks without their genesis are worth nothing.
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            raise trouble(self.path, error) from None

    def get(self, key: bytes) -> bytes | None:
        """A record."""
        row = self._reader.execute("SELECT value FROM record WHERE key = ?", (_place(key),)).fetchone()
        return None if row is None else row[0]

    def page(self, prefix: bytes) -> bytes | None:
        """A page of the tree."""
        row = self._reader.execute("SELECT value FROM page WHERE key = ?", (prefix,)).fetchone()
        return None if row is None else row[0]

    def head(self) -> tuple[int, bytes] | None:
        """The height of the last block whose changes are kept, and what its engine knows it by."""
        row = self._connection.execute("SELECT height, value FROM head").fetchone()
        return None if row is None else (row[0], row[1])

    def put_state(self, height: int, head: bytes, records: Changes, pages: Changes) -> None:
        """More of the state that a ledger begins with, and no way back behind it."""
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            rows = _Rows(connection, self._pause_s)
            rows.change("record", _placed(records))
            rows.change("page", pages)
            connection.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?)", (height, head))
        self._tidier.wrote(len(records) + len(pages))

    def keep(self, changes: Sequence[Change]) -> None:
        """Keep what one or more blocks in a row do, whole or not at all. Raises HostError."""
        self._hook("before-write")
        top = changes[-1]
        # A block replaces nothing that a root of KEPT_ROOTS blocks before it still needs.
        past = top.height - KEPT_ROOTS + 1
        records: Changes = {}
        pages: Changes = {}
        for change in changes:
            records |= change.records
            pages |= change.pages
        try:
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                rows = _Rows(connection, self._pause_s)
                rows.put_old_records(changes, past)
                rows.change("record", _placed(records))
                self._hook("between-writes")
                undone = [(change.height, change.before) for change in changes if change.height > past]
                rows.run("INSERT INTO old_pages VALUES ", undone)
                rows.change("page", pages)
                for table in ("old_record", "old_pages"):
                    connection.execute(f"DELETE FROM {table} WHERE height <= ?", (past,))
                connection.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?)", (top.height, top.head))
                ids = [(each, change.height) for change in changes for each in change.ids]
                rows.run("INSERT INTO known VALUES ", sorted(ids))
                self._hook("before-commit")
        except sqlite3.Error as error:
            raise trouble(self.path, error) from None
        self._hook("after-commit")
        self._tidier.wrote(len(records) + len(pages) + ROWS_OF_ANY_BLOCK)


def _place(key: bytes) -> bytes:
    """Where a record is kept: behind what it belongs to, so that an account's records share a disk page."""
    return key[1:] + key[:1]


def _placed(records: Changes) -> Changes:
    return {_place(key): value for key, value in records.items()}


class _Rows:
    """Many rows at a time, a rest between so many and the next."""

    def __init__(self, connection: sqlite3.Connection, pause_s: float) -> None:
        self._connection, self._pause_s = connection, pause_s

    def change(self, table: str, changes: Changes) -> None:
        """Put and delete. In the order of their keys: neighbours share a disk page."""
        puts = sorted((key, value) for key, value in changes.items() if value is not None)
        gone = [(key,) for key, value in changes.items() if value is None]
        self.run(f"INSERT OR REPLACE INTO {table} VALUES ", puts)
        self.run(f"DELETE FROM {table} WHERE key IN (VALUES ", gone, ")")

    def put_old_records(self, changes: Sequence[Change], past: int) -> None:
        """What each block after `past` replaces: what the file has, or what one before it wrote."""
        latest: Changes = {}
        for change in changes:
            placed = _placed(change.records)
            if change.height > past:
                self.run(
                    "INSERT INTO old_record SELECT ?, k.column1, t.value FROM (VALUES ",
                    [(key,) for key in placed if key not in latest],
                    ") k LEFT JOIN record t ON t.key = k.column1",
                    change.height,
                )
                known = [(change.height, key, latest[key]) for key in placed if key in latest]
                self.run("INSERT INTO old_record VALUES ", known)
            latest |= placed

    def run(self, head: str, rows: Sequence[tuple[Any, ...]], tail: str = "", *first: Any) -> None:
        """One statement for many rows: it runs without the interpreter, which each of many would want.

        Few sizes, so that the statements are prepared once.
        """
        at = 0
        for size in (256, 16, 1):
            while len(rows) - at >= size:
                row = "(" + ", ".join("?" * len(rows[at])) + ")"
                values = [*first, *chain.from_iterable(rows[at : at + size])]
                self._connection.execute(head + ", ".join([row] * size) + tail, values)
                at += size
                if self._pause_s and size > 1:
                    time.sleep(self._pause_s)


class Snapshot:
    """Reading beside the writer: what is read inside `at` is of one moment. For one thread at a time."""

    def __init__(self, path: Path, *, cache_mb: int = SMALL_CACHE_MB) -> None:
        self._connection = connect(path, cache_mb)

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

    def top(self) -> int:
        """The height of the last block whose changes are kept; 0 before the first."""
        row = self._connection.execute("SELECT height FROM head").fetchone()
        return 0 if row is None else int(row[0])

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
        rewind = undo.Rewind(prefix, self._one("page", prefix))
        self.rewind(rewind, height, newest)
        return rewind.page

    def rewind(self, page: undo.Rewind, height: int, newest: int) -> None:
        """Take a page of after block `newest` back to after block `height`."""
        for later in range(newest, height, -1):
            with self._connection.blobopen("old_pages", "value", later, readonly=True) as blob:
                page.back(blob)

    def _one(self, table: str, key: bytes) -> bytes | None:
        row = self._connection.execute(f"SELECT value FROM {table} WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])
