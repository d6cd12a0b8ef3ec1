"""An operator's node without its CometBFT: how long queries wait for the header that proves the state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.ledger.test_comet_receipts import Node

from zosnet.ledger.engine.cometbft import engine as module
from zosnet.model.errors import HostError

DEADLINE_S = 30.0


class Told(threading.Condition):
    """Tells of the first who waits."""

    def __init__(self) -> None:
        super().__init__()
        self.is_waited_for = threading.Event()

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        def look() -> Any:
            found = predicate()
            self.is_waited_for.set()
            return found

        return super().wait_for(look, timeout)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(module, "PROOF_S", 100 * DEADLINE_S)
    made = Node(tmp_path)
    made.engine._proven = Told()
    yield made
    made.engine.close()


def header(height: int, root: bytes) -> Any:
    return SimpleNamespace(header=SimpleNamespace(height=height, root=root))


def put(node: Node, height: int) -> None:
    """The header of this height, which has the newest root."""
    with node.engine._proven:
        node.engine._headers.newest = header(height, node.engine.application.kept.root)
        node.engine._proven.notify_all()


def test_a_query_waits_for_the_header_that_proves_the_newest_state(node: Node) -> None:
    put(node, 1)
    node.block(node.opening().raw)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(node.engine.query, [])
        assert node.engine._proven.is_waited_for.wait(DEADLINE_S) and not answer.done()  # type: ignore[attr-defined]
        put(node, 2)
        assert answer.result(DEADLINE_S).header.header.height == 2


def test_a_query_that_has_missed_its_header_takes_a_later_one(node: Node) -> None:
    """Two headers came at once, and the state has changed between."""
    put(node, 1)
    node.block(node.opening(5).raw)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(node.engine.query, [])
        assert node.engine._proven.is_waited_for.wait(DEADLINE_S)  # type: ignore[attr-defined]
        node.block(node.opening(6).raw)
        put(node, 3)
        done, _ = wait_for([answer], DEADLINE_S)
        node.engine.close()  # whoever waits on is told
        assert done and answer.result().header.header.height == 3


def test_all_queries_together_wait_no_longer_than_one(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no block comes the time is that since the last one, whenever they ask."""
    with monkeypatch.context() as past:
        past.setattr(module, "PROOF_S", 0.0)
        node.block()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(node.engine.query, [])
        done, _ = wait_for([answer], DEADLINE_S)
        node.engine.close()
        assert done
        with pytest.raises(HostError, match="no block"):
            answer.result()
