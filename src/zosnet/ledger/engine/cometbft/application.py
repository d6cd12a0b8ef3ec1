"""The state machine behind ABCI: the same records, rules and tree as the embedded engine's.

A proposal is carried out when it is first seen, by its proposer or by those who vote, on top of the last
block that is kept; once it is decided only the keeping is left. Another proposal for the same height, or
another round's, starts anew from what is kept. So a block costs one execution on each validator.

What may wait is judged on a second machine over the same records, which goes ahead of the blocks: it is put
back after each, and CometBFT asks again about all that still waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zosnet._core import fold_page
from zosnet.ledger.comet import abci
from zosnet.ledger.comet.envelope import MOST_IN_BLOCK, unpack
from zosnet.ledger.encoding import U64, Bytes32, Malformed, decode, encode
from zosnet.ledger.engine.database import Change, Changes, Database
from zosnet.ledger.engine.embedded import now_ms
from zosnet.ledger.engine.undo import pack
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.records import AccountRecord, account_key
from zosnet.ledger.signature import Verifier
from zosnet.ledger.state import Block, Machine, Result, UnknownRules
from zosnet.ledger.transaction import SignedTransaction
from zosnet.ledger.tree import EMPTY, Before, Tree
from zosnet.model.errors import HostError

__all__ = ["Application", "Done", "Kept"]

#: Transactions that wait, so that a flooded validator's mempool stays small. A guess: some seconds of work.
MOST_PENDING = 10_000
MALFORMED = "malformed"
#: About 2 KB each. A guess: some blocks' worth.
MOST_PARSED = 5000
#: Of the tree, in memory: the three upper levels, 4369 pages, and some below. Some 0.7 KB each.
PAGES = 20_000
#: Blocks that a transaction waits for which can't be carried out yet.
PATIENT = 2


@dataclass(frozen=True, slots=True)
class Kept:
    """The last block that is kept, as the application knows it. `hash` is that of CometBFT's header."""

    height: U64
    time_ms: U64
    hash: Bytes32
    root: Bytes32


@dataclass(frozen=True, slots=True)
class Done:
    """A block that was kept: the epochs of its transactions by id, and the keys of what it changed."""

    kept: Kept
    epochs: dict[bytes, int]
    changed: tuple[bytes, ...]


