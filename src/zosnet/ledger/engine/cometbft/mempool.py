"""What may wait for a block: judged on a machine of its own, which goes ahead of what is kept.

After each block it is put back to what is kept, and what waits is carried out again, but for what the block
has. So whatever comes next is judged on top of all that waits, though CometBFT asks again about that only in
a moment, one envelope after the other; and then the answers are known.

What waits is known by all its bytes: anybody may send a copy of it whose signatures are wrong.

CometBFT doesn't tell which operator an envelope came from, so those who share the room are the accounts that
have signed; what is of this node's own clients has room of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from threading import RLock

from zosnet._core import verify_signatures
from zosnet.ledger.comet import abci
from zosnet.ledger.comet.envelope import is_awaited, unpack
from zosnet.ledger.encoding import Malformed
from zosnet.ledger.engine.batch import BatchVerifier
from zosnet.ledger.engine.cometbft.envelopes import Envelopes
from zosnet.ledger.engine.cometbft.shares import Shares
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.records import AccountRecord, account_key
from zosnet.ledger.state import Block, Machine, Reader, Result
from zosnet.ledger.transaction import SignedTransaction

__all__ = [
    "HURRIED_MS", "MOST_ENVELOPES", "MOST_ENVELOPE_BYTES", "MOST_OWN", "MOST_PENDING", "Mempool",
    "waiting_in",
]  # fmt: skip

#: Transactions that wait, so that a flooded validator's mempool stays small. A guess: some seconds of work.
MOST_PENDING = 10_000
#: Of this node's own clients, besides. More than the front lets wait at a time.
MOST_OWN = 1000
#: Others' envelopes in CometBFT's mempool, which has room for one of each of MOST_OWN besides. It asks about
#: each again after every block. A guess.
MOST_ENVELOPES, MOST_ENVELOPE_BYTES = 1000, 48 << 20
#: Whose signatures can't be verified yet share one source's places.
UNKNOWN = b""
#: About 2 KB each. A guess: some blocks' worth.
MOST_PARSED = 5000
#: Blocks that a transaction waits for which can't be carried out yet.
PATIENT = 2
#: So long after somebody has sent little his like are taken to be there. A guess.
HURRIED_MS = 1000
#: One of so many that are proposed is of those for which nobody waits: the others, where there are enough of
#: them for every block, would hold them up for ever. A guess.
SHARE = 8


@dataclass(slots=True)
class _Waits:
    """A transaction that is good on top of what is kept and what came before it."""

    signed: SignedTransaction
    asked: int  #: the height at which CometBFT, or our own front, has asked for it last


class Mempool:
    """What waits at one validator. `lock` is the application's; `verifier` has seen what waits or waited."""

    def __init__(
        self,
        genesis: Genesis,
        reader: Reader,
        lock: RLock,
        clock: Callable[[], int],
        on_refused: Callable[[SignedTransaction, Result], None],
    ) -> None:
        self._lock, self._clock, self._on_refused = lock, clock, on_refused
        self.verifier = BatchVerifier(limit=50_000)
        self._ahead = Machine(genesis, reader, self.verifier, cache=10_000)
        self._waiting: dict[bytes, _Waits] = {}
        self._own, self._others = Shares(MOST_OWN), Shares(MOST_PENDING)
        self._evicted: set[bytes] = set()  #: carried out ahead all the same, until the next block
        self._envelopes = Envelopes(MOST_ENVELOPES, MOST_ENVELOPE_BYTES)
        self._early: dict[bytes, int] = {}
        self._early_shares = Shares(MOST_PENDING)
        self._parsed: dict[bytes, SignedTransaction] = {}
        self._done: frozenset[bytes] = frozenset()
        self._height = 0
        self._hurried_until = 0

    def foresee(self, signed: Iterable[SignedTransaction]) -> None:
        """Judge the signatures of these all at once, so that `admit` need not.

        Not to be called with the lock: it is held to read the accounts and to write the verdicts down, and
        others have it in between.
        """
        with self._lock:
            new = self.verifier.unknown(claim for each in signed for claim in self._ahead.claims(each))
        if new:
            verdicts = verify_signatures(list(new.values()))
            with self._lock:
                self.verifier.learn(new, verdicts)

    def foresee_block(self, raws: Iterable[bytes]) -> None:
        """As `foresee`, of the transactions of a proposal that are new here."""
        new: list[SignedTransaction] = []
        for raw in raws:
            if not self.is_parsed(raw):
                with suppress(Malformed):
                    new.append(self.parse(raw))
        self.foresee(new)

    def admit(self, signed: SignedTransaction, *, is_own: bool = False) -> Result:
        """Judge a transaction against what is kept and what waits already; it waits where it is good.

        What had to make room for it is in CometBFT's mempool still, and judged again when that asks.
        """
        self.foresee([signed])  # what it follows may have opened the account only now
        with self._lock:
            return self._admit(signed, is_own=is_own)

    def _admit(self, signed: SignedTransaction, *, is_own: bool = False) -> Result:
        copy, height = signed.copy, self._height
        if found := self._waiting.get(copy):
            found.asked = height
            return Result()
        shares, account = self._own if is_own else self._others, signed.transaction.account
        if not shares.has_room(account):
            return Result("busy", "too many transactions are pending")
        result = Result() if copy in self._evicted else self._ahead.apply(signed)
        if result.is_done:
            self._evicted.discard(copy)
            if evicted := shares.take(account, copy):
                del self._waiting[evicted]
                self._evicted.add(evicted)
            self._waiting[copy] = _Waits(signed, height)
            self._remember(signed)
        return result

    @property
    def is_hurried(self) -> bool:
        """Whether somebody waits who has sent little, as far as this node knows: then blocks are short."""
        return self._clock() < self._hurried_until

    def expect(self, envelope: bytes) -> None:
        """What is sent to CometBFT for this node's own clients, and will be asked for."""
        with self._lock:
            self._envelopes.expect(envelope, self._height)

    def check(self, request: abci.CheckTx) -> abci.CheckedTx:
        """An envelope may wait while anything in it is good, or may become so in a moment.

        Not to be called with the lock: each transaction is judged under it, its signatures before that.
        """
        try:
            raws = unpack(request.tx)
        except Malformed as error:
            return abci.CheckedTx(1, str(error))
        with self._lock:
            if not self._envelopes.has_room(request.tx):
                return abci.CheckedTx(1, "too many envelopes of others are pending")
        is_good, text = self._check(raws)
        with self._lock:
            if is_good:
                self._envelopes.put(request.tx, self._height)
            else:
                self._envelopes.drop(request.tx)
        if is_good and is_awaited(request.tx):
            self._hurried_until = self._clock() + HURRIED_MS
        return abci.CheckedTx() if is_good else abci.CheckedTx(1, text)

    def _check(self, raws: list[bytes]) -> tuple[bool, str]:
        """Whether any of them may wait, and what is wrong with the first that may not."""
        is_good, text = False, ""
        parsed: list[SignedTransaction] = []
        for raw in raws:
            if raw in self._done:
                continue
            try:
                parsed.append(self.parse(raw))
            except Malformed as error:
                text = text or str(error)
        self.foresee(parsed)
        for signed in parsed:
            self.foresee([signed])
            with self._lock:
                if signed.raw in self._done:  # a block has come meanwhile
                    continue
                result = self._admit(signed)
                if result.is_done or not self._is_hopeless(signed, result):
                    is_good = True
                else:
                    text = text or result.text
                    self._on_refused(signed, result)
        return is_good, text

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
        source = UNKNOWN
        if account is not None and account.key_epoch == signed.transaction.key_epoch:
            if account.keys.trouble(signed.message, signed.signatures, self.verifier):
                return True
            source = signed.transaction.account
        copy, height = signed.copy, self._height
        if copy not in self._early:
            if not self._early_shares.has_room(source):
                return True
            if evicted := self._early_shares.take(source, copy):
                del self._early[evicted]
            self._early[copy] = height
        return height >= self._early[copy] + PATIENT

    def begin(self, block: Block) -> None:
        """Judge what comes on top of the last block that is kept: `block` is the next, as far as is known."""
        self._height = block.height - 1
        self._ahead.begin(block)

    def go_on(self, block: Block, done: frozenset[bytes], changed: Iterable[bytes]) -> None:
        """Another block is kept, with these transactions, and has changed these records.

        What CometBFT hasn't asked for lately isn't in its mempool any more.
        """
        self._done = done
        self._evicted.clear()
        self._ahead.forget(changed)
        self.begin(block)
        height = self._height
        self._envelopes.forget(height - PATIENT)
        for copy, since in list(self._early.items()):
            if since + 2 * PATIENT <= height:
                del self._early[copy]
                self._early_shares.drop(copy)
        for copy, each in list(self._waiting.items()):
            is_there = each.signed.raw not in done and each.asked + PATIENT >= height
            if not (is_there and self._ahead.apply(each.signed).is_done):
                del self._waiting[copy]
                self._own.drop(copy)
                self._others.drop(copy)

    def is_parsed(self, raw: bytes) -> bool:
        """Whether it was here before."""
        return raw in self._parsed

    def parse(self, raw: bytes) -> SignedTransaction:
        """Read a transaction, once for all its comings: to wait, to be proposed, to be voted on."""
        found = self._parsed.get(raw)
        if found is None:
            found = SignedTransaction.parse(raw)
            with self._lock:
                self._remember(found)
        return found

    def _remember(self, signed: SignedTransaction) -> None:
        if len(self._parsed) >= MOST_PARSED:
            self._parsed.pop(next(iter(self._parsed)))
        self._parsed[signed.raw] = signed


def waiting_in(envelopes: tuple[bytes, ...]) -> list[bytes]:
    """The transactions of these envelopes, those first for which somebody waits, but for one in SHARE."""
    awaited: list[bytes] = []
    others: list[bytes] = []
    for envelope in envelopes:
        try:
            raws = unpack(envelope)
        except Malformed:
            continue
        (awaited if is_awaited(envelope) else others).extend(raws)
    found: list[bytes] = []
    rest = iter(others)
    for start in range(0, len(awaited), SHARE - 1):
        found += [*awaited[start : start + SHARE - 1], *islice(rest, 1)]
    return [*found, *rest]
