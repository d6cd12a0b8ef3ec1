"""Mycelium's HTTP API, so that its clients work with this node: paths, JSON and codes of v0.7 (`/api/v1/…`).

What it knows and we don't have is answered as by a node that has none of it: no proxies, no traffic by
address. Waiting for a message blocks nobody else.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from zosnet.api.operation import Call, No, Operation, json_response
from zosnet.model.errors import UsageError
from zosnet.model.message_id import MessageId
from zosnet.service import views
from zosnet.service.node import Node

__all__ = ["MYCELIUM_OPERATIONS"]

_LONGEST_WAIT = 3600.0
_MAX_TOPIC = 255
_KINDS = {"static": "static", "inbound": "inbound", "discovered": "linkLocalDiscovery"}
#: Mycelium's clients refuse a list with a protocol that they don't know; this one is nearest.
_PROTOS = {"udp": "quic"}
_Json = dict[str, Any]


# --- the node, its peers and routes


def admin(node: Node, _: Call) -> _Json:
    status = node.status()
    return {
        "nodeSubnet": status.subnet,
        "nodeIp": status.address,
        "nodePubkey": status.public_key,
        "nodeStartTime": int(status.started),
    }


def peers(node: Node, _: Call) -> list[_Json]:
    return [_peer(peer) for peer in node.peers().peers]


def _peer(peer: views.PeerView) -> _Json:
    proto, _, address = peer.endpoint.partition("://")
    return {
        "endpoint": {"proto": _PROTOS.get(proto, proto), "addr": {"socket": peer.remote or address}},
        "type": _KINDS[peer.kind],
        "connectionState": peer.state,
        "txBytes": peer.tx_bytes,
        "rxBytes": peer.rx_bytes,
        "discovered": int(peer.discovered),
        "lastConnected": None if peer.last_linked is None else int(peer.last_linked),
    }


def add_peer(node: Node, call: Call) -> No | None:
    endpoint = _text(_object(call.body), "endpoint")
    return None if node.add_peer(endpoint) else No(f"{endpoint} is a peer already", 409)


def remove_peer(node: Node, call: Call) -> No | None:
    endpoint = call.path["endpoint"]
    return None if node.remove_peer(endpoint) else No(f"{endpoint} is not a peer")


async def selected_routes(node: Node, _: Call) -> list[_Json]:
    return _routes(node, (await node.routes_apart()).selected)


async def fallback_routes(node: Node, _: Call) -> list[_Json]:
    return _routes(node, (await node.routes_apart()).fallback)


def _routes(node: Node, routes: list[views.RouteView]) -> list[_Json]:
    links = {peer.link: _link(peer) for peer in node.peers().peers if peer.link is not None}
    return [
        {
            "subnet": route.prefix,
            "nextHop": links.get(route.link, route.next_hop),
            "metric": "infinite" if route.metric is None else route.metric,
            "seqno": route.seqno,
        }
        for route in routes
    ]


def _link(peer: views.PeerView) -> str:
    """How Mycelium writes a link: both ends of a TCP one, the far end of a QUIC one."""
    proto, _, address = peer.endpoint.partition("://")
    remote = peer.remote or address
    return f"QUIC -> {remote}" if proto in {"quic", "udp"} else f"{proto.upper()} {peer.local} <-> {remote}"


async def queried_routes(node: Node, _: Call) -> list[_Json]:
    queried = (await node.routes_apart()).queried
    return [{"subnet": query.prefix, "expiration": str(int(query.expires_in))} for query in queried]


def public_key(node: Node, call: Call) -> _Json | No:
    found = node.key_of(call.path["ip"])
    return No(f"no route leads to {call.path['ip']}") if found is None else {"publicKey": found}


def packet_stats(_: Node, __: Call) -> _Json:
    return {"bySource": [], "byDestination": []}


def proxies(_: Node, __: Call) -> list[str]:
    return []


def connect_proxy(_: Node, __: Call) -> No:
    return No("there is no proxy")


def nothing(_: Node, __: Call) -> None:
    return None


# --- messages


async def send_message(node: Node, call: Call) -> Any:
    request = _message(_object(call.body))
    wait = call.seconds("reply_timeout", highest=_LONGEST_WAIT)
    sent = node.messages.send(request)
    if wait is None:
        return json_response({"id": sent.id}, 201)
    reply = await node.messages.wait_for_reply(sent.id, wait)
    return json_response({"id": sent.id}, 408) if reply is None else json_response(_received(reply))


def reply(node: Node, call: Call) -> None:
    identifier = MessageId.parse(call.path["id"])
    request = _message(_object(call.body), reply_to=identifier.hex)
    node.messages.send(request)


async def receive_message(node: Node, call: Call) -> _Json | None:
    timeout = call.seconds("timeout", highest=_LONGEST_WAIT) or 0.0
    topic = call.query.get("topic")
    found = await node.messages.receive(topic, timeout, peek=call.flag("peek"))
    return None if found is None else _received(found)


async def message_status(node: Node, call: Call) -> _Json | No:
    found = await node.messages.status(call.path["id"], 0.0)
    if found is None:
        return No(f"no message {call.path['id']} was sent from here")
    counts = {"pending": found.pending, "sent": found.sent, "acked": found.acknowledged}
    return {
        "dst": found.destination,
        "state": {"sending": counts} if found.state == "sending" else found.state,
        "created": int(found.created),
        "deadline": int(found.deadline),
        "msgLen": found.length,
    }


def _message(body: _Json, reply_to: str | None = None) -> views.MessageRequest:
    destination = _object(body.get("dst"), "dst")
    if len(destination.keys() & {"ip", "pk"}) != 1:
        raise UsageError("dst must have one of ip and pk")
    topic = _text(body, "topic") if body.get("topic") is not None else ""
    if len(_decode(topic, "topic")) > _MAX_TOPIC:
        raise UsageError(f"a topic has at most {_MAX_TOPIC} bytes")
    return views.MessageRequest(
        payload=_text(body, "payload"),
        address=destination.get("ip"),
        public_key=destination.get("pk"),
        topic="" if reply_to else topic,
        reply_to=reply_to,
    )


def _received(message: views.MessageView) -> _Json:
    found = {
        "id": message.id,
        "srcIp": message.source_address,
        "srcPk": message.source_key,
        "dstIp": message.destination_address,
        "dstPk": message.destination_key,
        "payload": message.payload,
    }
    return found | ({"topic": message.topic} if message.topic else {})


# --- topics


def default_topic(node: Node, _: Call) -> _Json:
    return {"accept": node.messages.topics.default_accept}


def set_default_topic(node: Node, call: Call) -> None:
    accept = _object(call.body).get("accept")
    if not isinstance(accept, bool):
        raise UsageError("accept must be true or false")
    node.messages.topics.set_default(accept)


def topics(node: Node, _: Call) -> list[str]:
    return [_encode(topic) for topic in node.messages.topics.names()]


def add_topic(node: Node, call: Call) -> Any:
    """The body is a JSON array of byte values, as Mycelium's."""
    values = call.body
    if not isinstance(values, list) or not all(type(v) is int and 0 <= v <= 255 for v in values):
        raise UsageError("the body must be an array of byte values")
    if len(values) > _MAX_TOPIC:
        raise UsageError(f"a topic has at most {_MAX_TOPIC} bytes")
    node.messages.topics.add(bytes(values))
    return json_response(None, 201)


