"""The API of a node over the fake data plane, on real sockets, in the event loop of a test."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from zosnet.api.local import OPERATIONS
from zosnet.api.mycelium import MYCELIUM_OPERATIONS
from zosnet.api.server import HttpServer, application
from zosnet.api.sockets import listen_unix
from zosnet.service.node import Node

__all__ = ["Answer", "Caller", "served"]


class Answer(NamedTuple):
    """What came back: HTTP's status, the media type, and the decoded body (bytes where it is no JSON)."""

    status: int
    media: str
    body: Any


class Caller:
    """Plain HTTP to a unix socket, without blocking the loop that the server runs in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __call__(
        self, method: str, target: str, body: Any = None, *, raw: bytes | None = None
    ) -> Answer:
        """One request over a connection of its own."""
        payload = raw if raw is not None else None if body is None else json.dumps(body).encode()
        return await asyncio.to_thread(self._call, method, target, payload)

    def _call(self, method: str, target: str, payload: bytes | None) -> Answer:
        connection = http.client.HTTPConnection("localhost", timeout=10.0)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.connect(str(self.path))
            connection.request(method, target, payload)
            response = connection.getresponse()
            media, content = response.headers.get_content_type(), response.read()
        finally:
            connection.close()
        if media == "application/json" and content:
            return Answer(response.status, media, json.loads(content))
        if media == "application/x-ndjson":
            return Answer(response.status, media, [json.loads(line) for line in content.splitlines()])
        return Answer(response.status, media, content)


@asynccontextmanager
async def served(node: Node, path: Path, *, mycelium: bool = False) -> AsyncIterator[Caller]:
    """Serve the node's own API, or Mycelium's, on a unix socket at `path`."""
    server = HttpServer(application(MYCELIUM_OPERATIONS if mycelium else OPERATIONS, node), listen_unix(path))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve_until_stopped())
        await server.accepting.wait()
        try:
            yield Caller(path)
        finally:
            server.stop()
