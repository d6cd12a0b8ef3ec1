"""The state machine behind ABCI: the same records, rules and tree as the embedded engine's.

A proposal is carried out when it is first seen, by its proposer or by those who vote, on top of the last
block that is kept; once it is decided only the keeping is left. Another proposal for the same height, or
another round's, starts anew from what is kept. So a block costs one execution on each validator.

What may wait is judged on a second machine over the same records, which goes ahead of the blocks: it is put
back after each, and CometBFT asks again about all that still waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from zosnet._core import fold_page
from zosnet.ledger.comet import abci
from zosnet.ledger.comet.envelope import MOST_IN_BLOCK
from zosnet.ledger.encoding import U64, Bytes32, Malformed, decode, encode
from zosnet.ledger.engine.cometbft.mempool import Mempool, waiting_in
from zosnet.ledger.engine.database import Change, Changes, Database
from zosnet.ledger.engine.embedded import now_ms
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.engine.undo import pack
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.state import Block, Machine, Result, UnknownRules
from zosnet.ledger.transaction import SignedTransaction
from zosnet.ledger.tree import EMPTY, Before, Tree
from zosnet.model.errors import HostError

__all__ = ["Application", "Done", "Kept"]

MALFORMED = "malformed"
#: A proposal has so many transactions, and fewer while somebody waits who has sent little. Measured: see
#: docs/benchmarks.md.
LONG_BLOCK, HURRIED_BLOCK = 400, 48
#: CometBFT counts a transaction's field in the block as well: its tag and its length.
FRAME = 6
#: Of the tree, in memory: the three upper levels, 4369 pages, and some below. Some 0.7 KB each.
PAGES = 20_000


@dataclass(frozen=True, slots=True)
class Kept:
    """The last block that is kept, as the application knows it. `hash` is that of CometBFT's header."""

    height: U64
    time_ms: U64
    hash: Bytes32
    root: Bytes32


@dataclass(frozen=True, slots=True)
class Done:
    """A block that was kept: the receipts of its transactions by `copy`, and the keys of what it changed."""

    kept: Kept
    receipts: dict[bytes, Receipt]
    changed: tuple[bytes, ...]


@dataclass(slots=True)
class _Carried:
    """A proposal carried out, and not kept yet."""

    block: Block
    txs: tuple[bytes, ...]
    results: list[Result]
    receipts: dict[bytes, Receipt]  #: of those that were done, by `copy`
    records: Changes
    root: bytes
    pages: Changes
    before: Before  #: what the pages were
    hash: bytes = b""

    def change(self, kept: Kept) -> Change:
        """What the block does to the state."""
        ids = [each.id for each in self.receipts.values()]
        return Change(kept.height, encode(kept), ids, self.records, self.pages, pack(self.before))


