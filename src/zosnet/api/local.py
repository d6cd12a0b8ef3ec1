"""The node's own API, served on its unix socket: every operation declared once, with what it takes and gives.

GET  /v1/status /v1/peers /v1/sessions /v1/routes /v1/doors /v1/key /v1/pins /v1/doctor /metrics /openapi.json
POST /v1/peers, DELETE /v1/peers/{endpoint}, DELETE /v1/pins/{key}
POST /v1/ping /v1/trace              a JSON document a line, as the answers come
POST /v1/messages, GET /v1/messages, GET /v1/messages/{id}
POST /v1/reload /v1/shutdown
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import zosnet
from zosnet.api.openapi import document
from zosnet.api.operation import Call, No, Operation, Query, Text
from zosnet.api.schema import parse
from zosnet.service import views
from zosnet.service.node import Node

__all__ = ["OPERATIONS", "openapi"]

METRICS_MEDIA = "text/plain; version=0.0.4; charset=utf-8"
# A client that waits longer asks again; half-open connections must not wait for ever.
LONGEST_WAIT = 3600.0


def status(node: Node, _: Call) -> views.Status:
    return node.status()


def peers(node: Node, _: Call) -> views.Peers:
    return node.peers()


def add_peer(node: Node, call: Call) -> views.Done | No:
    request: views.PeerRequest = parse(views.PeerRequest, call.body)
    if node.add_peer(request.endpoint):
        return views.Done()
    return No(f"{request.endpoint} is a peer already", 409)


def remove_peer(node: Node, call: Call) -> No | None:
    endpoint = call.path["endpoint"]
    if node.remove_peer(endpoint):
        return None
    return No(f"{endpoint} is not a peer", remedy="`zosnet peers` lists them")


def sessions(node: Node, _: Call) -> views.Sessions:
    return node.sessions.sessions()


def pins(node: Node, _: Call) -> views.Pins:
    return node.sessions.pins()


async def forget_pin(node: Node, call: Call) -> No | None:
    key = call.path["key"]
    if await node.sessions.forget(key):
        return None
    return No(f"{key} is not pinned", remedy="`zosnet key pins` lists those that are")


async def routes(node: Node, _: Call) -> views.Routes:
    return await node.routes_apart()


def doors(node: Node, _: Call) -> views.DoorsView:
    return node.doors()


def key(node: Node, _: Call) -> views.KeyView:
    return node.key()


async def doctor(node: Node, _: Call) -> views.Findings:
    return await node.doctor()


def metrics(node: Node, _: Call) -> Text:
    return Text(node.metrics(), METRICS_MEDIA)


def ping(node: Node, call: Call) -> AsyncIterator[views.ProbeLine]:
    return node.ping(parse(views.PingRequest, call.body))


def trace(node: Node, call: Call) -> AsyncIterator[views.ProbeLine]:
    return node.trace(parse(views.TraceRequest, call.body))


async def send_message(node: Node, call: Call) -> views.MessageSent | views.MessageView | No:
    request: views.MessageRequest = parse(views.MessageRequest, call.body)
    wait = call.seconds("reply_timeout", highest=LONGEST_WAIT)
    sent = node.messages.send(request)
    if wait is None:
        return sent
    reply = await node.messages.wait_for_reply(sent.id, wait)
    return reply or No(f"no reply to {sent.id} came within {wait:g} s", 408)


async def receive_message(node: Node, call: Call) -> views.MessageView | None:
    timeout = call.seconds("timeout", highest=LONGEST_WAIT) or 0.0
    query = call.query
    return await node.messages.receive(
        query.get("topic"), timeout, peek=call.flag("peek"), reply_to=query.get("reply_to")
    )


async def message_status(node: Node, call: Call) -> views.MessageStatus | No:
    timeout = call.seconds("timeout", highest=LONGEST_WAIT) or 0.0
    found = await node.messages.status(call.path["id"], timeout)
    return found or No(f"no message {call.path['id']} was sent from here")


async def reload(node: Node, _: Call) -> views.ReloadReport:
    return await node.reload()


def shutdown(node: Node, _: Call) -> views.Done:
    node.stop("asked to by the API")
    return views.Done()


def openapi(_: Any = None, __: Call | None = None) -> dict[str, Any]:
    """The OpenAPI document of this API; it is the same for every node."""
    return document("zosnet", zosnet.__version__, OPERATIONS)


_WAIT = Query("timeout", "number", "seconds to wait for one")

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/v1/status", "status", "The node at a glance", status, views.Status),
    Operation("GET", "/v1/peers", "listPeers", "All peers and their links", peers, views.Peers),
    Operation(
        "POST", "/v1/peers", "addPeer", "Keep a link to a peer from now on", add_peer, views.Done,
        body=views.PeerRequest, failures=(409,), status=201,
    ),
    Operation(
        "DELETE", "/v1/peers/{endpoint:path}", "removePeer", "Want a peer no longer",
        remove_peer, failures=(404,),
    ),
    Operation("GET", "/v1/routes", "routes", "The routing table", routes, views.Routes, large=True),
    Operation("GET", "/v1/doors", "doors", "What may come in, and what was refused", doors, views.DoorsView),
    Operation(
        "GET", "/v1/sessions", "sessions", "Sessions with other nodes, those with most traffic first",
        sessions, views.Sessions, large=True,
    ),
    Operation(
        "GET", "/v1/pins", "pins", "Nodes that are held to our session suite", pins, views.Pins, large=True
    ),
    Operation(
        "DELETE", "/v1/pins/{key}", "forgetPin", "Hold a node to our session suite no longer",
        forget_pin, failures=(404,),
    ),
    Operation("GET", "/v1/key", "key", "Who this node is", key, views.KeyView),
    Operation("GET", "/v1/doctor", "doctor", "What is wrong, with remedies", doctor, views.Findings),
    Operation("GET", "/metrics", "metrics", "Prometheus metrics", metrics, str, media=METRICS_MEDIA),
    Operation(
        "POST", "/v1/ping", "ping", "Echo requests to an address, a line for each outcome",
        ping, views.ProbeLine, body=views.PingRequest, stream=True,
    ),
    Operation(
        "POST", "/v1/trace", "trace", "The nodes on the way to an address, a line for each probe", trace,
        views.ProbeLine, body=views.TraceRequest, stream=True,
    ),
    Operation(
        "POST", "/v1/messages", "sendMessage", "Send a message; with reply_timeout wait for the reply to it",
        send_message, views.MessageSent | views.MessageView, body=views.MessageRequest, failures=(408,),
        status=201, query=(Query("reply_timeout", "number", "seconds to wait for a reply"),),
        waits="reply_timeout",
    ),
    Operation(
        "GET", "/v1/messages", "receiveMessage", "Take the next message",
        receive_message, views.MessageView | None, failures=(204,), waits="timeout",
        query=(
            _WAIT,
            Query("topic", "string", "only messages on this topic (base64)"),
            Query("peek", "boolean", "leave it in the queue"),
            Query("reply_to", "string", "only the reply to the message with this id"),
        ),
    ),
    Operation(
        "GET", "/v1/messages/{id}", "messageStatus", "How far a message that was sent has come",
        message_status, views.MessageStatus, failures=(404,), waits="timeout",
        query=(Query("timeout", "number", "seconds to wait for it to be received or aborted"),),
    ),
    Operation("POST", "/v1/reload", "reload", "Read the settings again", reload, views.ReloadReport),
    Operation("POST", "/v1/shutdown", "shutdown", "Stop the node", shutdown, views.Done),
    Operation("GET", "/openapi.json", "openapi", "This document", openapi, dict[str, Any]),
)  # fmt: skip
