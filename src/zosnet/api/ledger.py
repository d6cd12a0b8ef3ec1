"""A ledger's API, for those who follow it and those who write to it. Whoever asks checks the answers.

GET  /v1/ledger/status /v1/ledger/genesis /v1/ledger/headers /v1/ledger/blocks/{height}
GET  /v1/ledger/transactions/{id} /openapi.json
POST /v1/ledger/transactions    an envelope of signed transactions, each of which stands or falls alone
POST /v1/ledger/query           records with proofs
POST /v1/ledger/subscribe       a line for each block, as it comes

Whatever has bytes of its own (`docs/protocols/ledger.md`) is sent as hexadecimal digits of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.responses import Response

import zosnet
from zosnet.api.openapi import document
from zosnet.api.operation import ALWAYS, Call, No, Operation, Query, beside, json_response
from zosnet.api.schema import parse, render
from zosnet.ledger.encoding import encode
from zosnet.ledger.engine.interface import Engine, Receipt
from zosnet.ledger.engine.turns import PAUSE_S, PORTION
from zosnet.model.errors import UsageError

__all__ = ["OPERATIONS"]

T = TypeVar("T")

MOST_HEADERS = 1000
MOST_TRANSACTIONS = 5000
#: More than these are read and answered beside the loop. A guess: some 20 µs each.
FEW_TRANSACTIONS = 20

#: Queries wait for a block, and their proofs are work, so they have threads of their own: other questions
#: find one at once. A guess: those that wait do so for the same block, those that work share an interpreter.
_QUERIES = ThreadPoolExecutor(8, "api-queries")
#: Another program may have the blocks, which may let its time pass.
_BLOCKS = ThreadPoolExecutor(2, "api-blocks")


@dataclass(frozen=True, slots=True)
class StatusView:
    """An engine at a glance. `trouble` says what is wrong; it is empty where all is well."""

    engine: str
    chain: str
    height: int
    time_ms: int
    age_ms: int
    root: str
    pending: int
    subscribers: int
    oldest_root: int
    trouble: str
    schema: str = "zosnet.ledger-status/1"


@dataclass(frozen=True, slots=True)
class GenesisView:
    """What the ledger started from."""

    chain: str
    genesis: str
    schema: str = "zosnet.ledger-genesis/1"


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """An envelope of signed transactions."""

    transactions: list[str]


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """What became of a transaction. `reason` is empty where it is final, in block `height`."""

    id: str
    reason: str
    text: str
    height: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ReceiptsView:
    """A receipt for each transaction of an envelope, in its order."""

    receipts: list[ReceiptView]
    schema: str = "zosnet.ledger-receipts/1"


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """Records by their keys; as of the newest block, unless a height is named."""

    keys: list[str]
    height: int | None = None


@dataclass(frozen=True, slots=True)
class ItemView:
    """A record, or its absence, with the proof of it."""

    key: str
    value: str | None
    proof: str


@dataclass(frozen=True, slots=True)
class AnswerView:
    """Records as of one signed header."""

    header: str
    items: list[ItemView]
    schema: str = "zosnet.ledger-answer/1"


@dataclass(frozen=True, slots=True)
class HeadersView:
    """Signed headers in a row."""

    headers: list[str]
    schema: str = "zosnet.ledger-headers/1"


@dataclass(frozen=True, slots=True)
class BlockView:
    """A block as it was recorded."""

    header: str
    transactions: list[str]
    schema: str = "zosnet.ledger-block/1"


@dataclass(frozen=True, slots=True)
class FoundView:
    """Where a transaction is."""

    height: int
    schema: str = "zosnet.ledger-transaction/1"


@dataclass(frozen=True, slots=True)
class EventView:
    """A new block, and the keys of the records that it changed."""

    header: str
    changed: list[str] = field(default_factory=list)


def _bytes(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"{what} must be hexadecimal digits") from None


def _number(call: Call, name: str, text: str | None, usual: int) -> int:
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UsageError(f"{name} must be a whole number, not {text!r}")
    return int(text)


def status(engine: Engine, _: Call) -> StatusView:
    found = engine.status()
    return StatusView(
        found.engine, found.chain.hex(), found.height, found.time_ms, found.age_ms, found.root.hex(),
        found.pending, found.subscribers, found.oldest_root, found.trouble,
    )  # fmt: skip


def genesis(engine: Engine, _: Call) -> GenesisView:
    return GenesisView(engine.genesis.chain.hex(), encode(engine.genesis).hex())


async def submit(engine: Engine, call: Call) -> Response:
    sent = call.body.get("transactions") if isinstance(call.body, dict) else None
    if not isinstance(sent, list) or len(sent) <= FEW_TRANSACTIONS:
        return _receipts(await asyncio.wrap_future(_submit(engine, call)))
    return await beside(_receipts, await asyncio.wrap_future(await beside(_submit, engine, call)))


def _submit(engine: Engine, call: Call) -> Future[list[Receipt]]:
    request: SubmitRequest = parse(SubmitRequest, call.body)
    if len(request.transactions) > MOST_TRANSACTIONS:
        raise UsageError(f"an envelope has at most {MOST_TRANSACTIONS} transactions")
    raws: list[bytes] = []
    for portion in _portions(request.transactions):
        raws += [_bytes(each, "a transaction") for each in portion]
    return engine.submit(raws)


def _receipts(receipts: list[Receipt]) -> Response:
    document = render(ReceiptsView([]))
    for portion in _portions(receipts):
        document["receipts"] += [
            render(ReceiptView(each.id.hex(), each.reason, each.text, each.height, each.epoch))
            for each in portion
        ]
    return json_response(document)


def _portions(items: list[T]) -> Iterator[list[T]]:
    """So many at once, and a rest between."""
    for start in range(0, len(items), PORTION):
        if start:
            time.sleep(PAUSE_S)
        yield items[start : start + PORTION]


async def query(engine: Engine, call: Call) -> Response:
    return await asyncio.get_running_loop().run_in_executor(_QUERIES, _query, engine, call)


def _query(engine: Engine, call: Call) -> Response:
    request: QueryRequest = parse(QueryRequest, call.body)
    answer = engine.query([_bytes(each, "a key") for each in request.keys], request.height)
    items = [
        ItemView(item.key.hex(), None if item.value is None else item.value.hex(), encode(item.proof).hex())
        for item in answer.items
    ]
    return json_response(render(AnswerView(answer.header.raw.hex(), items)))


async def headers(engine: Engine, call: Call) -> HeadersView:
    start = _number(call, "start", call.query.get("start"), 1)
    limit = min(_number(call, "limit", call.query.get("limit"), MOST_HEADERS), MOST_HEADERS)
    found = await asyncio.to_thread(engine.headers, start, limit)
    return HeadersView([each.raw.hex() for each in found])


async def block(engine: Engine, call: Call) -> BlockView | No:
    height = _number(call, "the height", call.path["height"], 0)
    found = await asyncio.get_running_loop().run_in_executor(_BLOCKS, engine.block, height)
    if found is None:
        return No(f"there is no block {height}")
    return BlockView(found.header.raw.hex(), [raw.hex() for raw in found.transactions])


async def transaction(engine: Engine, call: Call) -> FoundView | No:
    identity = call.path["id"]
    height = await asyncio.to_thread(engine.find, _bytes(identity, "a transaction's id"))
    return No(f"no block has the transaction {identity}") if height is None else FoundView(height)


async def subscribe(engine: Engine, _: Call) -> AsyncIterator[EventView]:
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def notify() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before the engine
            loop.call_soon_threadsafe(news.set)

    events = engine.subscribe(notify)
    try:
        height = engine.status().height
        for header in engine.headers(height, 1):
            yield EventView(header.raw.hex())
        while True:
            news.clear()
            while (event := events.get(0.0)) is not None:
                yield EventView(event.header.raw.hex(), [key.hex() for key in event.changed])
            await news.wait()
    except EOFError:
        return
    finally:
        events.close()


def openapi(_: Any = None, __: Call | None = None) -> dict[str, Any]:
    """The OpenAPI document of this API."""
    return document("zosnet ledger", zosnet.__version__, OPERATIONS)


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/v1/ledger/status", "ledgerStatus", "The ledger at a glance", status, StatusView),
    Operation("GET", "/v1/ledger/genesis", "ledgerGenesis", "What it started from", genesis, GenesisView),
    Operation(
        "POST", "/v1/ledger/transactions", "submit", "Submit an envelope of signed transactions",
        submit, ReceiptsView, body=SubmitRequest, waits=ALWAYS,
    ),
    Operation(
        "POST", "/v1/ledger/query", "query", "Records with proofs", query, AnswerView, body=QueryRequest,
        waits=ALWAYS,
    ),
    Operation(
        "GET", "/v1/ledger/headers", "ledgerHeaders", "Signed headers in a row", headers, HeadersView,
        query=(Query("start", "integer", "the first height"), Query("limit", "integer", "at most so many")),
    ),
    Operation(
        "GET", "/v1/ledger/blocks/{height}", "ledgerBlock", "A block as it was recorded", block, BlockView,
        failures=(404,), large=True, waits=ALWAYS,
    ),
    Operation(
        "GET", "/v1/ledger/transactions/{id}", "ledgerTransaction", "Where a transaction is", transaction,
        FoundView, failures=(404,),
    ),
    Operation(
        "POST", "/v1/ledger/subscribe", "subscribe", "A line for each block, the newest first, as they come",
        subscribe, EventView, stream=True,
    ),
    Operation("GET", "/openapi.json", "openapi", "This document", openapi, dict[str, Any]),
)  # fmt: skip
