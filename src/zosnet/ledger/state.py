"""The state machine: blocks of signed transactions in, changed records out. No I/O, no clock, integers only.

    begin(block) ─ apply(transaction)* ─ end() → changes ─ [the engine keeps them] ─ settle()

A transaction that is refused leaves nothing behind. Between `end` and `settle` the changes may still be given
up with `abandon`, as when the disk refuses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from zosnet.ledger.encoding import decode, encode
from zosnet.ledger.fields import Signature
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.records import (
    ANCHORS,
    COUNTER,
    AccountRecord,
    AnchorsRecord,
    CounterRecord,
    account_key,
    kind_of,
)
from zosnet.ledger.rules import RULES
from zosnet.ledger.rules.step import Block, Refused, Rules, Step
from zosnet.ledger.signature import Verifier
from zosnet.ledger.transaction import (
    Admission,
    OpenAccount,
    PutNetwork,
    SignedTransaction,
    admission_message,
    consent_message,
)

__all__ = ["Block", "Changes", "Machine", "Reader", "Result", "UnknownRules"]

Changes = dict[bytes, bytes | None]
"""The new bytes of each record that a block changed; None where it is gone."""

#: A hash for stamps is taken this often and 16 are kept, so a stamp has a quarter of an hour. A guess.
ANCHOR_EVERY_MS = 60_000
ANCHORS_KEPT = 16


class Reader(Protocol):
    """Where records are kept."""

    def get(self, key: bytes) -> bytes | None:
        """The bytes of a record as of the last block that was kept."""


class UnknownRules(Exception):
    """The ledger has switched to rules that this version of zosnet doesn't have."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a transaction. `reason` is "" where it was done, else a constant word."""

    reason: str = ""
    text: str = ""
    epoch: int = 0  #: that of the record it wrote, 0 where it wrote none with an epoch

    @property
    def is_done(self) -> bool:
        """Whether it changed the state."""
        return not self.reason


