"""An account from the owner's side: its keys, its place in the order of its transactions, what it signs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from zosnet.ledger.fields import KeySet, Signature, account_of
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import (
    Admission,
    OpenAccount,
    Operation,
    SignedTransaction,
    Stamp,
    Transaction,
    admission_message,
    consent_message,
    sign,
    stamp_value,
)

__all__ = ["Wallet", "admit", "consent", "key_set", "work"]


def key_set(signers: list[Signer], threshold: int) -> tuple[KeySet, dict[int, Signer]]:
    """The set of these keys, and who signs in which place of it: the first `threshold`."""
    ordered = sorted(signers, key=lambda each: each.public)
    keys = KeySet(threshold, tuple(each.public for each in ordered))
    return keys, dict(list(enumerate(ordered))[:threshold])


class Wallet:
    """Signs for one account. Knows its nonce and key epoch as long as nobody else signs for it."""

    def __init__(self, genesis: Genesis, signers: list[Signer], threshold: int = 1) -> None:
        self.genesis = genesis
        self.chain = genesis.chain
        self.keys, self._signers = key_set(signers, threshold)
        self.account = account_of(self.keys)
        self.key_epoch = 0
        self.nonce = 0

    def transaction(self, operation: Operation, now_ms: int, *, life_ms: int = 120_000) -> SignedTransaction:
        """The account's next transaction. Call `done` when it was carried out."""
        life_ms = min(life_ms, self.genesis.parameters.transaction_life_ms)
        return sign(
            Transaction(
                1, self.chain, self.account, self.key_epoch, self.nonce + 1, now_ms + life_ms, operation
            ),
            self._signers,
        )

    def done(self) -> None:
        """The last transaction was carried out."""
        self.nonce += 1

    def opening(self, admission: Stamp | Admission) -> OpenAccount:
        """What opens this account."""
        return OpenAccount(self.keys, admission)

    def rotated(self, signers: list[Signer], threshold: int) -> None:
        """The account has these keys from now on."""
        self.keys, self._signers = key_set(signers, threshold)
        self.key_epoch += 1


def work(
    chain: bytes, account: bytes, anchor: bytes, bits: int, tell: Callable[[int], None] = lambda _: None
) -> Stamp:
    """Search a stamp, 2^bits tries on average; `tell` hears how many were made."""
    for counter in _counters(tell):
        stamp = Stamp(anchor, counter)
        if not stamp_value(chain, account, stamp) >> (256 - bits):
            return stamp
    raise AssertionError("never")


def _counters(tell: Callable[[int], None]) -> Iterator[int]:
    counter = 0
    while True:
        yield counter
        counter += 1
        if counter % 16_384 == 0:
            tell(counter)


def admit(chain: bytes, account: bytes, expires_ms: int, signers: dict[int, Signer]) -> Admission:
    """The governors' word for an account."""
    message = admission_message(chain, account, expires_ms)
    signatures = tuple(Signature(index, signers[index].sign(message)) for index in sorted(signers))
    return Admission(expires_ms, signatures)


def consent(chain: bytes, account: bytes, network: Signer) -> bytes:
    """A network key's word that an account may register it."""
    return network.sign(consent_message(chain, account, network.public))
