"""Messages between nodes: to send, on their way, arrived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["MessageRequest", "MessageSent", "MessageStatus", "MessageView"]


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """A message to send, to an `address` or a `public_key`. Payload and topic are base64."""

    payload: str
    address: str | None = None
    public_key: str | None = None
    topic: str = ""
    reply_to: str | None = None
    deadline: float = 300.0
    """Seconds until the node gives up."""


@dataclass(frozen=True, slots=True)
class MessageSent:
    """The message is on its way."""

    id: str
    schema: Literal["zosnet.message-sent/1"] = "zosnet.message-sent/1"


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message that arrived. Payload and topic are base64."""

    id: str
    source_address: str
    source_key: str
    destination_address: str
    destination_key: str
    topic: str
    payload: str
    is_reply: bool
    schema: Literal["zosnet.message/1"] = "zosnet.message/1"


@dataclass(frozen=True, slots=True)
class MessageStatus:
    """How far a message that was sent has come."""

    id: str
    destination: str
    state: Literal["pending", "sending", "received", "read", "aborted"]
    created: float
    """Unix time."""
    deadline: float
    """Unix time."""
    length: int
    pending: int = 0
    sent: int = 0
    acknowledged: int = 0
    schema: Literal["zosnet.message-status/1"] = "zosnet.message-status/1"
