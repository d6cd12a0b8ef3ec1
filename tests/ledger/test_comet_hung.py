"""An operator's node whose CometBFT runs and answers nothing: it says so, and keeps nobody for long."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.ledger.comet import wait_for
from tests.ledger.test_comet_receipts import Node

from zosnet.ledger.comet.envelope import pack
from zosnet.ledger.engine.cometbft import engine as module
from zosnet.ledger.engine.cometbft import sender
from zosnet.ledger.engine.cometbft.rpc import Rpc, Silent
from zosnet.model.errors import HostError

DEADLINE_S = 30.0
#: Of what a test has to wait for.
SHORT_S = 0.2


class Program:
    """CometBFT's socket. While it `hangs` the kernel takes connections and questions, and nobody answers."""

    def __init__(self, path: Path) -> None:
        self.hangs, self.asked = True, 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(100)
        self._open: dict[socket.socket, threading.Thread] = {}
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=[connection])
                self._open[connection] = thread
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):  # the client has left
            while connection.recv(65536):
                self.asked += 1
                if not self.hangs:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE_S)
        self._listener.close()
        for connection, thread in self._open.items():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE_S)
            connection.close()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(module, "PULSE_S", SHORT_S)
    made = Node(tmp_path)
    made.engine._rpc = Rpc(made.engine.home.rpc, SHORT_S)
    made.engine._sender._rpc = Rpc(made.engine.home.rpc, SHORT_S)
    yield made
    made.engine.close()


@pytest.fixture
def program(node: Node) -> Iterator[Program]:
    made = Program(node.engine.home.rpc)
    yield made
    made.close()


@pytest.fixture
def following(node: Node, program: Program) -> Iterator[None]:
    """The thread that follows the headers runs."""
    (_, thread) = node.engine._threads
    thread.start()
    yield
    node.engine.close()


@pytest.mark.usefixtures("following")
def test_the_status_says_so_while_no_block_is_there_to_be_fetched(node: Node, program: Program) -> None:
    wait_for("trouble", lambda: "CometBFT doesn't answer" in node.engine.status().trouble)
    program.hangs = False
    wait_for("no trouble", lambda: "CometBFT doesn't answer" not in node.engine.status().trouble)
    program.hangs = True
    wait_for("trouble again", lambda: "CometBFT doesn't answer" in node.engine.status().trouble)


@pytest.mark.usefixtures("following")
def test_whoever_submitted_is_told_all_the_same(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "GIVE_UP_S", SHORT_S)
    with pytest.raises(HostError, match="may still be carried out"):
        node.engine.submit([node.opening().raw]).result(timeout=DEADLINE_S)


def test_a_clients_question_fails_at_once_until_it_answers_again(node: Node, program: Program) -> None:
    rpc = node.engine._rpc
    with pytest.raises(Silent):
        rpc.transactions(1)
    asked = program.asked
    with pytest.raises(Silent) as held:
        rpc.transactions(1)
    assert program.asked == asked and held.value.remedy
    program.hangs = False
    rpc.pulse()
    assert not rpc.is_silent


def test_a_question_on_a_kept_connection_has_its_time_once(node: Node, program: Program) -> None:
    program.hangs = False
    node.engine._rpc.pulse()
    program.hangs = True
    with pytest.raises(Silent):
        node.engine._rpc.pulse()
    assert program.asked == 2


def test_what_it_may_still_have_is_not_called_refused(
    node: Node, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "GIVE_UP_S", SHORT_S)
    good = node.opening()
    future = node.engine.submit([good.raw])
    assert node.judge() == [good]
    node.engine._sender._broadcast([good], pack([good.raw]))
    assert program.asked and not future.done()
    node.block(good.raw)  # it went on, and others agreed
    assert future.result(timeout=0)[0].is_done


def test_what_it_never_got_is_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "GIVE_UP_S", SHORT_S)
    good = node.opening()
    future = node.engine.submit([good.raw])
    assert node.judge() == [good]
    node.engine._sender._broadcast([good], pack([good.raw]))
    assert future.result(timeout=0)[0].reason == "busy"
