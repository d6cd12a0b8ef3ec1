"""Queries and blocks by way of the API: they may wait for others, but nobody else waits for them."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from tests.api.test_places import DEADLINE_S, Client
from tests.ledger.chain import OPERATOR

from zosnet.api.connection import Limits
from zosnet.api.ledger import OPERATIONS, query
from zosnet.api.operation import Call
from zosnet.api.server import HttpServer, application
from zosnet.api.sockets import listen_tcp
from zosnet.lab.fake_node import until
from zosnet.ledger.engine.interface import Answer, Block, Engine
from zosnet.ledger.header import Header, SignedHeader, sign_header
from zosnet.model.errors import UsageError

#: More than there are threads in any pool of asyncio's own.
MANY = 40
HEADER = sign_header(Header(1, bytes(32), 1, 1, bytes(32), bytes(32), bytes(32)), OPERATOR)


@dataclass
class Slow:
    """Questions of the kind `slow` wait for the gate. `waiting` are threads in which they do."""

    slow: str = "query"
    gate: threading.Event = field(default_factory=threading.Event)
    waiting: list[str] = field(default_factory=list)

    def _wait(self, kind: str) -> None:
        if kind == self.slow:
            self.waiting.append(threading.current_thread().name)
            assert self.gate.wait(2 * DEADLINE_S)

    def query(self, _: list[bytes], __: int | None = None) -> Answer:
        self._wait("query")
        return Answer(HEADER, ())

    def block(self, _: int) -> Block:
        self._wait("block")
        return Block(HEADER, ())

    def headers(self, _: int, __: int) -> list[SignedHeader]:
        return [HEADER]

    def find(self, _: bytes) -> int | None:
        return 1


QUESTIONS = {
    "query": ("POST /v1/ledger/query", '{"keys": []}'),
    "block": ("GET /v1/ledger/blocks/1", ""),
    "headers": ("GET /v1/ledger/headers", ""),
    "find": (f"GET /v1/ledger/transactions/{'00' * 32}", ""),
}


@pytest.mark.parametrize("slow", ["query", "block"])
def test_what_waits_keeps_no_thread_from_other_questions(slow: str) -> None:
    async def work() -> None:
        engine, limits, listener = Slow(slow), Limits(), listen_tcp("127.0.0.1", 0, "the test")
        server = HttpServer(application(OPERATIONS, engine, limits), listener, limits)
        serving = asyncio.create_task(server.serve_until_stopped())
        await server.accepting.wait()
        clients: list[Client] = []

        async def ask(line: str, body: str = "") -> Client:
            streams = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
            clients.append(Client(streams))
            clients[-1].send(
                f"{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            return clients[-1]

        try:
            async with asyncio.timeout(DEADLINE_S):
                waiting = [await ask(*QUESTIONS[slow]) for _ in range(MANY)]
                await until(lambda: len(server.server_state.tasks) == MANY, within=DEADLINE_S)
                await until(lambda: bool(engine.waiting), within=DEADLINE_S)
                for kind, question in QUESTIONS.items():
                    if kind != slow:
                        assert (await (await ask(*question)).answer()).status == 200
                engine.gate.set()
                assert {(await each.answer()).status for each in waiting} == {200}
        finally:
            engine.gate.set()
            for each in clients:
                each.leave()
            server.stop()
            await serving

    asyncio.run(work())


@pytest.mark.parametrize("body", [{"keys": ["zz"]}, {"keys": 1}, None])
def test_what_is_no_query_is_refused(body: Any) -> None:
    with pytest.raises(UsageError):
        asyncio.run(query(cast("Engine", Slow()), Call({}, {}, body)))