@dataclass(slots=True)
class _Carried:
    """A proposal carried out, and not kept yet."""

    block: Block
    txs: tuple[bytes, ...]
    results: list[Result]
    epochs: dict[bytes, int]
    records: Changes
    root: bytes
    pages: Changes
    before: Before  #: what the pages were
    hash: bytes = b""

    def change(self, kept: Kept) -> Change:
        """What the block does to the state."""
        ids = list(self.epochs)
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
        on_refused: Callable[[bytes, Result], None] = lambda _, __: None,
        on_misbehavior: Callable[[abci.Misbehavior], None] = lambda _: None,
    ) -> None:
        self.lock = threading.RLock()
        self._genesis, self._database, self._chain_name = genesis, database, chain_name
        self._clock, self._hook = clock, hook
        self._on_done, self._on_refused, self._on_misbehavior = on_done, on_refused, on_misbehavior
        self.verifier = Verifier(limit=50_000)
        self._machine = Machine(genesis, database, self.verifier, cache=10_000)
        self._tree = Tree(database.page, fold=fold_page, cache=PAGES)
        head = database.head()
        self.kept = Kept(0, genesis.time_ms, genesis.chain, EMPTY) if head is None else decode(Kept, head[1])
        if self._tree.root != self.kept.root:
            raise HostError(
                "the ledger's state is not that of its last block", remedy="restore the file from a copy"
            )
        self._carried: _Carried | None = None
        self._ahead = Machine(genesis, database, self.verifier, cache=10_000)
        self._waiting: set[bytes] = set()
        self._early: dict[bytes, int] = {}
        self._parsed: dict[bytes, SignedTransaction] = {}
        self._done: frozenset[bytes] = frozenset()
        self._look_ahead()

    def handle(self, request: object) -> object:
        """The answer to one request. Whatever is raised must end CometBFT before it goes on."""
        with self.lock:
            self._hook(f"before {type(request).__name__}")
            answer = self._answer(request)
            self._hook(f"after {type(request).__name__}")
            return answer

    def _answer(self, request: object) -> object:
        match request:
            case abci.CheckTx():
                return self.check(request)
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

    # What may wait.

    def admit(self, signed: SignedTransaction) -> Result:
        """Judge a transaction against what is kept and what waits already; it waits where it is good."""
        with self.lock:
            identity = signed.id
            if identity in self._waiting:
                return Result()
            if len(self._waiting) >= MOST_PENDING:
                return Result("busy", "too many transactions are pending")
            result = self._ahead.apply(signed)
            if result.is_done:
                self._waiting.add(identity)
            return result

    def check(self, request: abci.CheckTx) -> abci.CheckedTx:
        """An envelope may wait while anything in it is good, or may become so in a moment."""
        try:
            raws = unpack(request.tx)
        except Malformed as error:
            return abci.CheckedTx(1, str(error))
        is_good, text = False, ""
        for raw in raws:
            if raw in self._done:
                continue
            try:
                signed = self._parse(raw)
            except Malformed as error:
                text = text or str(error)
                continue
            result = self.admit(signed)
            if result.is_done or not self._is_hopeless(signed, result):
                is_good = True
            else:
                text = text or result.text
                self._on_refused(signed.id, result)
        return abci.CheckedTx() if is_good else abci.CheckedTx(1, text)

    def _is_hopeless(self, signed: SignedTransaction, result: Result) -> bool:
        """Whether a refusal is for good.

        Another operator may be a block ahead of us: what follows on that block comes here before the block
        does, and is sent only once. So it waits for PATIENT more blocks, and its reasons with it.
        """
        if result.reason in {"signature", "chain", "expired", "busy"}:
            return True
        account: AccountRecord | None = self._ahead.read(account_key(signed.transaction.account))
        if account is not None and signed.transaction.nonce <= account.nonce:
            return True  # it, or another in its place, is in a block already, or goes before it
        identity, height = signed.id, self.kept.height
        if identity not in self._early and len(self._early) >= MOST_PENDING:
            return True
        return height >= self._early.setdefault(identity, height) + PATIENT

    def _look_ahead(self) -> None:
        """Nothing waits, and what is kept is the state."""
        height = self.kept.height
        self._waiting.clear()
        # What still waits is asked for after each block: what is older than this doesn't.
        self._early = {key: since for key, since in self._early.items() if since + 2 * PATIENT > height}
        self._ahead.abandon()
        now = max(self._clock(), self.kept.time_ms)
        _begin(self._ahead, Block(height + 1, now, self.kept.hash))

    def _parse(self, raw: bytes) -> SignedTransaction:
        """Read a transaction, once for all its comings: to wait, to be proposed, to be voted on."""
        found = self._parsed.get(raw)
        if found is None:
            found = SignedTransaction.parse(raw)
            if len(self._parsed) >= MOST_PARSED:
                self._parsed.pop(next(iter(self._parsed)))
            self._parsed[raw] = found
        return found

    # Blocks.

    def prepare(self, request: abci.PrepareProposal) -> abci.PreparedProposal:
        """The next block of what waits: each transaction that is good now, in order, as far as they fit."""
        taken = self._fitting(request.txs, request.max_tx_bytes)
        carried = self._carry_out(self._block(request.height, request.time), taken, only_good=True)
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
        self._done = frozenset(raw for raw, result in judged if result.is_done)
        self._ahead.forget(carried.records)
        self._look_ahead()
        self._on_done(Done(kept, carried.epochs, tuple(carried.records)))
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

    def _carried_out(self, block: Block, txs: tuple[bytes, ...]) -> _Carried:
        """The block with these transactions: it has been carried out already, or is now."""
        carried = self._carried
        if carried is not None and (carried.block, carried.txs) == (block, txs):
            return carried
        return self._carry_out(block, txs, only_good=False)

    def _carry_out(self, block: Block, raws: Iterable[bytes], *, only_good: bool) -> _Carried:
        self._carried = None
        self._machine.abandon()
        self._tree.abandon()
        _begin(self._machine, block)
        txs: list[bytes] = []
        results: list[Result] = []
        epochs: dict[bytes, int] = {}
        for raw in raws:
            try:
                signed = self._parse(raw)
            except Malformed as error:
                result = Result(MALFORMED, str(error))
            else:
                result = self._machine.apply(signed)
                if result.is_done:
                    epochs[signed.id] = result.epoch
            if result.is_done or not only_good:
                txs.append(raw)
                results.append(result)
        records = self._machine.end()
        root, pages = self._tree.update(records)
        before = self._tree.before
        self._carried = _Carried(block, tuple(txs), results, epochs, records, root, pages, before)
        return self._carried

    @staticmethod
    def _fitting(envelopes: tuple[bytes, ...], limit: int) -> list[bytes]:
        """The transactions of these envelopes, as many as a block may have."""
        found: list[bytes] = []
        size = 0
        for envelope in envelopes:
            try:
                raws = unpack(envelope)
            except Malformed:
                continue
            for raw in raws:
                # CometBFT counts the field's tag and length as well: at most 6 bytes.
                size += len(raw) + 6
                if size > limit or len(found) >= MOST_IN_BLOCK:
                    return found
                found.append(raw)
        return found


def _begin(machine: Machine, block: Block) -> None:
    try:
        machine.begin(block)
    except UnknownRules as error:
        raise HostError(str(error), remedy="install a newer zosnet") from None
