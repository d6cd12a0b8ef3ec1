"""Envelopes by way of the API: receipts in order, and a large one keeps nobody's small one waiting."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future
from typing import Any, cast

import pytest

from zosnet.api.ledger import FEW_TRANSACTIONS, MOST_TRANSACTIONS, submit
from zosnet.api.operation import Call
from zosnet.ledger.engine.interface import Engine, Receipt
from zosnet.model.errors import UsageError


class Echo:
    """Its receipts have each transaction's bytes for an id; a large envelope waits for the gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def submit(self, raws: list[bytes]) -> Future[list[Receipt]]:
        if len(raws) > FEW_TRANSACTIONS:
            assert self.gate.wait(30)
        future: Future[list[Receipt]] = Future()
        future.set_result([Receipt(raw, height=7) for raw in raws])
        return future


def call(raws: list[bytes]) -> Call:
    return Call({}, {}, {"transactions": [raw.hex() for raw in raws]})


async def ids(echo: Echo, raws: list[bytes]) -> list[str]:
    response = await submit(cast("Engine", echo), call(raws))
    document: dict[str, Any] = json.loads(bytes(response.body))
    assert document["schema"] == "zosnet.ledger-receipts/1"
    return [receipt["id"] for receipt in document["receipts"]]


def test_a_small_envelope_is_answered_while_a_large_one_is_read() -> None:
    async def both() -> None:
        echo, many = Echo(), [b"%d" % number for number in range(3 * FEW_TRANSACTIONS)]
        large = asyncio.create_task(ids(echo, many))
        assert await ids(echo, [b"one", b"two"]) == [b"one".hex(), b"two".hex()]
        assert not large.done()
        echo.gate.set()
        assert await large == [raw.hex() for raw in many]

    asyncio.run(both())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "body"),
        ({"transactions": 5}, "transactions"),
        ({"transactions": ["zz"]}, "hexadecimal"),
        ({"transactions": ["00"] * FEW_TRANSACTIONS + ["zz"]}, "hexadecimal"),
        ({"transactions": [1] * (FEW_TRANSACTIONS + 1)}, "transactions"),
        ({"transactions": ["00"] * (MOST_TRANSACTIONS + 1)}, "at most"),
    ],
)
def test_what_is_no_envelope_is_refused(body: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        asyncio.run(submit(cast("Engine", Echo()), Call({}, {}, body)))
