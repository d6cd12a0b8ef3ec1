"""Mycelium's messages: what stands behind the inner header of type 1.

    0    8       10         12
    | id | flags | reserved | body by kind ...

One bit of the flags names the kind; ACK says that the packet acknowledges that kind. Unknown bits, the
reserved bytes and bytes behind a body are ignored; an acknowledgement echoes the first two.
"""

from struct import Struct
from typing import NamedTuple

from zosnet.model.errors import PeerError
from zosnet.model.message_id import MessageId

INIT, DONE, ABORTED, CHUNK, READ, REPLY, ACK = 0x8000, 0x4000, 0x2000, 0x1000, 0x0800, 0x0400, 0x0100

HEADER_BYTES = 12
MAX_TOPIC = 255

_HEADER = Struct(">8sHH")
_INIT = Struct(">QB")
_CHUNK = Struct(">QQQ")
_DONE = Struct(">Q32s")


class Init(NamedTuple):
    """Announces a message. Body: length 8, topic length 1, topic."""

    id: MessageId
    length: int
    topic: bytes
    """Up to 255 bytes of anything."""
    is_reply: bool = False
    """The message answers the one whose id it reuses."""


class InitAck(NamedTuple):
    """The receiver takes the message. Body: length 8, topic length 1; the topic itself is dropped."""

    id: MessageId
    length: int
    topic_length: int


class Chunk(NamedTuple):
    """A piece of the message. Body: index 8, offset 8, size 8, data."""

    id: MessageId
    position: int
    """The chunk's index, from 0."""
    offset: int
    data: bytes


class ChunkAck(NamedTuple):
    """A piece arrived. Body: the first 24 bytes of the chunk's."""

    id: MessageId
    position: int
    offset: int
    size: int


class Done(NamedTuple):
    """All was sent. Body: number of chunks 8, BLAKE3 of the whole message 32."""

    id: MessageId
    chunks: int
    checksum: bytes


class DoneAck(NamedTuple):
    """All arrived, and the checksum is right. Body as Done's."""

    id: MessageId
    chunks: int
    checksum: bytes


class Read(NamedTuple):
    """The receiver's application took the message. No body."""

    id: MessageId


class Aborted(NamedTuple):
    """The sender gave up. No body."""

    id: MessageId


MessagePacket = Init | InitAck | Chunk | ChunkAck | Done | DoneAck | Read | Aborted


def encode_message(packet: MessagePacket) -> bytes:
    """The body behind the inner header."""
    match packet:
        case Init(id, length, topic, is_reply):
            flags = INIT | REPLY if is_reply else INIT
            return _HEADER.pack(id.raw, flags, 0) + _INIT.pack(length, len(topic)) + topic
        case InitAck(id, length, topic_length):
            return _HEADER.pack(id.raw, INIT | ACK, 0) + _INIT.pack(length, topic_length)
        case Chunk(id, position, offset, data):
            return _HEADER.pack(id.raw, CHUNK, 0) + _CHUNK.pack(position, offset, len(data)) + data
        case ChunkAck(id, position, offset, size):
            return _HEADER.pack(id.raw, CHUNK | ACK, 0) + _CHUNK.pack(position, offset, size)
        case Done(id, chunks, checksum):
            return _HEADER.pack(id.raw, DONE, 0) + _DONE.pack(chunks, checksum)
        case DoneAck(id, chunks, checksum):
            return _HEADER.pack(id.raw, DONE | ACK, 0) + _DONE.pack(chunks, checksum)
        case Read(id):
            return _HEADER.pack(id.raw, READ, 0)
        case Aborted(id):
            return _HEADER.pack(id.raw, ABORTED, 0)


def decode_message(body: bytes) -> MessagePacket | None:
    """Decode what stands behind the inner header. None: no kind that we know, to be ignored.

    Kinds are tried in the order of Mycelium: init, chunk, done, read, aborted. Raises PeerError for a body
    shorter than its kind needs, or a chunk with less data than it says.
    """
    _need(body, 0)
    raw, flags, _ = _HEADER.unpack_from(body)
    id, is_ack = MessageId(raw), bool(flags & ACK)
    if flags & INIT:
        return _decode_init_ack(id, body) if is_ack else _decode_init(id, body, bool(flags & REPLY))
    if flags & CHUNK:
        return _decode_chunk_ack(id, body) if is_ack else _decode_chunk(id, body)
    if flags & DONE:
        _need(body, _DONE.size)
        chunks, checksum = _DONE.unpack_from(body, HEADER_BYTES)
        return DoneAck(id, chunks, checksum) if is_ack else Done(id, chunks, checksum)
    if is_ack:
        return None
    return Read(id) if flags & READ else Aborted(id) if flags & ABORTED else None


def acknowledge(body: bytes) -> bytes:
    """The acknowledgement of a received Init, Chunk or Done that `decode_message` accepted.

    Flags that nobody knows and the reserved bytes come back as they were; topic and data are left out.
    """
    raw, flags, reserved = _HEADER.unpack_from(body)
    fixed = _INIT.size if flags & INIT else _CHUNK.size if flags & CHUNK else _DONE.size
    return _HEADER.pack(raw, flags | ACK, reserved) + body[HEADER_BYTES : HEADER_BYTES + fixed]


def _need(body: bytes, count: int) -> None:
    if len(body) < HEADER_BYTES + count:
        raise PeerError(f"a message packet of {len(body)} bytes needs {HEADER_BYTES + count}")


def _decode_init(id: MessageId, body: bytes, is_reply: bool) -> Init:
    _need(body, _INIT.size)
    length, topic_length = _INIT.unpack_from(body, HEADER_BYTES)
    start = HEADER_BYTES + _INIT.size
    _need(body, _INIT.size + topic_length)
    return Init(id, length, body[start : start + topic_length], is_reply)


def _decode_init_ack(id: MessageId, body: bytes) -> InitAck:
    _need(body, _INIT.size)
    return InitAck(id, *_INIT.unpack_from(body, HEADER_BYTES))


def _decode_chunk(id: MessageId, body: bytes) -> Chunk:
    _need(body, _CHUNK.size)
    position, offset, size = _CHUNK.unpack_from(body, HEADER_BYTES)
    start = HEADER_BYTES + _CHUNK.size
    if size > len(body) - start:
        raise PeerError(f"a chunk says {size} bytes and carries {len(body) - start}")
    return Chunk(id, position, offset, body[start : start + size])


def _decode_chunk_ack(id: MessageId, body: bytes) -> ChunkAck:
    _need(body, _CHUNK.size)
    return ChunkAck(id, *_CHUNK.unpack_from(body, HEADER_BYTES))
