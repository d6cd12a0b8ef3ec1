"""What tests of whole nodes over an ether share: where three of them are, and what is asked of them."""

from __future__ import annotations

import base64
from typing import Any

from zosnet.lab.fake_node import FakeNode
from zosnet.service.views import MessageRequest, PingRequest, ProbeLine, TraceRequest

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
"""Where the nodes are on the ether."""


def at(ip: str) -> str:
    """The endpoint of the node there, over TCP."""
    return f"tcp://{ip}:9651"


def reaches(node: FakeNode, *others: FakeNode) -> bool:
    """Whether a node has routes to all the others."""
    known = {route.address for route in node.node.routes().selected}
    return {other.address for other in others} <= known


async def probes(node: FakeNode, request: PingRequest | TraceRequest) -> list[ProbeLine]:
    """What comes of a ping or a trace."""
    lines = node.node.ping(request) if isinstance(request, PingRequest) else node.node.trace(request)
    return [line async for line in lines]


def text(payload: bytes, **more: Any) -> MessageRequest:
    """A message to send; `more` are the other fields of the request."""
    return MessageRequest(base64.b64encode(payload).decode(), **more)
