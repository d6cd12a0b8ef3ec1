"""Recorded blocks again, from the genesis: whoever has them can check every header, transaction and root."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zosnet.ledger.comet.signed import CometSigned, content_hash, trouble_after
from zosnet.ledger.encoding import Malformed
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import Header, SignedHeader
from zosnet.ledger.state import Block, Changes, Machine
from zosnet.ledger.transaction import SignedTransaction
from zosnet.ledger.tree import Tree
from zosnet.model.errors import PeerError

__all__ = ["Memory", "replay"]


class Memory:
    """Records and pages in memory: an engine's disk, for a replay."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.pages: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """A record."""
        return self.records.get(key)

    def keep(self, records: Changes, pages: Changes) -> None:
        """What a block changed."""
        for table, changes in ((self.records, records), (self.pages, pages)):
            for key, value in changes.items():
                if value is None:
                    table.pop(key, None)
                else:
                    table[key] = value


def replay(
    genesis: Genesis, blocks: Iterable[tuple[SignedHeader, tuple[bytes, ...]]], memory: Memory | None = None
) -> Iterator[Header]:
    """Carry out each block anew, and yield its header once everything in it was right. Raises PeerError."""
    kept = memory or Memory()
    machine, tree = Machine(genesis, kept), Tree(kept.pages.get)
    before: Header | None = None
    for signed, raws in blocks:
        header = signed.header
        trouble = trouble_after(genesis, before, signed)
        if trouble is None and content_hash(signed, raws) != header.transactions:
            trouble = "its transactions are not those of its header"
        is_before = isinstance(signed, CometSigned)  # its root is that of the state before the block
        if trouble is None and is_before and tree.root != header.root:
            trouble = "it has another root"
        if trouble is None:
            trouble = _carry_out(machine, header, raws)
        if trouble is not None:
            raise PeerError(f"block {header.height} is wrong: {trouble}", remedy="don't trust this operator")
        records = machine.end()
        root, pages = tree.update(records)
        if not is_before and root != header.root:
            raise PeerError(f"block {header.height} has another root", remedy="don't trust this operator")
        kept.keep(records, pages)
        machine.settle()
        tree.settle()
        before = header
        yield header


def _carry_out(machine: Machine, header: Header, raws: tuple[bytes, ...]) -> str | None:
    machine.begin(Block(header.height, header.time_ms, header.previous))
    for raw in raws:
        try:
            result = machine.apply(SignedTransaction.parse(raw))
        except Malformed as error:
            return f"a transaction is malformed: {error}"
        if not result.is_done:
            return f"a transaction is against the rules: {result.text}"
    return None
