"""An API on a TCP address is out of reach for web pages, and within reach for programs."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import Response
from starlette.types import Message

from zosnet.api.server import guarded


def status(method: str, headers: dict[str, str]) -> int:
    """What a request with these headers is answered with; 200 when it got through."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "headers": raw}
    asyncio.run(guarded(Response())(scope, receive, send))  # type: ignore[arg-type]
    return int(sent[0]["status"])


@pytest.mark.parametrize("host", ["127.0.0.1:8989", "[::1]:8989", "localhost:8989", "LOCALHOST", "", "::1"])
def test_a_program_that_names_the_address_gets_through(host: str) -> None:
    assert status("GET", {"host": host}) == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8989", "localhost.evil.example", "[evil]:1"])
def test_a_name_that_was_made_to_mean_this_machine_does_not(host: str) -> None:
    assert status("GET", {"host": host}) == 403


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content-length": "2", "content-type": "application/json; charset=utf-8"}, 200),
        ({"content-length": "0"}, 200),
        ({"content-length": "2", "content-type": "text/plain"}, 415),
        ({"content-length": "2"}, 415),
        ({"transfer-encoding": "chunked"}, 415),
    ],
)
def test_a_body_must_say_that_it_is_json(headers: dict[str, str], code: int) -> None:
    assert status("POST", headers) == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),  # <img src="http://127.0.0.1:8989/api/v1/messages">
        ({"sec-fetch-site": "same-site"}, 403),  # another port of this machine
        ({"sec-fetch-site": "none"}, 200),  # typed by a person
        ({"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8989"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_a_page_of_another_site_gets_nothing_not_even_with_get(headers: dict[str, str], code: int) -> None:
    assert status("GET", {"host": "127.0.0.1:8989", **headers}) == code
