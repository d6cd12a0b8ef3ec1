"""The message protocol of one node: what its driver talks to.

What comes back from the network is believed only from where it must come: an acknowledgement or a reply
from the /64 that the message went to, a chunk from the key that announced it.
"""

import heapq
import random
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import count
from typing import NamedTuple

from zosnet.message.actions import Action, Delivered, Message, SendBody, State, StateChanged, Status
from zosnet.message.assembly import Assemblies, Assembly, checksum_of, is_acceptable
from zosnet.message.inbox import Inbox, Key, key_of
from zosnet.message.limits import Limits
from zosnet.message.outbound import Outbound
from zosnet.message.topics import TopicPolicy
from zosnet.model import MessageId, Prefix, PublicKey, UsageError
from zosnet.model.keys import SUBNET_BITS
from zosnet.model.message_id import MESSAGE_ID_BYTES
from zosnet.wire.message import (
    MAX_TOPIC,
    Aborted,
    Chunk,
    ChunkAck,
    Done,
    DoneAck,
    Init,
    InitAck,
    MessagePacket,
    Read,
    acknowledge,
    decode_message,
    encode_message,
)

#: When to say again that a message was read: nobody acknowledges that, so it is said three times. Guess.
_READ_REPEATS = (0.2, 1.0)


class _Arrival(NamedTuple):
    """A packet and where it came from."""

    source: IPv6Address
    source_key: PublicKey
    destination: IPv6Address
    body: bytes

    @property
    def key(self) -> Key:
        return self.source_key.raw, self.body[:MESSAGE_ID_BYTES]


@dataclass(slots=True)
class _Delivery:
    """A message that arrived whole, remembered so that its sender can be told again."""

    length: int
    chunks: int
    checksum: bytes
    is_read: bool = False