def remove_topic(node: Node, call: Call) -> None:
    node.messages.topics.remove(_decode(call.path["topic"], "topic"))


def topic_sources(node: Node, call: Call) -> list[str] | No:
    found = node.messages.topics.sources(_decode(call.path["topic"], "topic"))
    return No("the topic is not listed") if found is None else found


def add_topic_source(node: Node, call: Call) -> Any:
    subnet = _text(_object(call.body), "subnet")
    if not node.messages.topics.add_source(_decode(call.path["topic"], "topic"), subnet):
        return No("the topic is not listed")
    return json_response(None, 201)


def remove_topic_source(node: Node, call: Call) -> No | None:
    topic = _decode(call.path["topic"], "topic")
    removed = node.messages.topics.remove_source(topic, call.path["subnet"])
    return None if removed else No("the topic is not listed")


def topic_forward(node: Node, call: Call) -> Any:
    topic = _decode(call.path["topic"], "topic")
    if node.messages.topics.sources(topic) is None:
        return No("the topic is not listed")
    return json_response(node.messages.topics.forward_socket(topic))


def set_topic_forward(_: Node, __: Call) -> No:
    """Every user of the machine reaches a TCP port: the node, maybe root, must write to no socket for him."""
    return No(
        "a topic's socket is not set over this API: whoever asks here, the node would write to the socket",
        403,
        remedy="write forward_socket into the topic file, then `zosnet reload`",
    )


