"""Messages that arrived and wait for somebody to read them. Bounded, in all and for each source."""

from collections import Counter
from collections.abc import Callable

from zosnet.message.actions import Message
from zosnet.message.limits import Limits
from zosnet.model import MessageId

Key = tuple[bytes, bytes]
"""Whose message and which: the raw public key of the source, the raw id."""


def key_of(message: Message) -> Key:
    """What tells a message from all others here."""
    return message.source_key.raw, message.id.raw


class Inbox:
    """First in, first out, by topic where one is asked for."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._messages: dict[Key, Message] = {}
        self._bytes = 0
        self._source_messages: Counter[bytes] = Counter()
        self._source_bytes: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._messages)

    def __contains__(self, key: Key) -> bool:
        return key in self._messages

    @property
    def bytes_held(self) -> int:
        """Bytes of payload that wait."""
        return self._bytes

    def has_room(self, key: Key, length: int) -> bool:
        """Whether a message of `length` bytes fits. An unread one is never replaced."""
        limits, source = self._limits, key[0]
        return (
            key not in self._messages
            and len(self._messages) < limits.inbox_messages
            and self._bytes + length <= limits.inbox_bytes
            and self._source_messages[source] < limits.inbox_source_messages
            and self._source_bytes[source] + length <= limits.inbox_source_bytes
        )

    def add(self, message: Message) -> None:
        """Keep a message that `has_room` found room for."""
        source = message.source_key.raw
        self._messages[key_of(message)] = message
        self._bytes += len(message.payload)
        self._source_messages[source] += 1
        self._source_bytes[source] += len(message.payload)

    def find(self, topic: bytes | None = None, reply_to: MessageId | None = None) -> Message | None:
        """The oldest message; on one topic, or answering one message, where asked."""
        wanted: Callable[[Message], bool] = lambda message: (  # noqa: E731
            (topic is None or message.topic == topic)
            and (reply_to is None or (message.is_reply and message.id == reply_to))
        )
        return next(filter(wanted, self._messages.values()), None)

    def remove(self, key: Key) -> None:
        """Forget a message, if it is there."""
        message = self._messages.pop(key, None)
        if message is None:
            return
        source, length = key[0], len(message.payload)
        self._bytes -= length
        self._source_messages[source] -= 1
        self._source_bytes[source] -= length
        if not self._source_messages[source]:
            del self._source_messages[source], self._source_bytes[source]
