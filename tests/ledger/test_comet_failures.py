"""An operator's node that can't be opened or started gives back what it had: threads, files, sockets."""

from __future__ import annotations

import errno
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.chain import OPERATOR, genesis_of
from tests.ledger.left import Left, descriptors, fail_at, refuse_at_each_step

from zosnet.ledger.comet import abci
from zosnet.ledger.engine import database, wal
from zosnet.ledger.engine.cometbft import application, engine, sender
from zosnet.ledger.engine.cometbft.engine import Comet
from zosnet.ledger.engine.cometbft.home import Home
from zosnet.ledger.engine.cometbft.server import Server
from zosnet.ledger.signature import Signer
from zosnet.model.errors import HostError


def sockets() -> set[str]:
    """Those that this process has open."""
    return set(descriptors("socket:"))


class LeftOfNode(Left):
    """Sockets as well, and where they were bound."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._sockets = sockets()

    def __call__(self) -> tuple[list[str], list[str]]:
        threads, files = super().__call__()
        bound = [str(each) for each in self._directory.rglob("*.sock")]
        return threads, [*files, *bound, *(sockets() - self._sockets)]


def open_(directory: Path) -> Comet:
    home = Home(directory / "comet", genesis_of(), OPERATOR, Signer(b"n" * 32), "127.0.0.1:1")
    return Comet(directory, home, Path("/bin/true"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's directory after two blocks."""
    directory = tmp_path_factory.mktemp("kept")
    node = open_(directory)
    for height in (1, 2):
        time = abci.Time(node.genesis.time_ms // 1000 + height)
        node.application.handle(abci.FinalizeBlock((), (), b"h" * 32, height, time))
        node.application.handle(abci.Commit())
    node.close()
    return directory


@pytest.mark.parametrize("is_new", [True, False])
def test_a_disk_that_refuses_at_any_step_leaves_nothing_open(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, *, is_new: bool
) -> None:
    before = None if is_new else kept
    refuse_at_each_step(tmp_path, before, monkeypatch, lambda each: open_(each).close(), LeftOfNode)


STEPS = [
    *((engine, name) for name in ("lock", "Database", "Application", "Snapshot", "Headers", "Server")),
    *((engine, name) for name in ("Rpc", "Supervisor", "Sender")),
    (sender, "Front"),
    *((application, name) for name in ("Mempool", "Machine", "Tree")),
    (Home, "write"),
    (database, "Tidier"),
    (wal, "ThreadPoolExecutor"),
    (threading, "Thread"),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[0].__name__}.{step[1]}")
@pytest.mark.parametrize("error", [RuntimeError("can't start"), MemoryError(), KeyboardInterrupt()])
def test_what_fails_while_it_is_opened_leaves_nothing_open(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str], error: BaseException
) -> None:
    left = LeftOfNode(tmp_path)
    shutil.copytree(kept, tmp_path / "node")
    fail_at(step, error, monkeypatch, lambda: open_(tmp_path / "node"), left)
    open_(tmp_path / "node").close()
    assert left() == ([], [])


def test_a_path_too_long_for_a_socket_leaves_nothing_open(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100)
    left = LeftOfNode(tmp_path)
    with pytest.raises(HostError) as held:
        open_(directory)
    assert held.value.remedy and left() == ([], [])


@pytest.mark.parametrize("name", ["ledger.sqlite", "headers.sqlite"])
def test_a_corrupt_file_leaves_nothing_open(tmp_path: Path, kept: Path, name: str) -> None:
    shutil.copytree(kept, tmp_path / "node")
    for each in (tmp_path / "node").glob(f"{name}*"):
        each.write_bytes(b"\xff" * each.stat().st_size)
    left = LeftOfNode(tmp_path)
    with pytest.raises(HostError) as held:
        open_(tmp_path / "node")
    assert held.value.remedy and left() == ([], [])


@pytest.mark.parametrize(("table", "name"), [("head", "ledger.sqlite"), ("light", "headers.sqlite")])
def test_a_row_that_cannot_be_read_leaves_nothing_open(
    tmp_path: Path, kept: Path, table: str, name: str
) -> None:
    shutil.copytree(kept, tmp_path / "node")
    with sqlite3.connect(tmp_path / "node" / name) as connection:
        values = "(1, 2, x'07')" if table == "head" else "(2, x'07')"
        connection.execute(f"INSERT OR REPLACE INTO {table} VALUES {values}")
    connection.close()
    left = LeftOfNode(tmp_path)
    with pytest.raises(HostError) as held:
        open_(tmp_path / "node")
    assert held.value.remedy and left() == ([], [])


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_start_that_fails_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The `number`-th thread can't be started."""
    left, node = LeftOfNode(tmp_path), open_(tmp_path / "node")
    real: Callable[[threading.Thread], None] = threading.Thread.start
    ours = [node._supervisor._thread, *node._threads]

    def start(self: threading.Thread) -> None:
        if self is ours[number - 1]:
            raise RuntimeError("can't start new thread")
        real(self)

    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start"):
            node.start()
    assert left() == ([], [])
    node.close()
    assert left() == ([], [])


def test_a_node_that_was_closed_may_be_closed_again_while_another_runs_there(tmp_path: Path) -> None:
    first = open_(tmp_path / "node")
    first.close()
    left, second = LeftOfNode(tmp_path), open_(tmp_path / "node")
    first.close()
    assert second.home.abci.exists()
    second.close()
    assert left() == ([], [])


def test_a_connection_that_cannot_be_taken_costs_no_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CometBFT ends when its application doesn't answer, and connects again once it is started anew."""
    troubles: list[Exception] = []
    left, real = LeftOfNode(tmp_path), socket.socket.accept
    refusals = [OSError(errno.EMFILE, "Too many open files")]

    def accept(self: socket.socket) -> Any:
        if refusals:
            raise refusals.pop()
        return real(self)

    served = Server(tmp_path / "s.sock", lambda each: each, troubles.append)
    monkeypatch.setattr(socket.socket, "accept", accept)
    for _ in range(3):  # the first may have been waited for before
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(served.path))
            client.sendall(b"\x02\x0a\x00")  # an echo
            assert client.recv(100) == b"\x02\x12\x00"
    assert "Too many open files" in str(troubles)
    served.close()
    assert left() == ([], []) and len(troubles) == 1
