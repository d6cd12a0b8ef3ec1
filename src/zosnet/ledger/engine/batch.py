"""Signatures judged many at a time, in Rust and without the interpreter, so that other threads go on."""

from __future__ import annotations

from collections.abc import Iterable

from zosnet._core import verify_signatures
from zosnet.ledger.signature import Verifier

__all__ = ["BatchVerifier", "Claim"]

#: They are asked for at once, or after what comes before them in their account's order. A guess.
MOST_REMEMBERED = 10_000
#: Wrong signatures that are remembered, so that a flood of them stays small in memory. A guess.
MOST_BAD = 10_000

Claim = tuple[bytes, bytes, bytes]
"""A key, a message, and what is said to be the key's signature of it."""


class BatchVerifier(Verifier):
    """A verifier that may be told beforehand what it will be asked. The rule is that of `Verifier`."""

    def __init__(self, limit: int = MOST_REMEMBERED) -> None:
        super().__init__(limit)
        self._bad: set[bytes] = set()

    def prepare(self, claims: Iterable[Claim]) -> None:
        """Judge these now, all at once. What is wrong is remembered for a while."""
        new = self.unknown(claims)
        self.learn(new, verify_signatures(list(new.values())))

    def unknown(self, claims: Iterable[Claim]) -> dict[bytes, Claim]:
        """Those of them that were never judged, by what `learn` knows them by."""
        wanted = {self.mark(*claim): claim for claim in claims}
        return {
            mark: claim for mark, claim in wanted.items() if mark not in self._good and mark not in self._bad
        }

    def learn(self, judged: Iterable[bytes], verdicts: Iterable[bool]) -> None:
        """What `verify_signatures`, which needs no lock, has said of what was `unknown`."""
        for mark, is_good in zip(judged, verdicts, strict=True):
            self.checked += 1
            if is_good:
                self._remember(mark)
            else:
                if len(self._bad) >= MOST_BAD:
                    self._bad.clear()
                self._bad.add(mark)

    def __call__(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """As `verify`."""
        return self.mark(key, message, signature) not in self._bad and super().__call__(
            key, message, signature
        )
