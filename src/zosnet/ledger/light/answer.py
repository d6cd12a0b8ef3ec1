"""From a trusted header to a record: the tree's proof against the application hash.

CometBFT's header h + 1 carries the application hash of block h, and the ledger's application hash is the root
of its tree. So a record as of block h is proven by the header after it.
"""

from __future__ import annotations

from zosnet.ledger.light.client import Store
from zosnet.ledger.light.verify import Untrusted
from zosnet.ledger.tree import Proof
from zosnet.ledger.tree import verify as verify_proof

__all__ = ["believe", "root_after"]


def root_after(store: Store, height: int) -> bytes:
    """The tree's root after block `height`. Raises Untrusted where the header with it isn't trusted."""
    block = store.at(height + 1)
    if block is None:
        raise Untrusted("unverified", f"header {height + 1}, which has the root of {height}, is not verified")
    if len(block.header.app_hash) != 32:
        raise Untrusted("proof", f"the application hash of header {height + 1} is no root of a ledger's tree")
    return block.header.app_hash


def believe(store: Store, height: int, key: bytes, value: bytes | None, proof: Proof) -> None:
    """Returns where `proof` shows that the record was `value` (None: absent) after block `height`.

    Raises Untrusted where it doesn't, or header `height` + 1 isn't trusted yet.
    """
    if not verify_proof(root_after(store, height), key, value, proof):
        raise Untrusted("proof", f"a proof as of block {height} is wrong", remedy="don't trust this node")
