"""What a light client trusts, as its owner keeps it between runs: light blocks, the lowest first.

It is read back as it is: whoever can write this file decides what is trusted.
"""

from __future__ import annotations

import json

from zosnet.ledger.encoding import Malformed
from zosnet.ledger.light.client import Store
from zosnet.ledger.light.rpc import light_block_document, light_block_of, parse_json
from zosnet.ledger.light.verify import Fork

__all__ = ["KEPT", "decode_store", "encode_store"]

SCHEMA = "zosnet.ledger-light/1"
#: Light blocks that are kept: enough to verify an earlier height from below.
KEPT = 100
MOST_BYTES = 64 << 20


def encode_store(store: Store) -> bytes:
    """A store as JSON."""
    return json.dumps({"schema": SCHEMA, "blocks": [light_block_document(each) for each in store]}).encode()


def decode_store(raw: bytes) -> Store:
    """The store that was written. Raises Malformed for anything else."""
    document = parse_json(raw, MOST_BYTES)
    if (
        not isinstance(document, dict)
        or document.keys() != {"schema", "blocks"}
        or document["schema"] != SCHEMA
    ):
        raise Malformed(f"that is not of the schema {SCHEMA}")
    if not isinstance(document["blocks"], list) or not 0 < len(document["blocks"]) <= KEPT:
        raise Malformed(f"1 to {KEPT} light blocks are wanted")
    store = Store(KEPT)
    try:
        for each in document["blocks"]:
            store.add(light_block_of(each))
    except Fork as fork:
        raise Malformed(fork.message) from None
    return store
