"""An embedded ledger in a directory of a test, with a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ledger.chain import OPERATOR, START, genesis_of

from zosnet.ledger.engine.embedded import Embedded
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.engine.store import LIMITS, Limits
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import ClaimDomain, Stamp
from zosnet.ledger.wallet import Wallet

#: A flush every few blocks.
SMALL = Limits(rows=40, blocks=7)


class Clock:
    """A clock that goes on by a millisecond each time it is read, and where it is told to."""

    def __init__(self) -> None:
        self.now = START + 1000

    def __call__(self) -> int:
        self.now += 1
        return self.now


@contextmanager
def running(
    directory: Path,
    clock: Callable[[], int] | None = None,
    idle_s: float = 60.0,
    steady: Callable[[], int] = lambda: 0,
    hook: Callable[[str], None] = lambda _: None,
    *,
    limits: Limits = LIMITS,
) -> Iterator[Embedded]:
    ledger = Embedded(
        directory,
        OPERATOR,
        genesis=genesis_of(),
        clock=clock or Clock(),
        steady=steady,
        idle_s=idle_s,
        hook=hook,
        limits=limits,
    ).start()
    try:
        yield ledger
    finally:
        ledger.close()


def send(ledger: Embedded, *raws: bytes) -> list[Receipt]:
    return ledger.submit(list(raws)).result(timeout=30)


def opened(ledger: Embedded, number: int, now: int) -> Wallet:
    wallet = Wallet(ledger.genesis, [Signer(bytes([number]) * 32)])
    (receipt,) = send(ledger, wallet.transaction(wallet.opening(Stamp(wallet.chain, 0)), now).raw)
    assert receipt.is_done, receipt
    wallet.done()
    return wallet


def claim(ledger: Embedded, wallet: Wallet, domain: str, now: int) -> Receipt:
    (receipt,) = send(ledger, wallet.transaction(ClaimDomain(domain), now).raw)
    if receipt.is_done:
        wallet.done()
    return receipt


def blocks_of(ledger: Embedded) -> list[tuple[SignedHeader, tuple[bytes, ...]]]:
    found = [ledger.block(height) for height in range(1, ledger.status().height + 1)]
    return [(block.header, block.transactions) for block in found if block]
