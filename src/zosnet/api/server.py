"""HTTP servers inside the node's own event loop.

uvicorn with its signal handling taken out: the daemon owns its signals, and stopping goes in the daemon's
order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from zosnet.api.connection import Connection, Limits
from zosnet.api.operation import Operation, error_body, json_response, routes_of
from zosnet.api.places import Places

__all__ = ["HttpServer", "application", "guarded"]

log = logging.getLogger("zosnet.api")

# Seconds that requests under way get at the end: a guess.
GRACE = 1
LIMITS = Limits()


def application(operations: tuple[Operation, ...], service: Any, limits: Limits = LIMITS) -> Starlette:
    """The web application of a table of operations, for one socket. Every error is answered in the one shape.

    `limits` are those of its server.
    """
    return Starlette(
        routes=routes_of(operations, service, Places(limits.waiting, limits.waiting_each)),
        exception_handlers={HTTPException: _not_found, Exception: _bug},
    )


async def _not_found(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = "there is no such path" if status == 404 else str(getattr(error, "detail", error))
    return json_response(error_body("usage", text, "see GET /openapi.json"), status)


async def _bug(request: Request, error: Exception) -> Response:
    return json_response(
        error_body("host", f"this is a bug: {type(error).__name__}", "the log says more"), 500
    )


def guarded(app: ASGIApp) -> ASGIApp:
    """`app` on an address that a web browser of this machine can reach, out of reach for the pages it shows.

    A stranger's page may send simple requests anywhere, and its name may be made to mean 127.0.0.1. So a host
    name other than localhost is refused, and so is a body that doesn't say it is JSON, which no page can
    send without asking first. Mycelium too insists on that type. A GET takes a message out of the queue, so
    what a browser sends on behalf of another site's page is refused whatever it is.
    """

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if not _is_literal(headers.get(b"host", b"").decode("latin-1")):
            refusal = json_response(
                error_body("usage", "name this node by its IP address, or localhost"), 403
            )
            await refusal(scope, receive, send)
        elif _is_of_a_foreign_page(headers):
            refusal = json_response(error_body("usage", "no web page of another site may ask"), 403)
            await refusal(scope, receive, send)
        elif _has_body(headers) and not headers.get(b"content-type", b"").startswith(b"application/json"):
            refusal = json_response(error_body("usage", "the content type must be application/json"), 415)
            await refusal(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guard


def _is_of_a_foreign_page(headers: dict[bytes, bytes]) -> bool:
    """Whether a browser says so (Fetch Metadata, and the Origin header of RFC 6454); programs say nothing."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    return (
        headers.get(b"sec-fetch-site", b"none") in {b"cross-site", b"same-site"}
        or origin == "null"
        or not _is_literal(origin.partition("://")[2])
    )


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def _is_literal(host: str) -> bool:
    """Whether a Host header names an address, or localhost, or nothing at all (HTTP/1.0)."""
    name = host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
    if name.lower() in {"", "localhost"}:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class HttpServer(uvicorn.Server):
    """One listening socket and its application. Run `serve_until_stopped` as a task; `stop` ends it."""

    def __init__(self, app: ASGIApp, listener: socket.socket, limits: Limits = LIMITS) -> None:
        config = uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", partial(Connection, limits=limits)),
            ws="none",
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=limits.idle_s,
            timeout_graceful_shutdown=GRACE,
            # `Connection` bounds what is open; this one bounds requests whose clients have left.
            limit_concurrency=2 * limits.connections,
        )
        super().__init__(config)
        self.accepting = asyncio.Event()
        self._listener = listener

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the daemon."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and then tell who waits."""
        await super().startup(sockets=sockets)
        self.accepting.set()

    async def serve_until_stopped(self) -> None:
        """Serve until `stop`. Requests under way get a moment to end."""
        await self.serve(sockets=[self._listener])

    def stop(self) -> None:
        """Accept no more, and end soon."""
        self.should_exit = True
