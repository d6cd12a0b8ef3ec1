"""After a start: the blocks whose changes only a memory had are carried out again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from zosnet.ledger.encoding import Malformed
from zosnet.ledger.engine.batch import BatchVerifier
from zosnet.ledger.engine.database import Change
from zosnet.ledger.engine.interface import Block
from zosnet.ledger.engine.store import Store
from zosnet.ledger.engine.undo import pack
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.state import Block as Place
from zosnet.ledger.state import Changes, Machine, UnknownRules
from zosnet.ledger.transaction import SignedTransaction
from zosnet.ledger.tree import Tree
from zosnet.model.errors import HostError

__all__ = ["damaged", "recover"]


def recover(store: Store, machine: Machine, tree: Tree) -> SignedHeader | None:
    """Bring the state to the last block; its header. Raises HostError where it isn't that header's state."""
    head = store.database.head()
    newest = None if head is None else SignedHeader.parse(head[1])
    if newest is not None:
        if tree.root != newest.header.root:
            raise _other_state(newest)
        recorded = store.journal.block(newest.header.height)
        if recorded is not None and recorded.header != newest:
            raise _other_blocks(newest.header.height)
    previous = machine.chain if newest is None else newest.header.hash
    for block in store.unkept():
        newest = block.header
        # Blocks that change nothing leave any state as it was: the root alone doesn't tell whose they are.
        if newest.header.chain != machine.chain or newest.header.previous != previous:
            raise _other_blocks(newest.header.height)
        previous = newest.header.hash
        # A ledger is longer than memory. What a full disk refuses can be read all the same.
        with suppress(HostError):
            store.make_room()
        try:
            store.remember(_carry_out(block, machine, tree))
        except (Malformed, UnknownRules) as error:
            raise HostError(
                f"block {newest.header.height} can't be carried out: {error}",
                remedy="use the version of zosnet that made it, or a newer one",
            ) from None
    return newest


def damaged(directory: Path, error: Exception) -> HostError:
    """What to tell where what was read can't be made sense of."""
    return HostError(
        f"the ledger's files in {directory} are damaged: {error}", remedy="restore the directory from a copy"
    )


def _carry_out(block: Block, machine: Machine, tree: Tree) -> Change:
    header = block.header.header
    signed = [SignedTransaction.parse(raw) for raw in block.transactions]
    machine.begin(Place(header.height, header.time_ms, header.previous))
    if isinstance(machine.verify, BatchVerifier):
        machine.verify.prepare(claim for each in signed for claim in machine.claims(each))
    are_done = all(machine.apply(each).is_done for each in signed)
    records: Changes = machine.end()
    root, pages = tree.update(records)
    if not are_done or root != header.root:
        raise _other_state(block.header)
    before = pack(tree.before)
    machine.settle()
    tree.settle()
    return Change(header.height, block.header.raw, [each.id for each in signed], records, pages, before)


def _other_blocks(height: int) -> HostError:
    return HostError(
        f"block {height} doesn't belong to the ledger's state: the files are of two ledgers or two copies",
        remedy="restore its directory from one copy",
    )


def _other_state(signed: SignedHeader) -> HostError:
    return HostError(
        f"the ledger's state is not that of its last header, {signed.header.height}",
        remedy="restore its directory from a copy",
    )