class Machine:
    """The state of one ledger, on top of what is kept in `reader`."""

    def __init__(
        self,
        genesis: Genesis,
        reader: Reader,
        verify: Verifier | None = None,
        *,
        rules: dict[int, Rules] = RULES,
        cache: int = 50_000,
    ) -> None:
        self.genesis = genesis
        self.chain = genesis.chain
        self.parameters = genesis.parameters
        self.verify = verify or Verifier()
        self._reader = reader
        self._rules = rules
        self._cache_limit = cache
        self._cache: dict[bytes, Any] = {}
        self._block_writes: dict[bytes, Any] = {}
        self._writes: dict[bytes, Any] = {}
        self._block: Block | None = None
        self._handlers: Rules = {}

    def read(self, key: bytes) -> Any:
        """The record at `key` as the transaction under way sees it; None where there is none."""
        if key in self._writes:
            return self._writes[key]
        if key in self._block_writes:
            return self._block_writes[key]
        if key in self._cache:
            return self._cache[key]
        raw = self._reader.get(key)
        found = None if raw is None else decode(kind_of(key), raw)
        if len(self._cache) >= self._cache_limit:
            for old in list(self._cache)[: self._cache_limit // 8]:
                del self._cache[old]
        self._cache[key] = found
        return found

    def write(self, key: bytes, record: Any) -> None:
        """Put, replace or (None) delete a record."""
        self._writes[key] = record

    def begin(self, block: Block) -> None:
        """Start a block. Raises UnknownRules, and then nothing has begun."""
        version = self.parameters.rules_at(block.height)
        if version not in self._rules:
            raise UnknownRules(f"block {block.height} wants version {version} of the rules")
        self._handlers = self._rules[version]
        self._block = block
        anchors: AnchorsRecord | None = self.read(ANCHORS)
        if anchors is None:
            self.write(ANCHORS, AnchorsRecord(block.time_ms, (self.chain, block.previous)[: block.height]))
        elif block.time_ms - anchors.taken_ms >= ANCHOR_EVERY_MS:
            kept = (*anchors.hashes, block.previous)[-ANCHORS_KEPT:]
            self.write(ANCHORS, AnchorsRecord(block.time_ms, kept))
        self._keep()

    def apply(self, signed: SignedTransaction) -> Result:
        """Judge one transaction, and carry it out if it is good."""
        assert self._block is not None, "begin a block first"
        step = Step(self, self._block, signed.transaction.account)
        try:
            self._admit(step, signed)
            self._handlers[type(signed.transaction.operation)](step, signed.transaction.operation)
        except Refused as no:
            self._writes.clear()
            return Result(no.reason, no.text)
        except BaseException:
            self._writes.clear()
            raise
        self._keep()
        return Result(epoch=step.written)

    def end(self) -> Changes:
        """The changes of the block, in their order of keys."""
        return {
            key: None if record is None else encode(record)
            for key, record in sorted(self._block_writes.items())
        }

    def settle(self) -> None:
        """The changes are kept: they are the state from now on."""
        self._cache.update(self._block_writes)
        self._block_writes.clear()
        self._block = None

    def abandon(self) -> None:
        """Give the block up."""
        self._block_writes.clear()
        self._writes.clear()
        self._block = None

    def forget(self, keys: Iterable[bytes] | None = None) -> None:
        """Give the block up, and what is known of these records (None: of any): only the reader's count.

        Another machine on the same reader has changed them, or what was thought settled is lost after all.
        """
        self.abandon()
        if keys is None:
            self._cache.clear()
        else:
            for key in keys:
                self._cache.pop(key, None)

    def claims(self, signed: SignedTransaction) -> list[tuple[bytes, bytes, bytes]]:
        """Key, message and signature of what `apply` will want to be verified, as far as is foreseen."""
        transaction = signed.transaction
        known: AccountRecord | None = self.read(account_key(transaction.account))
        if known is not None:
            keys = known.keys.keys if known.key_epoch == transaction.key_epoch else ()
        else:
            keys = transaction.operation.keys.keys if isinstance(transaction.operation, OpenAccount) else ()
        found = _claims(keys, signed.message, signed.signatures)
        match transaction.operation:
            case OpenAccount(admission=Admission() as admission) if self.parameters.governors is not None:
                message = admission_message(self.chain, transaction.account, admission.expires_ms)
                found += _claims(self.parameters.governors.keys, message, admission.signatures)
            case PutNetwork(network=network, consent=bytes() as consent):
                found.append((network, consent_message(self.chain, transaction.account, network), consent))
        return found

    def next_epoch(self) -> int:
        """One more than any epoch before."""
        counter: CounterRecord | None = self.read(COUNTER)
        epoch = 1 if counter is None else counter.last + 1
        self.write(COUNTER, CounterRecord(epoch))
        return epoch

    def _admit(self, step: Step, signed: SignedTransaction) -> None:
        """What every operation must pass: chain, time, nonce, keys. Counts the nonce up."""
        transaction, now = signed.transaction, step.block.time_ms
        if transaction.chain != self.chain:
            raise Refused("chain", "it is for another ledger")
        if now > transaction.expires_ms:
            raise Refused("expired", "it was good until an earlier time")
        if transaction.expires_ms - now > self.parameters.transaction_life_ms:
            raise Refused("life", "it promises to be good for too long")
        known: AccountRecord | None = self.read(account_key(transaction.account))
        if known is None:
            if not isinstance(transaction.operation, OpenAccount):
                raise Refused("account", "the account is not open")
            keys, key_epoch, nonce = transaction.operation.keys, 0, 0
        else:
            keys, key_epoch, nonce = known.keys, known.key_epoch, known.nonce
        if transaction.key_epoch != key_epoch:
            raise Refused("key-epoch", f"the account's keys are of epoch {key_epoch}")
        if transaction.nonce != nonce + 1:
            raise Refused("nonce", f"the account's next transaction has the number {nonce + 1}")
        if trouble := keys.trouble(signed.message, signed.signatures, self.verify):
            raise Refused("signature", trouble)
        if known is not None:
            self.write(account_key(transaction.account), replace(known, nonce=nonce + 1))

    def _keep(self) -> None:
        self._block_writes.update(self._writes)
        self._writes.clear()


def _claims(
    keys: Sequence[bytes], message: bytes, signatures: Iterable[Signature]
) -> list[tuple[bytes, bytes, bytes]]:
    return [(keys[each.index], message, each.raw) for each in signatures if each.index < len(keys)]
