"""The node's own API: every operation is documented, and every answer is what the document says."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from zosnet.api.local import OPERATIONS, openapi
from zosnet.api.operation import Operation
from zosnet.api.schema import Schema, validate
from zosnet.lab.fake_daemon import Answer, Caller, served
from zosnet.lab.fake_dataplane import Ether
from zosnet.lab.fake_node import FakeNode, fake_node, until
from zosnet.store.settings import Settings

A, B = "10.0.0.1", "10.0.0.2"
DOCUMENT = openapi()
DEFINITIONS: dict[str, Schema] = DOCUMENT["components"]["schemas"]


def b64(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


def described(operation: Operation) -> dict[str, Any]:
    path = operation.path.replace(":path", "")
    found: dict[str, Any] = DOCUMENT["paths"][path][operation.method.lower()]
    return found


def check(operation: Operation, answer: Answer) -> None:
    """Hold an answer against what the document promises for its status."""
    promised = described(operation)["responses"]
    assert str(answer.status) in promised, f"{operation.name}: status {answer.status} is not documented"
    content = promised[str(answer.status)].get("content")
    if content is None:
        assert answer.body in (b"", None)
        return
    ((media, described_body),) = content.items()
    assert answer.media == media.partition(";")[0]
    bodies = answer.body if media == "application/x-ndjson" else [answer.body]
    if media in {"application/json", "application/x-ndjson"}:
        for body in bodies:
            assert validate(described_body["schema"], body, DEFINITIONS) == []


def by_name(name: str) -> Operation:
    return next(operation for operation in OPERATIONS if operation.name == name)


async def with_two(tmp_path: Path, work: Callable[[Caller, FakeNode, FakeNode], Awaitable[None]]) -> None:
    ether = Ether()
    async with (
        fake_node(ether, A, read_settings=lambda: Settings(no_tun=True, disable_peer_discovery=True)) as a,
        fake_node(ether, B, f"tcp://{A}:9651") as b,
        served(a.node, tmp_path / "api.sock") as call,
    ):
        await until(lambda: a.node.routes().selected and b.node.routes().selected)
        await work(call, a, b)


#: Name of the operation → what to ask, and the status that must come.
REQUESTS: list[tuple[str, str, Any, int]] = [
    ("status", "/v1/status", None, 200),
    ("listPeers", "/v1/peers", None, 200),
    ("addPeer", "/v1/peers", {"endpoint": "tcp://192.0.2.1:9651"}, 201),
    ("addPeer", "/v1/peers", {"endpoint": "tcp://192.0.2.1:9651"}, 409),
    ("addPeer", "/v1/peers", {"endpoint": "nonsense"}, 400),
    ("addPeer", "/v1/peers", {"endpoint": 7}, 400),
    ("addPeer", "/v1/peers", {}, 400),
    ("addPeer", "/v1/peers", {"endpoint": "tcp://192.0.2.1:9651", "more": 1}, 400),
    ("removePeer", f"/v1/peers/{quote('tcp://192.0.2.1:9651', safe='')}", None, 204),
    ("removePeer", f"/v1/peers/{quote('tcp://192.0.2.1:9651', safe='')}", None, 404),
    ("removePeer", f"/v1/peers/{quote('tcp://[fe80::1%3]:9651', safe='')}", None, 404),
    ("routes", "/v1/routes", None, 200),
    ("doors", "/v1/doors", None, 200),
    ("key", "/v1/key", None, 200),
    ("sessions", "/v1/sessions", None, 200),
    ("pins", "/v1/pins", None, 200),
    ("forgetPin", "/v1/pins/{b_key}", None, 204),
    ("forgetPin", "/v1/pins/{b_key}", None, 404),
    ("forgetPin", "/v1/pins/nonsense", None, 400),
    ("doctor", "/v1/doctor", None, 200),
    ("metrics", "/metrics", None, 200),
    ("ping", "/v1/ping", {"destination": "{b}", "count": 2, "interval": 0.01}, 200),
    ("ping", "/v1/ping", {"destination": "192.0.2.1"}, 400),
    ("trace", "/v1/trace", {"destination": "{b}"}, 200),
    ("trace", "/v1/trace", {"destination": "{b}", "max_hops": 100}, 400),
    ("sendMessage", "/v1/messages", {"address": "{b}", "payload": b64(b"hello"), "topic": b64(b"t")}, 201),
    ("sendMessage", "/v1/messages?reply_timeout=0.01", {"address": "{b}", "payload": ""}, 408),
    ("sendMessage", "/v1/messages?reply_timeout=x", {"address": "{b}", "payload": ""}, 400),
    ("receiveMessage", "/v1/messages", None, 204),
    ("receiveMessage", "/v1/messages?timeout=0.01", None, 204),
    ("receiveMessage", "/v1/messages?peek=maybe", None, 400),
    ("messageStatus", "/v1/messages/0102030405060708", None, 404),
    ("messageStatus", "/v1/messages/xyz", None, 400),
    ("reload", "/v1/reload", None, 200),
    ("openapi", "/openapi.json", None, 200),
    ("shutdown", "/v1/shutdown", None, 200),
]


def test_every_operation_is_asked_here() -> None:
    assert {name for name, *_ in REQUESTS} == {operation.name for operation in OPERATIONS}


def test_every_answer_is_what_the_document_says(tmp_path: Path) -> None:
    async def work(call: Caller, _: FakeNode, b: FakeNode) -> None:
        await call("POST", "/v1/ping", {"destination": b.address, "count": 1})
        for name, path, body, status in REQUESTS:
            target = path.replace("{b_key}", b.node.key().public_key)
            operation = by_name(name)
            sent = None if body is None else json.loads(json.dumps(body).replace("{b}", b.address))
            answer = await call(operation.method, target, sent)
            assert answer.status == status, (name, target, answer)
            check(operation, answer)

    asyncio.run(with_two(tmp_path, work))


def test_a_message_and_its_status_are_as_documented(tmp_path: Path) -> None:
    async def work(call: Caller, a: FakeNode, b: FakeNode) -> None:
        async with served(b.node, tmp_path / "b.sock") as other:
            sent = await call("POST", "/v1/messages", {"address": b.address, "payload": b64(b"hi")})
            got = await other("GET", "/v1/messages?timeout=5")
            check(by_name("receiveMessage"), got)
            assert got.body["id"] == sent.body["id"]
            state = await call("GET", f"/v1/messages/{sent.body['id']}?timeout=5")
            check(by_name("messageStatus"), state)
            assert state.body["state"] in {"received", "read"}
            back = {"address": a.address, "payload": b64(b"re"), "reply_to": got.body["id"]}
            await other("POST", "/v1/messages", back)
            reply = await call("GET", f"/v1/messages?timeout=5&reply_to={got.body['id']}")
            assert reply.body["is_reply"]

    asyncio.run(with_two(tmp_path, work))


def test_a_receiver_that_left_takes_no_message(tmp_path: Path) -> None:
    async def work(call: Caller, a: FakeNode, b: FakeNode) -> None:
        _, writer = await asyncio.open_unix_connection(call.path)
        writer.write(b"GET /v1/messages?timeout=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: a.node.messages.counters()["receivers"] == 1)
        writer.close()
        await until(lambda: a.node.messages.counters()["receivers"] == 0)
        async with served(b.node, tmp_path / "b.sock") as other:
            await other("POST", "/v1/messages", {"address": a.address, "payload": b64(b"for the next")})
        assert (await call("GET", "/v1/messages?timeout=5")).status == 200

    asyncio.run(with_two(tmp_path, work))


@pytest.mark.parametrize("raw", [b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"7"])
def test_a_body_that_is_no_object_is_refused_in_the_one_shape(tmp_path: Path, raw: bytes) -> None:
    async def work(call: Caller, _: FakeNode, __: FakeNode) -> None:
        answer = await call("POST", "/v1/peers", raw=raw)
        assert answer.status == 400
        assert validate(DEFINITIONS["Error"], answer.body, DEFINITIONS) == []

    asyncio.run(with_two(tmp_path, work))


def test_a_body_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async def work(call: Caller, _: FakeNode, __: FakeNode) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("zosnet.api.operation.MAX_BODY", 100)
            answer = await call("POST", "/v1/peers", raw=b" " * 101)
        assert answer.status == 400 and "larger" in answer.body["error"]["message"]

    asyncio.run(with_two(tmp_path, work))


def test_unknown_paths_and_methods_are_answered_in_the_one_shape(tmp_path: Path) -> None:
    async def work(call: Caller, _: FakeNode, __: FakeNode) -> None:
        for method, target, status in (("GET", "/nowhere", 404), ("PATCH", "/v1/status", 405)):
            answer = await call(method, target)
            assert answer.status == status
            assert validate(DEFINITIONS["Error"], answer.body, DEFINITIONS) == []

    asyncio.run(with_two(tmp_path, work))


def test_a_bug_in_a_handler_is_answered_and_does_not_stop_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(call: Caller, a: FakeNode, _: FakeNode) -> None:
        monkeypatch.setattr(a.node, "status", lambda: 1 / 0)
        answer = await call("GET", "/v1/status")
        assert answer.status == 500 and "bug" in answer.body["error"]["message"]
        assert (await call("GET", "/v1/key")).status == 200

    asyncio.run(with_two(tmp_path, work))


def test_the_document_refers_only_to_what_it_defines() -> None:
    text = json.dumps(DOCUMENT)
    for reference in text.split('"$ref": "')[1:]:
        name = reference.partition('"')[0].rpartition("/")[2]
        assert DEFINITIONS[name]
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
