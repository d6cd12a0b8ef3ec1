"""Messages as programs use them: send, wait for one, wait for the reply, hand a topic to a local program.

The Courier does the protocol and keeps the inbox. Here are those who wait: each waiter gets the first message
that fits it, and one that went away gets none.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from zosnet.message import Courier, Delivered, Message, SendBody, StateChanged, TopicPolicy
from zosnet.model.errors import PeerError, UsageError
from zosnet.model.keys import PublicKey
from zosnet.model.message_id import MessageId
from zosnet.service.probe import overlay_address
from zosnet.service.spawn import Spawn
from zosnet.service.topics import Topics
from zosnet.service.views import MessageRequest, MessageSent, MessageStatus, MessageView
from zosnet.store.settings import Settings
from zosnet.store.topics import load_topics

__all__ = ["Messages"]

log = logging.getLogger("zosnet.messages")

# Reference, section 7.7: five seconds to take the message. The answer has no limit there; here a program that
# hangs gives the message back to the queue.
FORWARD_WRITE, FORWARD_ANSWER = 5.0, 60.0
FORWARDS_AT_ONCE = 32
LONGEST_DEADLINE = 86400.0


@dataclass(slots=True, eq=False)
class _Waiter:
    topic: bytes | None
    reply_to: MessageId | None
    peek: bool
    future: asyncio.Future[Message | None]

    def fits(self, message: Message) -> bool:
        """Whether this is what it waits for."""
        if self.future.done():
            return False
        if self.reply_to is not None:
            return message.is_reply and message.id == self.reply_to
        return self.topic is None or self.topic == message.topic


class Messages:
    """One node's messages. The driver calls `take`, `wake` and `outgoing`; everything else is for clients."""

    def __init__(
        self,
        courier: Courier,
        own: PublicKey,
        *,
        answer_limit: int = 16 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topics = Topics(courier)
        self._courier = courier
        self._own = own.hex
        self._answer_limit = answer_limit
        self._clock = clock
        self._nudge: Callable[[], None] = lambda: None
        self._spawn: Spawn | None = None
        self._waiters: list[_Waiter] = []
        self._watchers: dict[MessageId, list[asyncio.Future[None]]] = {}
        self._forwarding = 0
        self._closed = False
        self._counters = {"sent": 0, "delivered": 0, "malformed": 0, "forwarded": 0, "forward_failed": 0}

    def attach(self, *, nudge: Callable[[], None], spawn: Spawn) -> None:
        """Say whom to wake when there is something to send, and who runs tasks."""
        self._nudge = nudge
        self._spawn = spawn

    def close(self) -> None:
        """Everybody who waits is told that nothing comes any more."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_result(None)
        for watchers in self._watchers.values():
            _release(watchers)

    # --- for the driver

    def take(self, source: bytes, destination: bytes, key: bytes, body: bytes, now: float) -> None:
        """A message packet came."""
        try:
            self._courier.receive(IPv6Address(source), PublicKey(key), IPv6Address(destination), body, now)
        except PeerError:
            self._counters["malformed"] += 1

    def deadline(self) -> float | None:
        """When `wake` is wanted."""
        return self._courier.deadline()

    def wake(self, now: float) -> None:
        """Time passed."""
        self._courier.wake(now)

    def outgoing(self) -> list[tuple[bytes, bytes]]:
        """Deliver what arrived, and give what is to be sent: destinations and bodies."""
        bodies: list[tuple[bytes, bytes]] = []
        # Handing a message over makes its acknowledgement, so there may be more after each round.
        while actions := self._courier.poll():
            for action in actions:
                match action:
                    case SendBody(destination, body):
                        bodies.append((destination.packed, body))
                    case Delivered(message):
                        self._deliver(message)
                    case StateChanged(identifier, state):
                        if state.is_final:
                            _release(self._watchers.get(identifier, ()))
        return bodies

    # --- for clients

    def send(self, request: MessageRequest) -> MessageSent:
        """Begin to send. Raises UsageError for what can't be sent."""
        if (request.address is None) == (request.public_key is None):
            raise UsageError("say where to: one of address and public_key")
        if not 0 < request.deadline <= LONGEST_DEADLINE:
            raise UsageError(f"a deadline is at most {LONGEST_DEADLINE:g} seconds away")
        destination = overlay_address(request.public_key or request.address or "")
        now = self._clock()
        identifier = self._courier.send(
            destination,
            _decode(request.payload, "payload"),
            _decode(request.topic, "topic"),
            now,
            reply_to=MessageId.parse(request.reply_to) if request.reply_to else None,
            deadline=now + request.deadline,
        )
        self._counters["sent"] += 1
        self._nudge()
        return MessageSent(identifier.hex)

    async def receive(
        self, topic: str | None, patience: float, *, peek: bool = False, reply_to: str | None = None
    ) -> MessageView | None:
        """The next message that fits, waiting up to `patience` seconds for it. `topic` is base64."""
        wanted = None if topic is None else _decode(topic, "topic")
        original = None if reply_to is None else MessageId.parse(reply_to)
        found = self._courier.pop(self._clock(), wanted, reply_to=original, peek=peek)
        self._nudge()
        if found is None and patience > 0 and not self._closed:
            found = await self._wait(wanted, original, patience, peek)
        return None if found is None else self._view(found)

    async def wait_for_reply(self, identifier: str, patience: float) -> MessageView | None:
        """The reply to a message that was sent from here."""
        return await self.receive(None, patience, reply_to=identifier)

    async def status(self, identifier: str, patience: float) -> MessageStatus | None:
        """How far a message came; waits up to `patience` seconds for its end. None for an unknown one."""
        wanted = MessageId.parse(identifier)
        found = self._courier.status(wanted)
        if found is not None and not found.state.is_final and patience > 0 and not self._closed:
            await self._watch(wanted, patience)
            found = self._courier.status(wanted)
        if found is None:
            return None
        since_boot = time.time() - self._clock()
        return MessageStatus(
            id=found.id.hex,
            destination=str(found.destination),
            state=found.state.value,
            created=round(found.created + since_boot, 3),
            deadline=round(found.deadline + since_boot, 3),
            length=found.length,
            pending=found.pending,
            sent=found.sent,
            acknowledged=found.acked,
        )

    def counters(self) -> dict[str, int]:
        """Counts since the start, and what waits."""
        return self._counters | {
            "waiting": len(self._courier.inbox),
            "waiting_bytes": self._courier.inbox.bytes_held,
            "receivers": len(self._waiters),
        }

    # --- topics, at a reload

    def read_topics(self, settings: Settings) -> TopicPolicy | None:
        """The policy of the topic file, None where no file is named. Raises when it is broken."""
        return None if settings.topic_config is None else load_topics(settings.topic_config)

    def set_topics(self, policy: TopicPolicy | None) -> bool:
        """Use this policy from now on. False when nothing changes."""
        return policy is not None and self.topics.use(policy)

    # --- inside

    async def _wait(
        self, topic: bytes | None, reply_to: MessageId | None, patience: float, peek: bool
    ) -> Message | None:
        future: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(topic, reply_to, peek, future)
        self._waiters.append(waiter)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    return await future
            # It may have come in the very turn in which the time was up: it is ours then, nobody else has it.
            return future.result() if future.done() and not future.cancelled() else None
        finally:
            self._waiters.remove(waiter)

    async def _watch(self, identifier: MessageId, patience: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watchers = self._watchers.setdefault(identifier, [])
        watchers.append(future)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await future
        finally:
            watchers.remove(future)
            if not watchers:
                self._watchers.pop(identifier, None)

    def _deliver(self, message: Message) -> None:
        """Give a message to who waits for it: for this reply first, then in the order of asking."""
        self._counters["delivered"] += 1
        for waiter in sorted(self._waiters, key=lambda waiter: waiter.reply_to is None):
            if not waiter.fits(message):
                continue
            waiter.future.set_result(message)
            if not waiter.peek:
                self._courier.take(message, self._clock())
                return
            self._courier.mark_read(message, self._clock())
        self._forward(message)

    def _forward(self, message: Message) -> None:
        """Hand a message to the program of its topic, if it has one; else it stays in the inbox."""
        path = None if message.is_reply else self.topics.forward_socket(message.topic)
        if path is None or self._spawn is None or self._forwarding >= FORWARDS_AT_ONCE:
            return
        self._forwarding += 1
        self._spawn(self._hand_over(message, path), "forward")

    async def _hand_over(self, message: Message, path: str) -> None:
        try:
            answer = await exchange(path, message.payload, self._answer_limit)
        except (OSError, TimeoutError) as error:
            answer = b""
            log.warning("forward_failed socket=%s reason=%r", path, str(error) or type(error).__name__)
        finally:
            self._forwarding -= 1
        now = self._clock()
        if not answer:
            self._counters["forward_failed"] += 1
            return
        self._counters["forwarded"] += 1
        self._courier.take(message, now)
        try:
            self._courier.send(message.source, answer, b"", now, reply_to=message.id)
        except UsageError as error:
            log.warning("reply_not_sent socket=%s reason=%r", path, error.message)
        self._nudge()

    def _view(self, message: Message) -> MessageView:
        return MessageView(
            id=message.id.hex,
            source_address=str(message.source),
            source_key=message.source_key.hex,
            destination_address=str(message.destination),
            destination_key=self._own,
            topic=base64.b64encode(message.topic).decode(),
            payload=base64.b64encode(message.payload).decode(),
            is_reply=message.is_reply,
        )


async def exchange(path: str, payload: bytes, limit: int) -> bytes:
    """Write `payload` to a unix socket and read the answer to its end, without half-closing (section 7.7).

    Raises OSError, TimeoutError, and ValueError's place taken by OSError for an answer above `limit` bytes.
    """
    async with asyncio.timeout(FORWARD_WRITE):
        reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(FORWARD_WRITE):
            writer.write(payload)
            await writer.drain()
        async with asyncio.timeout(FORWARD_ANSWER):
            answer = bytearray()
            while piece := await reader.read(65536):
                answer += piece
                if len(answer) > limit:
                    raise OSError(f"the answer is longer than {limit} bytes")
            return bytes(answer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _release(futures: Any) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _decode(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(f"{name} must be base64") from None
