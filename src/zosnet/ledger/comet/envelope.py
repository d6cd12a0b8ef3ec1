"""Envelopes: what waits in CometBFT's mempool. Some signed transactions in a row, each on its own.

    envelope    version (1) ‖ for each transaction its length (U32) and its bytes

An envelope is not signed. A block doesn't have envelopes: its proposer takes them apart and proposes each
transaction that is good as one of CometBFT's, so that a block is the same whoever packed what together.
"""

from __future__ import annotations

from collections.abc import Iterable

from zosnet.ledger.encoding import Malformed
from zosnet.ledger.transaction import LARGEST

__all__ = ["MOST_BYTES", "MOST_IN_BLOCK", "MOST_IN_ENVELOPE", "pack", "unpack"]

MOST_IN_BLOCK = 1000
"""Transactions in a block of CometBFT: a rule, by which every operator votes, and not a setting."""
MOST_IN_ENVELOPE = 500
MOST_BYTES = 1 << 20
"""Of an envelope: CometBFT's `max_tx_bytes` is set to it."""


def pack(transactions: Iterable[bytes]) -> bytes:
    """An envelope of signed transactions."""
    return b"\x01" + b"".join(len(raw).to_bytes(4) + raw for raw in transactions)


def unpack(envelope: bytes) -> list[bytes]:
    """The transactions of an envelope. Raises Malformed."""
    if envelope[:1] != b"\x01":
        raise Malformed("it is no envelope of version 1")
    if len(envelope) > MOST_BYTES:
        raise Malformed(f"an envelope has at most {MOST_BYTES} bytes")
    found: list[bytes] = []
    at = 1
    while at < len(envelope):
        size = int.from_bytes(envelope[at : at + 4])
        start, at = at + 4, at + 4 + size
        if at > len(envelope) or not 0 < size <= LARGEST:
            raise Malformed("a transaction's length is wrong")
        found.append(envelope[start:at])
    if not 0 < len(found) <= MOST_IN_ENVELOPE:
        raise Malformed(f"an envelope has 1 to {MOST_IN_ENVELOPE} transactions")
    return found
