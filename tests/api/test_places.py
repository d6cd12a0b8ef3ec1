"""Clients that wait for an answer leave connections, and places to wait in, for others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from zosnet.api import ledger, local, mycelium
from zosnet.api.connection import Limits
from zosnet.api.operation import ALWAYS, Call, Operation, Query
from zosnet.api.places import Crowded, Places, source_of
from zosnet.api.server import HttpServer, application
from zosnet.api.sockets import listen_tcp, listen_unix, program_of
from zosnet.lab.fake_node import until

DEADLINE_S = 30.0
#: Eight connections: six may wait, four of them of one address.
SMALL = Limits(header_s=600.0, body_s=600.0, reading_s=600.0, idle_s=600, connections=8)
WAIT = b"GET /wait?timeout=60 HTTP/1.1\r\nHost: localhost\r\n\r\n"
NO_WAIT = b"GET /wait?timeout=0.0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
RECEIPT = b"POST /receipt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
NOW = b"GET /now HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Service:
    """What waits does so until `door` is open."""

    door: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0

    async def wait(self, call: Call) -> dict[str, Any]:
        if call.seconds("timeout", highest=60.0):
            self.begun += 1
            await self.door.wait()
        return {"waited": True}

    async def receipt(self, _: Call) -> dict[str, Any]:
        self.begun += 1
        await self.door.wait()
        return {"done": True}

    async def stream(self, _: Call) -> AsyncIterator[dict[str, Any]]:
        self.begun += 1
        yield {"line": 1}
        await self.door.wait()

    def now(self, _: Call) -> dict[str, Any]:
        return {"now": True}


OPERATIONS = (
    Operation(
        "GET", "/wait", "wait", "", Service.wait, dict, waits="timeout",
        query=(Query("timeout", "number", ""),),
    ),
    Operation("POST", "/receipt", "receipt", "", Service.receipt, dict, waits=ALWAYS),
    Operation("GET", "/stream", "stream", "", Service.stream, dict, stream=True),
    Operation("GET", "/now", "now", "", Service.now, dict),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """A connection from an address of this machine's loopback."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._reader, self._writer = streams

    def send(self, request: bytes) -> None:
        self._writer.write(request)

    async def answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for line in head[1:] if line for name, _, value in [line.partition(": ")]
        }
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, json.loads(body) if body else None)

    def leave(self) -> None:
        self._writer.close()


@dataclass
class House:
    service: Service
    server: HttpServer
    place: int | str
    clients: list[Client] = field(default_factory=list)

    async def ask(self, request: bytes, host: str = "127.0.0.1") -> Client:
        if isinstance(self.place, str):
            client = Client(await asyncio.open_unix_connection(self.place))
        else:
            client = Client(await asyncio.open_connection("127.0.0.1", self.place, local_addr=(host, 0)))
        self.clients.append(client)
        client.send(request)
        return client

    async def waiting(self, *requests: bytes, host: str = "127.0.0.1") -> list[Client]:
        """Clients whose requests wait."""
        found = []
        for request in requests:
            begun = self.service.begun
            found.append(await self.ask(request, host))
            await until(lambda begun=begun: self.service.begun > begun, within=DEADLINE_S)  # type: ignore[misc]
        return found


def within(
    work: Callable[[House], Awaitable[None]], limits: Limits = SMALL, path: Path | None = None
) -> None:
    async def run() -> None:
        service = Service()
        listener = listen_unix(path) if path else listen_tcp("127.0.0.1", 0, "the test")
        server = HttpServer(application(OPERATIONS, service, limits), listener, limits)
        house = House(service, server, str(path) if path else listener.getsockname()[1])
        serving = asyncio.create_task(server.serve_until_stopped())
        await server.accepting.wait()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await work(house)
        finally:
            for client in house.clients:
                client.leave()
            server.stop()
            await serving

    asyncio.run(run())


def test_clients_that_wait_leave_a_quarter_of_the_connections_to_others() -> None:
    async def work(house: House) -> None:
        await house.waiting(WAIT, RECEIPT, STREAM, WAIT)
        await house.waiting(RECEIPT, STREAM, host="127.0.0.2")
        for request in (WAIT, RECEIPT, STREAM):
            refused = await (await house.ask(request, "127.0.0.3")).answer()
            assert refused.status == 503 and int(refused.headers["retry-after"]) > 0
            assert refused.body["error"]["kind"] == "host"
            assert "wait" in refused.body["error"]["message"] and refused.body["error"]["remedy"]
        assert house.service.begun == 6
        for request in (NOW, NO_WAIT, NOW):
            for number in (1, 2, 4):
                other = await house.ask(request, f"127.0.0.{number}")
                assert (await other.answer()).status == 200

    within(work)


def test_one_address_has_not_all_of_the_places() -> None:
    async def work(house: House) -> None:
        await house.waiting(*[WAIT] * 4)
        refused = await (await house.ask(WAIT)).answer()
        assert refused.status == 429 and int(refused.headers["retry-after"]) > 0
        assert "address" in refused.body["error"]["message"]
        other = await house.waiting(WAIT, RECEIPT, host="127.0.0.2")
        house.service.door.set()
        assert [(await each.answer()).status for each in other] == [200, 200]

    within(work)


