"""Mycelium's receiver of messages, as naive as it is."""

import math

from blake3 import blake3

from zosnet.model import MessageId
from zosnet.wire.message import Aborted, Chunk, Done, Init, acknowledge, decode_message


class StockReceiver:
    """Mycelium's receiver, rule by rule as the reference's section 7.4 has them; its memory is as naive."""

    def __init__(self) -> None:
        self.pending: dict[MessageId, tuple[int, dict[int, bytes], int]] = {}
        self.delivered: list[bytes] = []
        self.queued: set[MessageId] = set()

    def receive(self, body: bytes) -> bytes | None:
        """The acknowledgement, or silence."""
        match decode_message(body):
            case Init(id, length):
                if id in self.queued:
                    return None
                self.pending[id] = (length, {}, math.ceil(length / 1300))
                return acknowledge(body)
            case Chunk(id, position, offset, data):
                if id not in self.pending:
                    return None
                length, chunks, slots = self.pending[id]
                highest = math.ceil(length / 250) - 1
                if (
                    offset + len(data) > length
                    or position > highest
                    or (len(data) < 250 and position != highest)
                ):
                    return None
                chunks[position] = data
                self.pending[id] = (length, chunks, max(slots, position + 1))
                return acknowledge(body)
            case Done(id, chunk_count, checksum):
                if id not in self.pending:
                    return None
                length, chunks, slots = self.pending[id]
                payload = b"".join(chunks[position] for position in sorted(chunks))
                if (chunk_count, len(chunks), len(payload)) != (slots, slots, length):
                    return None
                if blake3(payload).digest() != checksum:
                    return None
                del self.pending[id]
                self.queued.add(id)
                self.delivered.append(payload)
                return acknowledge(body)
            case Aborted(id):
                self.pending.pop(id, None)
        return None
