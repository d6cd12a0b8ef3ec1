"""Bounds that fit each other."""

import pytest

from zosnet.message import Limits
from zosnet.message.assembly import CHUNK_OVERHEAD, MIN_CHUNK


@pytest.mark.parametrize("message_bytes", [1, 16 << 20, 1 << 30])
def test_the_longest_message_fits_everywhere_even_in_the_smallest_chunks(message_bytes: int) -> None:
    limits = Limits.for_messages_of(message_bytes)
    smallest_chunks = message_bytes + -(-message_bytes // MIN_CHUNK) * CHUNK_OVERHEAD
    assert smallest_chunks <= limits.assembling_source_bytes <= limits.assembling_bytes
    assert message_bytes <= limits.inbox_source_bytes <= limits.inbox_bytes
    assert message_bytes <= limits.outbound_bytes


def test_the_usual_bounds_are_the_defaults() -> None:
    assert Limits.for_messages_of(Limits().message_bytes) == Limits()
