"""Couriers of three nodes, the network between them, and the only clock there is."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from itertools import count

from blake3 import blake3
from tests.message.stock import StockReceiver

from zosnet.message import Courier, Delivered, Limits, Message, SendBody, State, StateChanged, TopicPolicy
from zosnet.model import MessageId, SecretKey
from zosnet.wire.message import Chunk, Done, Init, MessagePacket, decode_message

KEYS = [SecretKey(bytes(range(first, first + 32))).public() for first in (0x01, 0x21, 0x41)]
A, B, C = (key.address() for key in KEYS)
KEY_OF = dict(zip((A, B, C), KEYS, strict=True))
OPEN = TopicPolicy()
SIZES = [0, 1, 249, 250, 1299, 1300, 1301, 1400, 1549, 1550, 2600, 2601, 4000]
"""1301, 1400, 2601 and 4000 never arrive between two stock nodes (reference, section 7.4)."""


@dataclass
class Network:
    """Loses, doubles and reorders what it carries."""

    loss: float = 0.0
    doubled: float = 0.0
    delay: float = 0.01
    jitter: float = 0.0


@dataclass
class World:
    """Nodes, the network between them, and the only clock there is."""

    network: Network = field(default_factory=Network)
    seed: int = 0
    now: float = 1000.0
    sent: list[MessagePacket | None] = field(default_factory=list)
    arrived: dict[IPv6Address, list[Message]] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.couriers: dict[IPv6Address, Courier] = {}
        self.stock: dict[IPv6Address, StockReceiver] = {}
        self._wire: list[tuple[float, int, IPv6Address, IPv6Address, bytes]] = []
        self._serial = count()

    def courier(
        self, at: IPv6Address, *, topics: TopicPolicy = OPEN, limits: Limits | None = None
    ) -> Courier:
        self.couriers[at] = Courier(limits=limits, rng=random.Random(self.seed), topics=topics)
        self.arrived[at] = []
        return self.couriers[at]

    def carry(self, source: IPv6Address, destination: IPv6Address, body: bytes) -> None:
        self.sent.append(decode_message(body))
        for _ in range(1 + (self.rng.random() < self.network.doubled)):
            if self.rng.random() >= self.network.loss:
                at = self.now + self.network.delay + self.rng.random() * self.network.jitter
                heapq.heappush(self._wire, (at, next(self._serial), source, destination, body))

    def settle(self) -> None:
        for address, courier in self.couriers.items():
            for action in courier.poll():
                match action:
                    case SendBody(destination, body):
                        self.carry(address, destination, body)
                    case Delivered(message):
                        self.arrived[address].append(message)
                    case StateChanged(_, state):
                        self.states.append(state)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = self.now + seconds
        self.settle()
        while not until():
            deadlines = [at for courier in self.couriers.values() if (at := courier.deadline()) is not None]
            moments = deadlines + [entry[0] for entry in self._wire[:1]]
            if not moments or min(moments) > end:
                self.now = end
                return
            self.now = max(self.now, min(moments))
            while self._wire and self._wire[0][0] <= self.now:
                _, _, source, destination, body = heapq.heappop(self._wire)
                self.arrive(source, destination, body)
            for courier in self.couriers.values():
                if (at := courier.deadline()) is not None and at <= self.now:
                    courier.wake(self.now)
                    assert (later := courier.deadline()) is None or later > self.now, (
                        "a deadline that never passes"
                    )
            self.settle()

    def arrive(self, source: IPv6Address, destination: IPv6Address, body: bytes) -> None:
        if destination in self.couriers:
            self.couriers[destination].receive(source, KEY_OF[source], destination, body, self.now)
        elif destination in self.stock and (answer := self.stock[destination].receive(body)):
            self.carry(destination, source, answer)


def payload_of(size: int) -> bytes:
    """Bytes that are the same for the same size."""
    return random.Random(size).randbytes(size)


def state_of(courier: Courier, id: MessageId) -> State:
    """How far a message that was sent has come."""
    status = courier.status(id)
    assert status is not None
    return status.state


def dialogue(
    id: MessageId, payload: bytes, topic: bytes = b"", is_reply: bool = False
) -> list[MessagePacket]:
    """All that a sender of one chunk says."""
    done = Done(id, 1, blake3(payload).digest())
    return [Init(id, len(payload), topic, is_reply), Chunk(id, 0, 0, payload), done]
