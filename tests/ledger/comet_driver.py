"""CometBFT's part before an application of a test: proposals, votes, blocks."""

from __future__ import annotations

from pathlib import Path

from tests.ledger.chain import START, genesis_of

from zosnet.ledger.comet import abci
from zosnet.ledger.comet.envelope import pack
from zosnet.ledger.comet.signed import chain_name
from zosnet.ledger.engine.cometbft.application import Application, Done
from zosnet.ledger.engine.database import Database
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import ClaimDomain, Operation, SignedTransaction, Stamp
from zosnet.ledger.wallet import Wallet


class Driver:
    """CometBFT's part, in order: proposals, votes, blocks."""

    def __init__(self, directory: Path, genesis: Genesis | None = None) -> None:
        self.genesis = genesis or genesis_of()
        self.directory = directory
        self.now = START
        self.done: list[Done] = []
        self.refused: list[tuple[bytes, str]] = []
        self.open()

    def open(self) -> Application:
        self.database = Database(self.directory / "ledger.sqlite")
        self.application = Application(
            self.genesis,
            self.database,
            chain_name=chain_name(self.genesis),
            clock=lambda: self.now,
            on_done=self.done.append,
            on_refused=lambda signed, result: self.refused.append((signed.copy, result.reason)),
        )
        return self.application

    @property
    def time(self) -> abci.Time:
        return abci.Time(self.now // 1000, self.now % 1000 * 1_000_000)

    @property
    def height(self) -> int:
        return self.application.kept.height + 1

    def check(self, *signed: SignedTransaction, kind: int = 0, awaited: bool = False) -> abci.CheckedTx:
        envelope = pack((each.raw for each in signed), awaited=awaited)
        return self.application.mempool.check(abci.CheckTx(envelope, kind))

    def prepare(self, *envelopes: bytes, room: int = 1 << 20) -> tuple[bytes, ...]:
        request = abci.PrepareProposal(room, envelopes, self.height, self.time)
        return self.application.prepare(request).txs

    def is_accepted(self, *txs: bytes) -> bool:
        request = abci.ProcessProposal(txs, b"h" * 32, self.height, self.time)
        return self.application.process(request).status == abci.ACCEPT

    def finalize(self, *txs: bytes, name: bytes = b"h" * 32) -> abci.FinalizedBlock:
        return self.application.finalize(abci.FinalizeBlock(txs, (), name, self.height, self.time))

    def block(self, *txs: bytes) -> bytes:
        """One more block; its root."""
        root = self.finalize(*txs).app_hash
        self.application.commit()
        self.now += 1000
        return root

    def wallet(self, number: int) -> Wallet:
        wallet = Wallet(self.genesis, [Signer(bytes([number]) * 32)])
        self.block(self.sign(wallet, wallet.opening(Stamp(wallet.chain, 0))).raw)
        wallet.done()
        return wallet

    def sign(self, wallet: Wallet, operation: Operation) -> SignedTransaction:
        return wallet.transaction(operation, self.now)

    def claims(self, wallet: Wallet, count: int) -> list[SignedTransaction]:
        """Signed in a row, none of them carried out yet."""
        found = []
        for number in range(count):
            found.append(self.sign(wallet, ClaimDomain(f"d{wallet.nonce}x{number}.example")))
            wallet.done()
        return found
