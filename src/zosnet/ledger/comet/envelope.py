"""Envelopes: what waits in CometBFT's mempool. Some signed transactions in a row, each on its own.

    envelope    kind (1) ‖ for each transaction its length (U32) and its bytes

An envelope is not signed. A block doesn't have envelopes: its proposer takes them apart and proposes each
transaction that is good as one of CometBFT's, so that a block is the same whoever packed what together.
Of the kind 2 are envelopes of few transactions, for each of which somebody waits; of the kind 1 all others.
"""

from __future__ import annotations

from collections.abc import Iterable

from zosnet.ledger.encoding import Malformed
from zosnet.ledger.transaction import LARGEST

__all__ = ["MOST_AWAITED", "MOST_BYTES", "MOST_IN_BLOCK", "MOST_IN_ENVELOPE", "is_awaited", "pack", "unpack"]

MOST_IN_BLOCK = 1000
"""Transactions in a block of CometBFT: a rule, by which every operator votes, and not a setting."""
MOST_IN_ENVELOPE = 500
MOST_AWAITED = 8
"""In an envelope for whose transactions somebody waits."""
MOST_BYTES = 1 << 20
"""Of an envelope: CometBFT's `max_tx_bytes` is set to it."""


def pack(transactions: Iterable[bytes], *, awaited: bool = False) -> bytes:
    """An envelope of signed transactions; `awaited` says that there is somebody who waits for each."""
    return (b"\x02" if awaited else b"\x01") + b"".join(len(raw).to_bytes(4) + raw for raw in transactions)


def is_awaited(envelope: bytes) -> bool:
    """Whether there is somebody who waits for each transaction of it."""
    return envelope[:1] == b"\x02"


def unpack(envelope: bytes) -> list[bytes]:
    """The transactions of an envelope. Raises Malformed."""
    if envelope[:1] not in (b"\x01", b"\x02"):
        raise Malformed("it is no envelope of a known kind")
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
    most = MOST_AWAITED if is_awaited(envelope) else MOST_IN_ENVELOPE
    if not 0 < len(found) <= most:
        raise Malformed(f"an envelope of this kind has 1 to {most} transactions")
    return found
