"""Messages that arrive in pieces: from the announcement to the checksum.

Stock receivers allocate what an announcement says, never give up, and look ids up without regard to the
source. Here memory is what arrived, sources are bounded one by one, and what makes no progress is dropped.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from blake3 import blake3

from zosnet.message.inbox import Key
from zosnet.message.limits import Limits
from zosnet.wire.message import Chunk, Done, Init

#: Stock receivers refuse smaller chunks, but at the highest possible index, and so do we.
MIN_CHUNK = 250
#: What a chunk costs beside its bytes: an entry of a dictionary and two objects. Measured, rounded up.
CHUNK_OVERHEAD = 160


def highest_position(length: int) -> int:
    """The largest index that a chunk of a message of `length` bytes may have."""
    return -(-length // MIN_CHUNK) - 1


def is_acceptable(length: int, position: int, offset: int, size: int) -> bool:
    """Whether a receiver, stock or ours, takes this chunk of a message of `length` bytes."""
    highest = highest_position(length)
    return offset + size <= length and position <= highest and (size >= MIN_CHUNK or position == highest)


@dataclass(slots=True)
class Assembly:
    """A message of which some came."""

    length: int
    topic: bytes
    is_reply: bool
    touched: float
    """When it last made progress."""
    chunks: dict[int, bytes] = field(default_factory=dict)
    received: int = 0
    """Bytes in `chunks`, never more than `length`."""

    def is_announced_by(self, init: Init) -> bool:
        """Whether `init` only repeats the announcement that this came from."""
        return self.length == init.length and self.topic == init.topic

    def is_complete(self, done: Done) -> bool:
        """Whether exactly the `done.chunks` chunks came, and they make up the whole length."""
        return (
            len(self.chunks) == done.chunks
            and self.received == self.length
            and all(position in self.chunks for position in range(done.chunks))
        )

    def payload(self) -> bytes:
        """The whole message; the order is that of the positions, as at stock receivers."""
        return b"".join(self.chunks[position] for position in sorted(self.chunks))


def checksum_of(payload: bytes) -> bytes:
    """BLAKE3-256 of the whole message."""
    return blake3(payload).digest()


class Assemblies:
    """All messages that are arriving."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: OrderedDict[Key, Assembly] = OrderedDict()  # the longest without progress first
        self._bytes = 0
        self._source_messages: Counter[bytes] = Counter()
        self._source_bytes: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def bytes_held(self) -> int:
        """Bytes of chunks that are kept, their overhead included."""
        return self._bytes

    def get(self, key: Key) -> Assembly | None:
        """The message that is arriving under this key."""
        return self._open.get(key)

    def begin(self, key: Key, init: Init, is_reply: bool, now: float) -> bool:
        """Make ready for an announced message; a repeated announcement changes nothing. False: no room."""
        limits, source = self._limits, key[0]
        existing = self._open.get(key)
        if existing is not None and existing.is_announced_by(init):
            return True
        if init.length > limits.message_bytes:
            return False
        self.drop(key)
        if (
            len(self._open) >= limits.assembling_messages
            or self._source_messages[source] >= limits.assembling_source_messages
        ):
            return False
        self._open[key] = Assembly(init.length, init.topic, is_reply, now)
        self._source_messages[source] += 1
        return True

    def add(self, key: Key, chunk: Chunk, now: float) -> bool:
        """Keep a chunk. False: it isn't acceptable, or there is no room, so it must not be acknowledged."""
        assembly = self._open.get(key)
        if assembly is None or not is_acceptable(
            assembly.length, chunk.position, chunk.offset, len(chunk.data)
        ):
            return False
        if chunk.position in assembly.chunks:
            return len(assembly.chunks[chunk.position]) == len(chunk.data)
        size, limits = len(chunk.data), self._limits
        cost = size + CHUNK_OVERHEAD
        if (
            assembly.received + size > assembly.length
            or self._bytes + cost > limits.assembling_bytes
            or self._source_bytes[key[0]] + cost > limits.assembling_source_bytes
        ):
            return False
        assembly.chunks[chunk.position] = chunk.data
        assembly.received += size
        assembly.touched = now
        self._bytes += cost
        self._source_bytes[key[0]] += cost
        self._open.move_to_end(key)
        return True

    def drop(self, key: Key) -> None:
        """Forget a message, if it is there."""
        assembly = self._open.pop(key, None)
        if assembly is None:
            return
        source, cost = key[0], assembly.received + CHUNK_OVERHEAD * len(assembly.chunks)
        self._bytes -= cost
        self._source_bytes[source] -= cost
        self._source_messages[source] -= 1
        if not self._source_messages[source]:
            del self._source_messages[source], self._source_bytes[source]

    def wake(self, now: float) -> None:
        """Drop what has made no progress for too long."""
        while (at := self.deadline()) is not None and at <= now:
            self.drop(next(iter(self._open)))

    def deadline(self) -> float | None:
        """When the next one is dropped, if nothing happens."""
        first = next(iter(self._open.values()), None)
        return None if first is None else first.touched + self._limits.assembling_idle
