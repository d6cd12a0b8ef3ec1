"""An account's desk: signs, submits, and checks that what was wanted is there."""

from __future__ import annotations

import time
from collections.abc import Callable

from zosnet.ledger.client.follower import Follower
from zosnet.ledger.encoding import digest
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.records import ANCHORS, AccountRecord, AnchorsRecord, NameRecord, account_key, name_key
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import (
    AcceptName,
    CommitName,
    Operation,
    ReleaseName,
    RenewName,
    RevealName,
    TransferName,
    commitment,
)
from zosnet.ledger.wallet import Wallet, work
from zosnet.model.errors import ZosnetError

__all__ = ["Desk", "NotDone"]

Tell = Callable[[str, int], None]
"""Hears of progress: what is under way, and how far it is."""


class NotDone(ZosnetError):
    """The ledger's rules say no. `reason` is their constant word."""

    def __init__(self, reason: str, text: str, *, remedy: str = "") -> None:
        super().__init__(text, remedy=remedy)
        self.reason = reason


class Desk:
    """One account with a single key, by way of a follower that checks what the ledger says."""

    def __init__(
        self,
        follower: Follower,
        secret: bytes,
        *,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        tell: Tell = lambda _, __: None,
    ) -> None:
        self.follower = follower
        self._secret = secret
        self._clock = clock
        self._tell = tell
        self.wallet = Wallet(follower.genesis, [Signer.derive(secret, "account v1")])

    @property
    def account(self) -> bytes:
        """Who signs here."""
        return self.wallet.account

    def name(self, name: str) -> NameRecord | None:
        """A name's record while it is served, as of now, verified."""
        record: NameRecord | None = self.follower.ask([name_key(name)])[name_key(name)]
        if record is None or not record.is_served(self._clock(), self.follower.genesis.parameters):
            return None
        return record

    def do(self, operation: Operation) -> Receipt:
        """Carry out one operation. Raises NotDone where the rules refuse it."""
        self._prepare()
        return self._submit(operation)

    def reserve(self, name: str) -> Receipt:
        """Commit, wait for its block, reveal."""
        salt = digest("salt v1", self._secret + self.wallet.chain + name.encode("ascii"))
        hidden = CommitName(commitment(self.wallet.chain, self.account, name, salt))
        self._prepare()
        self._tell("commit", 0)
        try:
            self._submit(hidden)
        except NotDone as no:
            if no.reason != "same":  # one that an earlier try left: it will do
                raise
        self._tell("reveal", 0)
        return self._submit(RevealName(name, salt))

    def renew(self, name: str) -> Receipt:
        """A whole lease from now on."""
        return self.do(RenewName(name, self._epoch(name)))

    def offer(self, name: str, to: bytes | None) -> Receipt:
        """Offer the name to an account, or take the offer back."""
        return self.do(TransferName(name, self._epoch(name), to))

    def accept(self, name: str) -> Receipt:
        """Take a name that was offered."""
        return self.do(AcceptName(name, self._epoch(name)))

    def release(self, name: str) -> Receipt:
        """Give the name up."""
        return self.do(ReleaseName(name, self._epoch(name)))

    def _epoch(self, name: str) -> int:
        record = self.name(name)
        return 0 if record is None else record.epoch

    def _prepare(self) -> None:
        """Learn the account's place in its order; open it where it isn't open yet."""
        key = account_key(self.account)
        known: AccountRecord | None = self.follower.ask([key])[key]
        if known is None:
            self._open()
            return
        self.wallet.nonce, self.wallet.key_epoch = known.nonce, known.key_epoch

    def _open(self) -> None:
        anchors: AnchorsRecord = self.follower.ask([ANCHORS])[ANCHORS]
        bits = self.follower.genesis.parameters.stamp_bits
        stamp = work(
            self.wallet.chain, self.account, anchors.hashes[-1], bits, lambda tries: self._tell("work", tries)
        )
        self._submit(self.wallet.opening(stamp))

    def _submit(self, operation: Operation) -> Receipt:
        (receipt,) = self.follower.transport.submit([self.wallet.transaction(operation, self._clock()).raw])
        if not receipt.is_done:
            raise NotDone(receipt.reason, receipt.text)
        self.wallet.done()
        return receipt
