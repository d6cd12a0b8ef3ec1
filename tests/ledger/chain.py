"""A ledger in memory for tests: a machine over a dictionary, blocks on demand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from zosnet.ledger.genesis import Genesis, Parameters
from zosnet.ledger.rules import RULES
from zosnet.ledger.rules.step import Rules
from zosnet.ledger.signature import Signer, Verifier
from zosnet.ledger.state import Block, Machine, Result
from zosnet.ledger.transaction import Operation, SignedTransaction, commitment
from zosnet.ledger.wallet import Wallet, work

START = 1_700_000_000_000
OPERATOR = Signer(b"\x01" * 32)
EASY = Parameters(stamp_bits=0)


def genesis_of(parameters: Parameters = EASY, **changes: Any) -> Genesis:
    return Genesis("test", START, (OPERATOR.public,), replace(parameters, **changes))


class TrustAll(Verifier):
    """For tests of rules alone, where a hundred thousand signatures would only take time."""

    def __call__(self, key: bytes, message: bytes, signature: bytes) -> bool:
        return True


class Chain:
    """Blocks in a row. `records` is what an engine would keep."""

    def __init__(
        self, genesis: Genesis | None = None, verify: Verifier | None = None, rules: dict[int, Rules] = RULES
    ) -> None:
        self.genesis = genesis or genesis_of()
        self.records: dict[bytes, bytes] = {}
        self.machine = Machine(self.genesis, self, verify, rules=rules, cache=500)
        self.height = 0
        self.now = START

    def get(self, key: bytes) -> bytes | None:
        return self.records.get(key)

    def block(self, transactions: Iterable[SignedTransaction] = (), *, after_ms: int = 1000) -> list[Result]:
        """One more block."""
        self.begin(after_ms)
        results = [self.machine.apply(each) for each in transactions]
        self.end()
        return results

    def begin(self, after_ms: int) -> None:
        self.height += 1
        self.now += after_ms
        self.machine.begin(Block(self.height, self.now, self.height.to_bytes(32)))

    def end(self) -> dict[bytes, bytes | None]:
        changes = self.machine.end()
        self.machine.settle()
        for key, value in changes.items():
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value
        return changes

    def wallet(self, number: int, threshold: int = 1, keys: int = 1) -> Wallet:
        """An open account."""
        made = Wallet(self.genesis, [Signer(bytes([number, each]) * 16) for each in range(keys)], threshold)
        self.ok(made, made.opening(self.stamp(made)))
        return made

    def stamp(self, wallet: Wallet) -> Any:
        bits = self.genesis.parameters.stamp_bits
        return work(self.genesis.chain, wallet.account, self.genesis.chain, bits)

    def do(self, wallet: Wallet, operation: Operation, *, after_ms: int = 1000) -> Result:
        """One transaction in a block of its own."""
        (result,) = self.block([wallet.transaction(operation, self.now + after_ms)], after_ms=after_ms)
        if result.is_done:
            wallet.done()
        return result

    def ok(self, wallet: Wallet, operation: Operation, *, after_ms: int = 1000) -> int:
        """The same, and it must be done; its epoch."""
        result = self.do(wallet, operation, after_ms=after_ms)
        assert result.is_done, result
        return result.epoch

    def no(self, wallet: Wallet, operation: Operation, *, after_ms: int = 1000) -> str:
        """The same, and it must be refused and change nothing; why."""
        before = dict(self.records)
        result = self.do(wallet, operation, after_ms=after_ms)
        assert not result.is_done and result.text
        ours = {key: value for key, value in self.records.items() if key[0] > 1}
        assert ours == {key: value for key, value in before.items() if key[0] > 1}
        return result.reason

    def reserve(self, wallet: Wallet, name: str) -> int:
        """Commit and reveal; the name's epoch."""
        from zosnet.ledger.transaction import CommitName, RevealName

        salt = name.encode().ljust(32, b"-")[:32]
        self.ok(wallet, CommitName(commitment(wallet.chain, wallet.account, name, salt)))
        return self.ok(wallet, RevealName(name, salt))