def remove_topic_forward(node: Node, call: Call) -> No | None:
    changed = node.messages.topics.set_forward(_decode(call.path["topic"], "topic"), None)
    return None if changed else No("the topic is not listed")


# --- JSON


def _object(value: Any, name: str = "body") -> _Json:
    if not isinstance(value, dict):
        raise UsageError(f"the {name} must be a JSON object")
    return value


def _text(body: _Json, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a text")
    return value


def _decode(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(f"{name} must be base64") from None


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _operation(
    method: str, path: str, handler: Any, summary: str, answer: Any = None, *, waits: str = ""
) -> Operation:
    return Operation(method, f"/api/v1{path}", handler.__name__, summary, handler, answer, waits=waits)


_TOPIC = "/messages/topics/{topic:path}"
MYCELIUM_OPERATIONS: tuple[Operation, ...] = (
    _operation("GET", "/admin", admin, "Who this node is", dict),
    _operation("GET", "/admin/peers", peers, "All peers", list),
    _operation("POST", "/admin/peers", add_peer, "Add a peer"),
    _operation("DELETE", "/admin/peers/{endpoint:path}", remove_peer, "Remove a peer"),
    _operation("GET", "/admin/routes/selected", selected_routes, "Routes in use", list),
    _operation("GET", "/admin/routes/fallback", fallback_routes, "Other routes", list),
    _operation("GET", "/admin/routes/queried", queried_routes, "Questions on the way", list),
    _operation("GET", "/admin/proxy", proxies, "No proxies are known", list),
    _operation("POST", "/admin/proxy", connect_proxy, "No proxy can be connected", dict),
    _operation("DELETE", "/admin/proxy", nothing, "No proxy is connected"),
    _operation("GET", "/admin/proxy/probe", nothing, "Nothing is probed"),
    _operation("DELETE", "/admin/proxy/probe", nothing, "Nothing is probed"),
    _operation("GET", "/admin/stats/packets", packet_stats, "Traffic by address is not counted", dict),
    _operation("GET", "/pubkey/{ip}", public_key, "The key behind an address", dict),
    _operation("GET", "/messages", receive_message, "Take the next message", dict, waits="timeout"),
    _operation("POST", "/messages", send_message, "Send a message", dict, waits="reply_timeout"),
    _operation("POST", "/messages/reply/{id}", reply, "Reply to a message"),
    _operation("GET", "/messages/status/{id}", message_status, "How far a message has come", dict),
    _operation("GET", "/messages/topics/default", default_topic, "Whether unlisted topics are taken", dict),
    _operation("PUT", "/messages/topics/default", set_default_topic, "Take unlisted topics, or don't"),
    _operation("GET", "/messages/topics", topics, "Listed topics", list),
    _operation("POST", "/messages/topics", add_topic, "List a topic", dict),
    # The base64 of a topic may hold slashes: what has a tail comes before what has none.
    _operation("GET", f"{_TOPIC}/sources", topic_sources, "Who may use a topic", list),
    _operation("POST", f"{_TOPIC}/sources", add_topic_source, "Let a network use a topic", dict),
    _operation("DELETE", f"{_TOPIC}/sources/{{subnet:path}}", remove_topic_source, "Forbid it again"),
    _operation("GET", f"{_TOPIC}/forward", topic_forward, "Where a topic's messages go", dict),
    _operation("PUT", f"{_TOPIC}/forward", set_topic_forward, "Refused: the topic file says it"),
    _operation("DELETE", f"{_TOPIC}/forward", remove_topic_forward, "Queue a topic's messages again"),
    _operation("DELETE", _TOPIC, remove_topic, "List a topic no longer"),
)
