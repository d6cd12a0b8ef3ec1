"""How much a courier keeps, for how long. Every table and queue of the room has its bound here."""

from dataclasses import dataclass
from typing import Self

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one courier. Bytes are counted as they arrive, never as they are announced."""

    message_bytes: int = 16 * _MEBIBYTE
    """The longest message to send or take. The protocol itself allows 2⁶⁴."""

    window: int = 64
    """Chunks of one message that may be unacknowledged: 83 kB, so 8 MB/s at 10 ms of RTT."""
    outbound_messages: int = 1024
    """Messages on their way, and as many finished ones whose status is still told."""
    outbound_bytes: int = 64 * _MEBIBYTE
    """Of the messages on their way, together."""

    assembling_messages: int = 1024
    assembling_bytes: int = 64 * _MEBIBYTE
    assembling_source_messages: int = 64
    """Of one source; a source is a key, as a node owns 2⁶⁴ addresses."""
    assembling_source_bytes: int = 32 * _MEBIBYTE
    assembling_idle: float = 60.0
    """Seconds without a new chunk until an unfinished message is dropped. A guess; senders retry sooner."""

    inbox_messages: int = 1024
    inbox_bytes: int = 64 * _MEBIBYTE
    inbox_source_messages: int = 256
    inbox_source_bytes: int = 32 * _MEBIBYTE

    delivered_remembered: int = 4096
    """Deliveries whose repeated DONE is still answered."""
    lifetime: float = 300.0
    """Seconds a sender tries, unless told otherwise: Mycelium's fixed five minutes."""
    record_kept: float = 300.0
    """Seconds the status of a finished message can still be asked for, as Mycelium."""

    @classmethod
    def for_messages_of(cls, message_bytes: int) -> Self:
        """Bounds for messages of up to `message_bytes`: the defaults, or room for a few."""
        usual = cls()
        return cls(
            message_bytes=message_bytes,
            outbound_bytes=max(usual.outbound_bytes, 4 * message_bytes),
            assembling_bytes=max(usual.assembling_bytes, 4 * message_bytes),
            assembling_source_bytes=max(usual.assembling_source_bytes, 2 * message_bytes),
            inbox_bytes=max(usual.inbox_bytes, 4 * message_bytes),
            inbox_source_bytes=max(usual.inbox_source_bytes, 2 * message_bytes),
        )
