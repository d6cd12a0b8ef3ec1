"""One operation of an HTTP API: its declaration, from which both the server and its document come."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from zosnet.api.places import RETRY_S, Crowded, Places, source_of
from zosnet.api.schema import render
from zosnet.model.errors import HostError, PeerError, UsageError, ZosnetError

__all__ = [
    "ALWAYS", "LARGE_BODY", "Call", "No", "Operation", "Query", "Text", "beside", "error_body",
    "json_response", "routes_of",
]  # fmt: skip

#: Bodies beyond this are refused before they are read whole: the largest message is far smaller.
MAX_BODY = 16 * 1024 * 1024

ALWAYS = "always"
"""An operation whose client waits whatever it asks."""

#: Bodies beyond this, a millisecond's work or more, are read and answered beside the loop. A guess.
LARGE_BODY = 16 * 1024

#: One thread, so that whoever sends large bodies takes turns with the loop, however many they are.
_BESIDE = ThreadPoolExecutor(1, "api-beside")

P = ParamSpec("P")
T = TypeVar("T")


async def beside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what takes long outside the loop, which goes on."""
    return await asyncio.get_running_loop().run_in_executor(_BESIDE, partial(work, *args, **kwargs))


_KINDS: list[tuple[type[ZosnetError], str, int]] = [
    (UsageError, "usage", 400),
    (HostError, "host", 500),
    (PeerError, "peer", 502),
]


@dataclass(frozen=True, slots=True)
class No:
    """The answer is no: an ordinary outcome that clients tell by its HTTP status."""

    message: str
    status: int = 404
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is not JSON."""

    body: bytes
    media: str


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter."""

    name: str
    kind: Literal["string", "number", "integer", "boolean"]
    help: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request, parsed: path and query parameters as text, the body as decoded JSON (None without one)."""

    path: dict[str, str]
    query: dict[str, str]
    body: Any

    def flag(self, name: str) -> bool:
        """A boolean query parameter. Raises UsageError unless it is true or false."""
        text = self.query.get(name, "false")
        if text not in {"true", "false"}:
            raise UsageError(f"{name} must be true or false, not {text!r}")
        return text == "true"

    def seconds(self, name: str, *, highest: float) -> float | None:
        """A duration in the query, None when absent. Raises UsageError outside 0 to `highest`."""
        text = self.query.get(name)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= highest:
            raise UsageError(f"{name} must be a number of seconds from 0 to {highest:g}, not {text!r}")
        return value


Answer = Any
Handler = Callable[[Any, Call], Awaitable[Answer] | Answer]


@dataclass(frozen=True, slots=True)
class Operation:
    """Method, path, and what goes in and out.

    `handler` takes the service and a Call, and returns a value to render, a `No`, a `Text`, None (204), or an
    async iterator of values (`stream`: one JSON document a line). A `large` answer is rendered beside
    the loop. `waits` names the query parameter that makes the client wait for something to happen, or is
    ALWAYS; who reads a stream waits as well.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    answer: Any = None
    body: Any = None
    query: tuple[Query, ...] = ()
    failures: tuple[int, ...] = ()
    stream: bool = False
    media: str = "application/json"
    status: int = 200
    large: bool = False
    waits: str = ""

    @property
    def may_wait(self) -> bool:
        """Whether its client may have to find a place to wait in."""
        return self.stream or bool(self.waits)

    def is_waiting(self, call: Call) -> bool:
        """Whether this call waits for something to happen."""
        if self.stream or self.waits == ALWAYS:
            return True
        return bool(self.waits) and call.query.get(self.waits, "").strip("0.") != ""


def error_body(kind: str, message: str, remedy: str = "") -> dict[str, Any]:
    """The one shape of every error."""
    return {"error": {"kind": kind, "message": message, "remedy": remedy}}


def json_response(value: Any, status: int = 200) -> Response:
    """A JSON document as an HTTP response."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Response(body, status, media_type="application/json")


def failure_response(error: ZosnetError) -> Response:
    """An exception of ours as an HTTP response."""
    kind, status = next(
        ((kind, status) for cls, kind, status in _KINDS if isinstance(error, cls)), ("host", 500)
    )
    return json_response(error_body(kind, error.message, error.remedy), status)


def crowded_response(error: Crowded) -> Response:
    """That there is no place to wait, as an HTTP response."""
    response = json_response(
        error_body("host", error.message, "ask again later, or without waiting"), error.status
    )
    response.headers["Retry-After"] = str(RETRY_S)
    return response


def routes_of(operations: tuple[Operation, ...], service: Any, places: Places) -> list[Route]:
    """Starlette routes for a table of operations, whose clients wait in `places`."""
    return [Route(op.path, _endpoint(op, service, places), methods=[op.method]) for op in operations]


def _endpoint(operation: Operation, service: Any, places: Places) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        with ExitStack() as held:
            try:
                call = Call(dict(request.path_params), dict(request.query_params), await _body(request))
                if operation.is_waiting(call):
                    host = None if request.client is None else request.client.host
                    held.enter_context(places.held(source_of(host)))
                answer = operation.handler(service, call)
                if inspect.isawaitable(answer):
                    answer = await _while_connected(request, answer)
                if inspect.isasyncgen(answer):
                    return _Holding(await _while_connected(request, _stream(answer)), held.pop_all())
            except ZosnetError as error:
                return failure_response(error)
            except Crowded as error:
                return crowded_response(error)
        if operation.large:
            return await beside(_respond, operation, answer)
        return _respond(operation, answer)

    return endpoint


class _Holding(Response):
    """A response for which something is held until all of it is sent, or its client has gone."""

    def __init__(self, response: Response, held: ExitStack) -> None:
        super().__init__()
        self._response, self._held = response, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await self._response(scope, receive, send)


async def _while_connected(request: Request, work: Awaitable[Answer]) -> Answer:
    """Wait for `work`, but only as long as the client does: a message must not go to one that left."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else Response(status_code=204)
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.wait({task, gone})


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _respond(operation: Operation, answer: Answer) -> Response:
    match answer:
        case No(message, status, remedy):
            return json_response(error_body("no", message, remedy), status)
        case Response():
            return answer
        case Text(body, media):
            return Response(body, media_type=media)
        case None:
            return Response(status_code=204)
        case _:
            return json_response(render(answer), operation.status)


async def _body(request: Request) -> Any:
    if int(request.headers.get("content-length") or 0) > MAX_BODY:
        raise UsageError(f"the request's body is larger than {MAX_BODY} bytes")
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MAX_BODY:
            raise UsageError(f"the request's body is larger than {MAX_BODY} bytes")
    if not raw:
        return None
    try:
        return json.loads(raw) if len(raw) <= LARGE_BODY else await beside(json.loads, raw)
    except (ValueError, RecursionError):
        raise UsageError("the request's body is not JSON") from None


async def _stream(lines: AsyncIterator[Any]) -> Response:
    """One JSON document a line. The first is awaited, so that a wrong request still gets a proper status."""
    try:
        first = await anext(lines)
    except StopAsyncIteration:
        return Response(b"", media_type="application/x-ndjson")

    async def body() -> AsyncIterator[bytes]:
        yield _line(first)
        try:
            async for item in lines:
                yield _line(item)
        except ZosnetError as error:
            yield _line(error_body("host", error.message, error.remedy))

    return StreamingResponse(body(), media_type="application/x-ndjson")


def _line(value: Any) -> bytes:
    return json.dumps(render(value), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
