"""Floods of a validator, and what others wait for beside them: at the same validator, and at another one.

A flood is two clients that submit large envelopes, each as soon as it has the receipts of the one before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from bench.ledger import operations, percentile
from bench.ledger_flood import AT_ONCE, Shared, wrong_signatures
from zosnet.ledger.client.transport import HttpTransport
from zosnet.ledger.engine.embedded import now_ms
from zosnet.ledger.transaction import RotateKeys
from zosnet.ledger.wallet import Wallet
from zosnet.model.errors import ZosnetError

__all__ = ["beside_floods"]

SIZE = 1000  #: of an envelope of good transactions


def beside_floods(
    ways: list[HttpTransport], wallets: list[Wallet], singles: int, envelopes: int
) -> dict[str, Any]:
    """What somebody waits for at the first and at the second of these, alone and while the first is flooded.

    Milliseconds, and the share of what it is alone. `envelopes` are made beforehand of each kind; where
    a flood was over too soon its `lasted` is false. `wallets` have open accounts; they are used up.
    """
    mine, other, *many = wallets
    found: dict[str, Any] = {}
    alone = _waits(ways[:2], mine, singles)
    _put(found, "alone", alone, None)
    good = other.transaction(RotateKeys(other.keys), now_ms(), life_ms=3_000_000).raw
    floods = {
        "wrong_signatures": wrong_signatures(good),
        "one_account": iter([operations([other], SIZE, b"%d" % number) for number in range(envelopes)]),
        "thousand_accounts": iter(
            [operations(many, SIZE, b"many%d" % number) for number in range(envelopes)]
        ),
    }
    for name, line in floods.items():
        counts = [0]
        started = time.perf_counter()
        with _flood(ways[0], line, counts) as is_on:
            beside = _waits(ways[:2], mine, singles)
            found[f"{name}_lasted"] = is_on()
            found[f"{name}_a_second"] = round(counts[0] / (time.perf_counter() - started))
        _put(found, name, beside, alone)
    return found


class _flood:
    """A context in which it floods. Its value says whether it does still."""

    def __init__(self, way: HttpTransport, envelopes: Iterator[list[bytes]], answered: list[int]) -> None:
        self._way, self._line, self._answered = way, Shared(envelopes), answered
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(AT_ONCE)]

    def __enter__(self) -> Any:
        for thread in self._threads:
            thread.start()
        return lambda: all(thread.is_alive() for thread in self._threads)

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        for envelope in self._line:
            try:
                receipts = self._way.submit(envelope)
            except ZosnetError:
                continue  # given up after too long: those of a flood may be
            self._answered[0] += len(receipts)
            if self._is_over.is_set():
                return


def _waits(ways: list[HttpTransport], wallet: Wallet, count: int) -> list[list[float]]:
    """How long each of `count` transactions at each of these took, in seconds."""
    taken: list[list[float]] = [[] for _ in ways]
    for number in range(count * len(ways)):
        raw = operations([wallet], 1, b"waits %d" % wallet.nonce)[0]
        started = time.perf_counter()
        (receipt,) = ways[number % len(ways)].submit([raw])
        taken[number % len(ways)].append(time.perf_counter() - started)
        assert receipt.is_done, receipt
    return taken


def _put(found: dict[str, Any], name: str, taken: list[list[float]], alone: list[list[float]] | None) -> None:
    for place, where in enumerate(("", "_elsewhere")):
        for share, what in ((0.5, "p50"), (0.95, "p95")):
            value = percentile(taken[place], share)
            found[f"{name}{where}_{what}_ms"] = round(value * 1000, 1)
            if alone is not None:
                found[f"{name}{where}_{what}_ratio"] = round(value / percentile(alone[place], share), 2)