#: Sends a request so many times at once, prints the statuses of the first answers, and keeps what waits.
CROWD = """
import select, socket, sys
path, request, count, answered = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3]), int(sys.argv[4])
held = []
for _ in range(count):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect(path)
    held[-1].sendall(request)
while answered:
    for each in select.select(held, [], [])[0]:
        print(each.recv(100).split()[1].decode(), flush=True)
        held.remove(each)
        answered -= 1
sys.stdin.read()
"""


def test_one_program_of_this_machine_has_not_all_of_the_places(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"

    async def work(house: House) -> None:
        crowd = await asyncio.create_subprocess_exec(
            *[sys.executable, "-c", CROWD, str(path), RECEIPT.decode(), "6", "2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert crowd.stdout is not None
            assert [int(await crowd.stdout.readline()) for _ in range(2)] == [429, 429]
            other = await house.waiting(RECEIPT, STREAM)
            assert (await (await house.ask(WAIT)).answer()).status == 503
            house.service.door.set()
            assert [(await each.answer()).status for each in other] == [200, 200]
        finally:
            crowd.kill()
            await crowd.wait()

    within(work, path=path)


def test_a_program_is_known_by_its_number() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert program_of(ours) == f"process {os.getpid()}"
    assert program_of(ours) == ""


@pytest.mark.parametrize("request_", [WAIT, RECEIPT, STREAM])
def test_a_place_is_free_again_once_its_client_has_its_answer_or_has_gone(request_: bytes) -> None:
    async def work(house: House) -> None:
        for client in await house.waiting(*[request_] * 4):
            client.leave()
        await until(lambda: not house.server.server_state.tasks, within=DEADLINE_S)
        answered = await house.waiting(*[request_] * 4)
        house.service.door.set()
        assert [(await each.answer()).status for each in answered] == [200] * 4
        await until(lambda: not house.server.server_state.tasks, within=DEADLINE_S)
        house.service.door.clear()
        await house.waiting(*[request_] * 4)

    within(work)


def test_a_request_that_fails_gives_its_place_back() -> None:
    async def work(house: House) -> None:
        for _ in range(5):
            wrong = await (await house.ask(WAIT.replace(b"60", b"61"))).answer()
            assert wrong.status == 400
        await house.waiting(*[WAIT] * 4)

    within(work)


def test_a_refused_client_may_ask_on_the_same_connection() -> None:
    async def work(house: House) -> None:
        await house.waiting(*[WAIT] * 4)
        client = await house.ask(WAIT)
        assert (await client.answer()).status == 429
        client.send(NOW)
        assert (await client.answer()).status == 200

    within(work)


@pytest.mark.parametrize("connections", [8, 100, 256])
def test_a_quarter_of_the_connections_is_never_for_those_who_wait(connections: int) -> None:
    limits = replace(SMALL, connections=connections)
    assert connections - limits.waiting >= connections / 4
    assert 0 < limits.waiting_each < limits.waiting


def test_every_operation_that_waits_says_so() -> None:
    waiting = {
        (each.method, each.path, each.waits)
        for table in (local.OPERATIONS, ledger.OPERATIONS, mycelium.MYCELIUM_OPERATIONS)
        for each in table
        if each.may_wait
    }
    assert waiting == {
        ("POST", "/v1/ping", ""),
        ("POST", "/v1/trace", ""),
        ("POST", "/v1/messages", "reply_timeout"),
        ("GET", "/v1/messages", "timeout"),
        ("GET", "/v1/messages/{id}", "timeout"),
        ("POST", "/v1/ledger/transactions", ALWAYS),
        ("POST", "/v1/ledger/query", ALWAYS),
        ("GET", "/v1/ledger/blocks/{height}", ALWAYS),
        ("POST", "/v1/ledger/subscribe", ""),
        ("GET", "/api/v1/messages", "timeout"),
        ("POST", "/api/v1/messages", "reply_timeout"),
    }


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        (None, "", True),
        ("no address", "another", False),
    ],
)
def test_whose_places_an_address_uses(one: str | None, other: str | None, *, is_same: bool) -> None:
    assert (source_of(one) == source_of(other)) == is_same


@given(some.lists(some.tuples(some.sampled_from(["", "a", "b", "c"]), some.booleans()), max_size=60))
def test_places_are_counted(steps: list[tuple[str, bool]]) -> None:
    places, held = Places(5, 3), list[tuple[str, contextlib.ExitStack]]()
    for source, is_arrival in steps:
        mine = [each for each in held if each[0] == source]
        if not is_arrival:
            if mine:
                mine[0][1].close()
                held.remove(mine[0])
            continue
        stack = contextlib.ExitStack()
        try:
            stack.enter_context(places.held(source))
        except Crowded as error:
            assert error.status == (429 if source and len(mine) == 3 else 503)
            assert (source and len(mine) == 3) or len(held) == 5
        else:
            held.append((source, stack))
        assert len(places) == len(held) <= 5