class Courier:
    """Sends and receives messages. No sockets, no clock, no randomness of its own.

    After any call drain `poll` and carry out its actions in order; call `wake` once `deadline` has passed.
    `now` is seconds on a monotonic clock. Messages that arrived wait in the inbox until `pop` or `take`.
    """

    def __init__(self, *, limits: Limits | None = None, rng: random.Random, topics: TopicPolicy) -> None:
        self.topics = topics
        self._limits = limits or Limits()
        self._rng = rng
        self._actions: list[Action] = []
        self._outbound: dict[MessageId, Outbound] = {}
        self._finished: OrderedDict[MessageId, float] = OrderedDict()
        self._outbound_bytes = 0
        self._assemblies = Assemblies(self._limits)
        self._inbox = Inbox(self._limits)
        self._delivered: OrderedDict[Key, _Delivery] = OrderedDict()
        self._timers: list[tuple[float, int, MessageId]] = []
        self._scheduled: dict[MessageId, float] = {}
        self._reads: list[tuple[float, int, IPv6Address, MessageId]] = []
        self._serial = count()

    # Getters

    @property
    def inbox(self) -> Inbox:
        """What waits to be read. Look, and leave changing it to `pop` and `take`."""
        return self._inbox

    @property
    def assembling_bytes(self) -> int:
        """Memory that messages take which are not yet whole."""
        return self._assemblies.bytes_held

    def status(self, id: MessageId) -> Status | None:
        """How far an outbound message came; None for one that is unknown, or finished long ago."""
        found = self._outbound.get(id)
        return found.status() if found else None

    # Commands

    def send(
        self,
        destination: IPv6Address,
        payload: bytes,
        topic: bytes,
        now: float,
        *,
        reply_to: MessageId | None = None,
        deadline: float | None = None,
    ) -> MessageId:
        """Begin to send a message; the id is a new one, or for a reply that of the message it answers.

        A reply has no topic. It is given up at `deadline`, five minutes from now if None. Raises UsageError
        for a message or topic that is too long, for too much under way, and for an id that is under way
        already.
        """
        self._refuse_impossible(payload, topic)
        id = reply_to or self._fresh_id()
        existing = self._outbound.get(id)
        if existing is not None and not existing.state.is_final:
            raise UsageError(
                f"a message with the id {id} is still on its way", remedy="wait until it arrived"
            )
        self._forget(id)
        init = Init(id, len(payload), b"" if reply_to else topic, reply_to is not None)
        end = now + self._limits.lifetime if deadline is None else deadline
        self._outbound[id] = Outbound(
            init, destination, payload, now=now, deadline=end, window=self._limits.window
        )
        self._outbound_bytes += len(payload)
        self._settle(self._outbound[id], State.PENDING, now)
        return id

    def cancel(self, id: MessageId, now: float) -> bool:
        """Stop sending a message. False: there is none under way with this id."""
        found = self._outbound.get(id)
        if found is None or found.state.is_final:
            return False
        before = found.state
        found.abort()
        self._settle(found, before, now)
        return True

    def pop(
        self,
        now: float,
        topic: bytes | None = None,
        *,
        reply_to: MessageId | None = None,
        peek: bool = False,
    ) -> Message | None:
        """The oldest message in the inbox, on `topic`, or in reply to `reply_to`, where given.

        It leaves the inbox unless `peek`. Either way its sender is told that it was read, as by Mycelium.
        """
        message = self._inbox.find(topic, reply_to)
        if message is None:
            return None
        if peek:
            self.mark_read(message, now)
        else:
            self.take(message, now)
        return message

    def take(self, message: Message, now: float) -> None:
        """Remove this very message from the inbox, and tell its sender that it was read."""
        self._inbox.remove(key_of(message))
        self.mark_read(message, now)

    def mark_read(self, message: Message, now: float) -> None:
        """Tell the sender that `message` was read: now, and twice later, as nothing acknowledges it."""
        delivery = self._delivered.get(key_of(message))
        if delivery is None or delivery.is_read:
            return
        delivery.is_read = True
        self._send(message.source, Read(message.id))
        for later in _READ_REPEATS:
            heapq.heappush(self._reads, (now + later, next(self._serial), message.source, message.id))

    # What happened

    def receive(
        self, source: IPv6Address, source_key: PublicKey, destination: IPv6Address, body: bytes, now: float
    ) -> None:
        """Take a message packet, `body` being what stands behind the inner header.

        `source_key` is the key that opened it, so `source` is authentic within its /64. Raises PeerError
        for a malformed body.
        """
        packet = decode_message(body)
        arrival = _Arrival(source, source_key, destination, body)
        match packet:
            case InitAck() | ChunkAck() | DoneAck() | Read():
                self._receive_answer(source, packet, now)
            case Init():
                self._receive_init(packet, arrival, now)
            case Chunk():
                key = arrival.key
                if self._assemblies.add(key, packet, now) or self._repeats_delivered(key, packet):
                    self._acknowledge(arrival)
            case Done():
                self._receive_done(packet, arrival)
            case Aborted():
                self._assemblies.drop(arrival.key)
            case None:
                pass

    def wake(self, now: float) -> None:
        """Do what is due."""
        while self._timers and self._timers[0][0] <= now:
            at, _, id = heapq.heappop(self._timers)
            if self._scheduled.get(id) == at:
                del self._scheduled[id]
                outbound = self._outbound[id]
                before = outbound.state
                outbound.wake(now)
                self._settle(outbound, before, now)
        while self._reads and self._reads[0][0] <= now:
            _, _, source, id = heapq.heappop(self._reads)
            self._send(source, Read(id))
        while self._finished and next(iter(self._finished.values())) <= now:
            self._forget(next(iter(self._finished)))
        self._assemblies.wake(now)

    def deadline(self) -> float | None:
        """When to call `wake`; None while there is nothing to wait for."""
        candidates = (
            self._timers[0][0] if self._timers else None,
            self._reads[0][0] if self._reads else None,
            next(iter(self._finished.values()), None),
            self._assemblies.deadline(),
        )
        return min((at for at in candidates if at is not None), default=None)

    # What to do next

    def poll(self) -> list[Action]:
        """What is to be done, in order. Each action is given once."""
        actions, self._actions = self._actions, []
        return actions

    # Outbound

    def _refuse_impossible(self, payload: bytes, topic: bytes) -> None:
        limits = self._limits
        if len(topic) > MAX_TOPIC:
            raise UsageError(f"a topic has at most {MAX_TOPIC} bytes, not {len(topic)}")
        if len(payload) > limits.message_bytes:
            raise UsageError(
                f"a message has at most {limits.message_bytes} bytes, not {len(payload)}",
                remedy="send it in parts, or raise the message limit at both ends",
            )
        active = len(self._outbound) - len(self._finished)
        if active >= limits.outbound_messages or self._outbound_bytes + len(payload) > limits.outbound_bytes:
            raise UsageError(
                f"{active} messages are under way already", remedy="wait until some have arrived"
            )

    def _fresh_id(self) -> MessageId:
        while True:
            id = MessageId(self._rng.randbytes(8))
            if id not in self._outbound:
                return id

    def _receive_answer(
        self, source: IPv6Address, packet: InitAck | ChunkAck | DoneAck | Read, now: float
    ) -> None:
        outbound = self._outbound.get(packet.id)
        if outbound is None or not _same_node(outbound.destination, source):
            return
        before = outbound.state
        outbound.receive(packet, now)
        self._settle(outbound, before, now)

    def _settle(self, outbound: Outbound, before: State, now: float) -> None:
        """Send what the message wants sent, tell what changed, set its timer."""
        for packet in outbound.drain():
            self._send(outbound.destination, packet)
        if outbound.state is not before:
            self._actions.append(StateChanged(outbound.id, outbound.state))
            if outbound.state.is_final and not before.is_final:
                self._retire(outbound, now)
        at = outbound.wake_at()
        # A timer that is too early only wakes for nothing, and then sets the right one.
        if at is not None and at < self._scheduled.get(outbound.id, float("inf")):
            self._scheduled[outbound.id] = at
            heapq.heappush(self._timers, (at, next(self._serial), outbound.id))

    def _retire(self, outbound: Outbound, now: float) -> None:
        """Keep the status of a finished message for a while, and not too many of them."""
        self._outbound_bytes -= outbound.length
        self._scheduled.pop(outbound.id, None)
        self._finished[outbound.id] = now + self._limits.record_kept
        while len(self._finished) > self._limits.outbound_messages:
            self._forget(next(iter(self._finished)))

    def _forget(self, id: MessageId) -> None:
        if self._finished.pop(id, None) is not None:
            del self._outbound[id]

    def _send(self, destination: IPv6Address, packet: MessagePacket) -> None:
        self._actions.append(SendBody(destination, encode_message(packet)))

    # Inbound

    def _answers_ours(self, init: Init, source: IPv6Address) -> bool:
        """Whether an announced reply answers a message that we sent, and to that node."""
        original = self._outbound.get(init.id)
        return init.is_reply and original is not None and _same_node(original.destination, source)

    def _acknowledge(self, arrival: _Arrival) -> None:
        self._actions.append(SendBody(arrival.source, acknowledge(arrival.body)))

    def _receive_init(self, init: Init, arrival: _Arrival, now: float) -> None:
        """Stock receivers let every reply past the topic check; here it must answer a message of ours."""
        is_reply = self._answers_ours(init, arrival.source)
        if not is_reply and not self.topics.allows(init.topic, arrival.source):
            return
        if self._assemblies.begin(arrival.key, init, is_reply, now):
            self._acknowledge(arrival)

    def _repeats_delivered(self, key: Key, chunk: Chunk) -> bool:
        """Whether a chunk is of a message that arrived: acknowledged, so that its sender comes to the end."""
        delivered = self._delivered.get(key)
        return delivered is not None and is_acceptable(
            delivered.length, chunk.position, chunk.offset, len(chunk.data)
        )

    def _receive_done(self, done: Done, arrival: _Arrival) -> None:
        key = arrival.key
        delivered = self._delivered.get(key)
        if delivered is not None and (delivered.chunks, delivered.checksum) == (done.chunks, done.checksum):
            self._assemblies.drop(key)
            self._acknowledge(arrival)
            if delivered.is_read:
                self._send(arrival.source, Read(done.id))
            return
        assembly = self._assemblies.get(key)
        if assembly is None or not assembly.is_complete(done):
            return
        if not self._inbox.has_room(key, assembly.length):
            return  # not acknowledged, so the sender comes again: somebody may have read by then
        payload = assembly.payload()
        self._assemblies.drop(key)
        # A wrong checksum can't become right, as all chunks are here; keeping them costs a hash each time.
        if checksum_of(payload) == done.checksum:
            self._deliver(done, arrival, assembly, payload)
            self._acknowledge(arrival)

    def _deliver(self, done: Done, arrival: _Arrival, assembly: Assembly, payload: bytes) -> None:
        message = Message(
            id=done.id,
            source=arrival.source,
            source_key=arrival.source_key,
            destination=arrival.destination,
            topic=assembly.topic,
            payload=payload,
            is_reply=assembly.is_reply,
        )
        self._delivered[arrival.key] = _Delivery(assembly.length, done.chunks, done.checksum)
        self._delivered.move_to_end(arrival.key)
        if len(self._delivered) > self._limits.delivered_remembered:
            self._delivered.popitem(last=False)
        self._inbox.add(message)
        self._actions.append(Delivered(message))


def _same_node(one: IPv6Address, other: IPv6Address) -> bool:
    """Whether two addresses lie in one /64, which has one key."""
    return Prefix.of(one, SUBNET_BITS).contains(int(other))