class Application:
    """One validator's application. CometBFT's four connections share it under one lock."""

    def __init__(
        self,
        genesis: Genesis,
        database: Database,
        *,
        chain_name: str,
        clock: Callable[[], int] = now_ms,
        hook: Callable[[str], None] = lambda _: None,
        on_done: Callable[[Done], None] = lambda _: None,
        on_refused: Callable[[SignedTransaction, Result], None] = lambda _, __: None,
        on_misbehavior: Callable[[abci.Misbehavior], None] = lambda _: None,
    ) -> None:
        self.lock = threading.RLock()
        self._genesis, self._database, self._chain_name = genesis, database, chain_name
        self._clock, self._hook = clock, hook
        self._on_done, self._on_misbehavior = on_done, on_misbehavior
        self.mempool = Mempool(genesis, database, self.lock, clock, on_refused)
        self._machine = Machine(genesis, database, self.mempool.verifier, cache=10_000)
        self._tree = Tree(database.page, fold=fold_page, cache=PAGES)
        head = database.head()
        self.kept = Kept(0, genesis.time_ms, genesis.chain, EMPTY) if head is None else decode(Kept, head[1])
        if self._tree.root != self.kept.root:
            raise HostError(
                "the ledger's state is not that of its last block", remedy="restore the file from a copy"
            )
        self._carried: _Carried | None = None
        with _known_rules():
            self.mempool.begin(self._next())

    def handle(self, request: object) -> object:
        """The answer to one request. Whatever is raised must end CometBFT before it goes on."""
        if isinstance(request, abci.CheckTx):
            self._pass(f"before {type(request).__name__}")
            checked = self.mempool.check(request)  # it has the lock where it must
            self._pass(f"after {type(request).__name__}")
            return checked
        if isinstance(request, (abci.ProcessProposal, abci.FinalizeBlock)):
            self.mempool.foresee_block(request.txs[:MOST_IN_BLOCK])
        with self.lock:
            self._hook(f"before {type(request).__name__}")
            answer = self._answer(request)
            self._hook(f"after {type(request).__name__}")
            return answer

    def _pass(self, point: str) -> None:
        with self.lock:
            self._hook(point)

    def _answer(self, request: object) -> object:
        match request:
            case abci.PrepareProposal():
                return self.prepare(request)
            case abci.ProcessProposal():
                return self.process(request)
            case abci.FinalizeBlock():
                return self.finalize(request)
            case abci.Commit():
                return self.commit()
            case abci.Info():
                kept = self.kept
                return abci.InfoAnswer("zosnet", "1", 1, kept.height, kept.root if kept.height else b"")
            case abci.InitChain():
                return self.begin(request)
            case abci.Query():
                return self.query(request)
            case abci.Echo():
                return request
            case abci.Named(name="extend_vote" | "verify_vote_extension"):
                raise HostError("vote extensions are not used", remedy="use the ledger's own genesis")
            case _:
                return abci.Empty()  # flush; of snapshots none are offered or taken

    def begin(self, request: abci.InitChain) -> abci.InitialState:
        """Start from the genesis, which must be this ledger's."""
        keys = sorted(each.pub_key.ed25519 for each in request.validators if each.pub_key is not None)
        if request.chain_id != self._chain_name or keys != sorted(self._genesis.operators):
            raise HostError(
                "CometBFT's genesis is not this ledger's", remedy="make its directory anew from the genesis"
            )
        return abci.InitialState(self.kept.root)

    # Blocks.

    def prepare(self, request: abci.PrepareProposal) -> abci.PreparedProposal:
        """The next block of what waits: each transaction that is good now, in order, as far as they fit."""
        most = HURRIED_BLOCK if self.mempool.is_hurried else LONG_BLOCK
        block, room = self._block(request.height, request.time), _Room(request.max_tx_bytes, most)
        carried = self._carry_out(block, waiting_in(request.txs), room)
        return abci.PreparedProposal(carried.txs)

    def process(self, request: abci.ProcessProposal) -> abci.Verdict:
        """An honest proposer's block has good transactions only, and no more than there may be."""
        if len(request.txs) > MOST_IN_BLOCK:
            return abci.Verdict(abci.REJECT)
        carried = self._carried_out(self._block(request.height, request.time), request.txs)
        is_good = all(result.is_done for result in carried.results)
        return abci.Verdict(abci.ACCEPT if is_good else abci.REJECT)

    def finalize(self, request: abci.FinalizeBlock) -> abci.FinalizedBlock:
        """Carry out a block that is decided, whatever it has: more than 2/3 of the operators wanted it."""
        carried = self._carried_out(self._block(request.height, request.time), request.txs)
        carried.hash = request.hash
        for each in request.misbehavior:
            self._on_misbehavior(each)
        results = tuple(abci.TxResult(0 if result.is_done else 1) for result in carried.results)
        return abci.FinalizedBlock(results, carried.root)

    def commit(self) -> abci.Committed:
        """Keep the block that was finalized. Raises HostError where the disk refuses."""
        carried = self._carried
        assert carried is not None and carried.hash, "finalize comes before commit"
        kept = Kept(carried.block.height, carried.block.time_ms, carried.hash, carried.root)
        try:
            self._database.keep([carried.change(kept)])
        except HostError:
            if self._database.head() != (kept.height, encode(kept)):
                raise
        self._carried = None
        self._machine.settle()
        self._tree.settle()
        self.kept = kept
        judged = zip(carried.txs, carried.results, strict=True)
        done = frozenset(raw for raw, result in judged if result.is_done)
        with _known_rules():
            self.mempool.go_on(self._next(), done, carried.records)
        self._on_done(Done(kept, carried.receipts, tuple(carried.records)))
        return abci.Committed()

    def query(self, request: abci.Query) -> abci.QueryAnswer:
        """The bytes of a record as of now, without a proof: for a look by hand. Clients use our own API."""
        value = self._database.get(request.data)
        return abci.QueryAnswer(
            0 if value is not None else 1, "", request.data, value or b"", self.kept.height
        )

    def _block(self, height: int, time: abci.Time | None) -> Block:
        if height != self.kept.height + 1:
            raise HostError(
                f"CometBFT is at block {height}, the application at {self.kept.height}",
                remedy="restore both directories from one copy",
            )
        return Block(height, (time or abci.Time()).ms, self.kept.hash)

    def _next(self) -> Block:
        """The next block as it would be now, for what may wait."""
        kept = self.kept
        return Block(kept.height + 1, max(self._clock(), kept.time_ms), kept.hash)

    def _carried_out(self, block: Block, txs: tuple[bytes, ...]) -> _Carried:
        """The block with these transactions: it has been carried out already, or is now."""
        carried = self._carried
        if carried is not None and (carried.block, carried.txs) == (block, txs):
            return carried
        return self._carry_out(block, txs)

    def _carry_out(self, block: Block, raws: Iterable[bytes], room: _Room | None = None) -> _Carried:
        """Carry a block out: all of it, or, with `room`, what is good and fits."""
        self._carried = None
        self._machine.abandon()
        self._tree.abandon()
        with _known_rules():
            self._machine.begin(block)
        txs: list[bytes] = []
        results: list[Result] = []
        receipts: dict[bytes, Receipt] = {}
        for raw, signed in self._read(raws):
            if room is not None and not room.is_left(raw):
                break
            if isinstance(signed, Malformed):
                result = Result(MALFORMED, str(signed))
            else:
                result = self._machine.apply(signed)
                if result.is_done:
                    receipts[signed.copy] = Receipt(signed.id, height=block.height, epoch=result.epoch)
            if result.is_done or room is None:
                txs.append(raw)
                results.append(result)
                if room is not None:
                    room.take(raw)
        records = self._machine.end()
        root, pages = self._tree.update(records)
        before = self._tree.before
        self._carried = _Carried(block, tuple(txs), results, receipts, records, root, pages, before)
        return self._carried

    def _read(self, raws: Iterable[bytes]) -> list[tuple[bytes, SignedTransaction | Malformed]]:
        """A block's transactions, or what is wrong with them. What never waited here is verified now."""
        found: list[tuple[bytes, SignedTransaction | Malformed]] = []
        new: list[SignedTransaction] = []
        for raw in raws:
            is_new = not self.mempool.is_parsed(raw)
            try:
                signed = self.mempool.parse(raw)
            except Malformed as error:
                found.append((raw, error))
                continue
            found.append((raw, signed))
            if is_new:
                new.append(signed)
        self.mempool.verifier.prepare(claim for signed in new for claim in self._machine.claims(signed))
        return found


@dataclass(slots=True)
class _Room:
    """What a block may still have."""

    size: int
    count: int

    def is_left(self, raw: bytes) -> bool:
        """Whether there is room for this transaction."""
        return self.count > 0 and len(raw) + FRAME <= self.size

    def take(self, raw: bytes) -> None:
        """The block has it."""
        self.size -= len(raw) + FRAME
        self.count -= 1


@contextmanager
def _known_rules() -> Iterator[None]:
    """Raises HostError where a block wants rules that this version of zosnet doesn't have."""
    try:
        yield
    except UnknownRules as error:
        raise HostError(str(error), remedy="install a newer zosnet") from None
