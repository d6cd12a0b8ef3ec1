"""No client holds a connection for ever: slow and silent ones go, the others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from starlette.types import Receive, Scope, Send

from zosnet.api.connection import Limits
from zosnet.api.server import HttpServer
from zosnet.api.sockets import listen_tcp
from zosnet.lab.fake_node import until

# Long enough that a request which is sent at once is there in time, on a busy machine too.
SHORT = 1.0
LONG = 600.0
PATIENT = Limits(header_s=LONG, body_s=LONG, reading_s=LONG, idle_s=int(LONG))
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
# No limit here is anywhere near it, so that only a connection that nobody closes takes so long.
DEADLINE_S = 30.0

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class House:
    """A server, and an application that answers once `door` is open, with `size` bytes."""

    server: HttpServer
    port: int
    door: asyncio.Event
    asked: asyncio.Semaphore
    size: int = 2
    clients: list[Client] = field(default_factory=list)

    async def app(self, _: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        self.asked.release()
        await self.door.wait()
        length = str(self.size).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": bytes(self.size)})

    async def client(self, first: bytes = b"") -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.clients.append((reader, writer))
        writer.write(first)
        return reader, writer

    async def until_open(self, number: int) -> None:
        await until(lambda: len(self.server.server_state.connections) == number, within=DEADLINE_S)


@contextlib.asynccontextmanager
async def served(limits: Limits) -> AsyncIterator[House]:
    listener = listen_tcp("127.0.0.1", 0, "the test")
    door = asyncio.Event()
    door.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await house.app(scope, receive, send)

    house = House(HttpServer(app, listener, limits), listener.getsockname()[1], door, asyncio.Semaphore(0))
    serving = asyncio.create_task(house.server.serve_until_stopped())
    await house.server.accepting.wait()
    try:
        yield house
    finally:
        for _, writer in house.clients:
            writer.close()
        house.server.stop()
        await serving


def within(limits: Limits, work: Callable[[House], Awaitable[None]]) -> None:
    async def run() -> None:
        async with served(limits) as house, asyncio.timeout(DEADLINE_S):
            await work(house)

    asyncio.run(run())


async def answered(client: Client, size: int = 2) -> bool:
    """Whether a whole answer comes; False when the connection ends instead."""
    try:
        head = await client[0].readuntil(b"\r\n\r\n")
        await client[0].readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return False
    assert head.startswith(b"HTTP/1.1 200 ")
    return True


async def is_cut(client: Client) -> bool:
    """Whether the connection ends without a further byte."""
    with contextlib.suppress(ConnectionError):
        return await client[0].read() == b""
    return True


async def drip(client: Client, piece: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        while not client[0].at_eof():
            client[1].write(piece)
            await client[1].drain()
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\n", b""),
        (b"GET / HTTP/1.1\r\n", b"X-Slow: 1\r\n"),
        (b"GET / HTTP/1.1\r\nX-Slow: ", b"1"),
    ],
)
def test_a_header_that_never_ends_ends_the_connection(first: bytes, then: bytes) -> None:
    async def work(house: House) -> None:
        client = await house.client(first)
        dripping = asyncio.create_task(drip(client, then))
        assert await is_cut(client)
        await dripping
        await house.until_open(0)

    within(replace(PATIENT, header_s=SHORT), work)


@pytest.mark.parametrize("then", [b"", b"1"])
def test_a_body_that_never_ends_ends_the_connection(then: bytes) -> None:
    async def work(house: House) -> None:
        client = await house.client(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n")
        dripping = asyncio.create_task(drip(client, then))
        assert await is_cut(client)
        await dripping

    within(replace(PATIENT, body_s=SHORT), work)


def test_a_second_request_has_no_more_time_than_the_first() -> None:
    async def work(house: House) -> None:
        post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        for second in (post, post[:20]):
            house.door.clear()
            # All that there is of it comes while the first one is still being answered.
            client = await house.client(GET + second)
            await house.asked.acquire()
            house.door.set()
            assert await answered(client)
            assert await is_cut(client)

    within(replace(PATIENT, header_s=SHORT, body_s=SHORT, idle_s=1), work)


def test_a_connection_that_idles_is_closed() -> None:
    async def work(house: House) -> None:
        client = await house.client(GET)
        assert await answered(client)
        assert await is_cut(client)

    within(replace(PATIENT, idle_s=1), work)


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
def test_a_client_that_does_not_read_its_answer_is_left(close: bytes) -> None:
    async def work(house: House) -> None:
        house.size = 64 << 20
        _, writer = await house.client(GET[:-2] + close + b"\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await house.asked.acquire()
        await house.until_open(0)

    within(replace(PATIENT, reading_s=SHORT), work)


def test_an_answer_may_take_the_node_longer_than_any_limit() -> None:
    async def work(house: House) -> None:
        house.door.clear()
        client = await house.client(GET)
        await house.asked.acquire()
        silent = await house.client()
        assert await is_cut(silent)
        assert await is_cut(await house.client())
        house.door.set()
        assert await answered(client)

    within(Limits(header_s=SHORT, body_s=SHORT, reading_s=SHORT, idle_s=1), work)


def test_requests_one_after_the_other_go_on_for_longer_than_a_header_may_take() -> None:
    async def work(house: House) -> None:
        client = await house.client(GET)
        assert await answered(client)
        assert await is_cut(await house.client())
        client[1].write(GET)
        assert await answered(client)

    within(replace(PATIENT, header_s=SHORT), work)


def test_silent_clients_shut_nobody_out() -> None:
    async def work(house: House) -> None:
        first = await house.client(GET)
        assert await answered(first)
        silent = [await house.client() for _ in range(40)]
        assert await answered(await house.client(GET))
        await house.until_open(8)
        gone = [client for client in silent if client[0].at_eof()]
        assert len(gone) >= len(silent) - 8

    within(replace(PATIENT, connections=8), work)


def test_the_one_whose_time_is_up_first_makes_room() -> None:
    async def work(house: House) -> None:
        silent = await house.client()
        asked = await house.client(GET)
        assert await answered(asked)
        assert await answered(await house.client(GET))
        assert await is_cut(silent)
        asked[1].write(GET)
        assert await answered(asked)

    within(replace(PATIENT, header_s=LONG / 2, connections=2), work)


def test_requests_under_way_make_no_room() -> None:
    async def work(house: House) -> None:
        house.door.clear()
        busy = [await house.client(GET) for _ in range(3)]
        for _ in busy:
            await house.asked.acquire()
        assert await is_cut(await house.client(GET))
        house.door.set()
        assert [await answered(client) for client in busy] == [True, True, True]

    within(replace(PATIENT, connections=3), work)
