"""A ledger that kills itself: `crash_child DIRECTORY POINT COUNT`, at the COUNT-th time that POINT is passed.

Each transaction that was acknowledged is told on standard output first.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.ledger.chain import OPERATOR, genesis_of

from zosnet.ledger.engine.embedded import Embedded, now_ms
from zosnet.ledger.engine.store import Limits
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import ClaimDomain, Stamp
from zosnet.ledger.wallet import Wallet


def main(directory: Path, point: str, count: int) -> None:
    passed = 0

    def hook(here: str) -> None:
        nonlocal passed
        passed += here == point
        if passed == count:
            os.kill(os.getpid(), signal.SIGKILL)

    ledger = Embedded(
        directory, OPERATOR, genesis=genesis_of(), hook=hook, limits=Limits(rows=40, blocks=7)
    ).start()
    for number in range(1, 60):
        wallet = Wallet(ledger.genesis, [Signer(bytes([number]) * 32)])
        opening = wallet.transaction(wallet.opening(Stamp(wallet.chain, 0)), now_ms())
        wallet.done()
        claim = wallet.transaction(ClaimDomain("shop.example"), now_ms())
        for receipt in ledger.submit([opening.raw, claim.raw]).result(timeout=60):
            print(receipt.id.hex(), receipt.reason, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
