"""What a courier hands out: messages, statuses, and what its driver is to do."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address

from zosnet.model import MessageId, PublicKey


class State(Enum):
    """How far an outbound message has come. The values are Mycelium's words.

    PENDING --announced--> SENDING --all arrived--> RECEIVED --taken--> READ
       |                      |
       +------ deadline, cancelled ------> ABORTED
    """

    PENDING = "pending"
    SENDING = "sending"
    RECEIVED = "received"
    READ = "read"
    ABORTED = "aborted"

    @property
    def is_final(self) -> bool:
        """Whether nothing is sent any more."""
        return self in (State.RECEIVED, State.READ, State.ABORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that arrived whole."""

    id: MessageId
    source: IPv6Address
    source_key: PublicKey
    """Whose key opened the packets: the sender is authenticated by it."""
    destination: IPv6Address
    """The address of this node that the sender used."""
    topic: bytes
    payload: bytes
    is_reply: bool
    """It answers a message of ours, whose id it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """An outbound message at a glance: of its chunks `pending` wait, `sent` are out, `acked` arrived."""

    id: MessageId
    destination: IPv6Address
    state: State
    created: float
    deadline: float
    length: int
    pending: int
    sent: int
    acked: int


@dataclass(frozen=True, slots=True)
class SendBody:
    """Send `body` in a data packet of inner type 1 to `destination`. Losing it does no harm."""

    destination: IPv6Address
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """`message` is now in the inbox."""

    message: Message


@dataclass(frozen=True, slots=True)
class StateChanged:
    """An outbound message has come further."""

    id: MessageId
    state: State


Action = SendBody | Delivered | StateChanged
