"""`python -m bench.ledger`: what an embedded ledger does a second, and how long a lookup takes.

    load       names put into a new ledger, so that the rest is measured on a full one
    submit     operations signed on their own, from many accounts, in unsigned envelopes of a few, by several
               clients at once, for some seconds; a client waits for its envelopes' acknowledgements
    lookup     a record with its proof, from random names
    flood      what one client waits for while another sends wrong signatures without end
    restart    the time until a ledger that was closed answers again

Signing is done before the clock starts; signatures, rules, tree and disk are measured, in one process.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from zosnet.api.ledger_daemon import SWITCH_S
from zosnet.ledger.encoding import encode
from zosnet.ledger.engine.embedded import Embedded, now_ms
from zosnet.ledger.engine.interface import Block
from zosnet.ledger.genesis import Genesis, Parameters
from zosnet.ledger.header import Header, sign_header, transactions_hash
from zosnet.ledger.records import HoldingsRecord, NameRecord, by_length, holdings_key, name_key
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import GatewayBody, PutGateway, RotateKeys, Stamp
from zosnet.ledger.tree import verify
from zosnet.ledger.wallet import Wallet

OPERATOR = Signer(b"bench".ljust(32, b"."))
NAMES_EACH = 50
GENESIS_MS = 1_700_000_000_000


def _signer(number: int, run: bytes) -> Signer:
    return Signer(sha256(b"account %d" % number + run).digest())


def _name(number: int) -> str:
    return f"n{number:07d}"


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Bench:
    """A ledger in a directory of its own."""

    def __init__(self, arguments: argparse.Namespace, directory: Path) -> None:
        self.arguments, self.directory = arguments, directory
        parameters = Parameters(stamp_bits=0, names=NAMES_EACH, objects=60_000)
        self.genesis = Genesis("bench", GENESIS_MS, (OPERATOR.public,), parameters)
        self._run = os.urandom(8)
        self.result: dict[str, Any] = {
            "names": arguments.names, "accounts": arguments.accounts, "envelope": arguments.envelope,
            "clients": arguments.clients, "python": sys.version.split()[0], "cpus": os.cpu_count(),
        }  # fmt: skip

    def timed(self, name: str, work: Callable[[], None]) -> None:
        """Do something and keep how long it took."""
        started = time.perf_counter()
        work()
        self.result[f"{name}_s"] = round(time.perf_counter() - started, 3)
        print(f"{name}: {self.result[f'{name}_s']} s", file=sys.stderr, flush=True)

    def load(self) -> None:
        """Put names in without transactions, which would take hours: blocks of 20,000 records each.

        Their holders are accounts that never sign; records, tree, headers and disk are as real ones.
        """
        if (self.directory / "ledger.sqlite").exists():
            return
        ledger = Embedded(self.directory, OPERATOR, genesis=self.genesis)
        ledger._make_block([])  # its thread doesn't run, and so makes none meanwhile
        expires = now_ms() + self.genesis.parameters.lease_ms
        for start in range(0, self.arguments.names, 20_000):
            records: dict[bytes, bytes | None] = {}
            for first in range(start, min(start + 20_000, self.arguments.names), NAMES_EACH):
                holder = sha256(b"holder %d" % first).digest()
                mine = [
                    _name(number) for number in range(first, min(first + NAMES_EACH, self.arguments.names))
                ]
                for name in mine:
                    records[name_key(name)] = encode(NameRecord(1, holder, expires))
                records[holdings_key(holder)] = encode(HoldingsRecord(tuple(sorted(mine, key=by_length))))
            _keep(ledger, records)
        ledger.close()

    def accounts(self, ledger: Embedded) -> list[Wallet]:
        """Open the accounts that will sign."""
        wallets = [
            Wallet(self.genesis, [_signer(number, self._run)]) for number in range(self.arguments.accounts)
        ]
        now = now_ms()
        raws = [wallet.transaction(wallet.opening(Stamp(wallet.chain, 0)), now).raw for wallet in wallets]
        for start in range(0, len(raws), 5000):
            receipts = ledger.submit(raws[start : start + 5000]).result()
            assert all(receipt.is_done for receipt in receipts), receipts[0]
        for wallet in wallets:
            wallet.done()
        return wallets

    def fresh(self, ledger: Embedded) -> Wallet:
        """One more open account."""
        wallet = Wallet(self.genesis, [_signer(-1, self._run)])
        ledger.submit([wallet.transaction(wallet.opening(Stamp(wallet.chain, 0)), now_ms()).raw]).result()
        wallet.done()
        return wallet

    def envelopes(self, wallets: list[Wallet], seconds: float) -> list[list[list[bytes]]]:
        """Signed operations for each client, enough for the time: every client has accounts of its own."""
        wanted = int(seconds * self.arguments.expected)
        made: list[list[list[bytes]]] = []
        now = now_ms()
        for client in range(self.arguments.clients):
            own = wallets[client :: self.arguments.clients]
            raws: list[bytes] = []
            for number in range(wanted // self.arguments.clients):
                wallet = own[number % len(own)]
                key = _signer(10**6 + number // len(own), b"").public
                operation = PutGateway(key, 0, GatewayBody(("gateway.example:443",)))
                raws.append(wallet.transaction(operation, now, life_ms=3_600_000).raw)
                wallet.done()
            size = self.arguments.envelope
            made.append([raws[at : at + size] for at in range(0, len(raws), size)])
        return made

    def submit(self, ledger: Embedded, envelopes: list[list[list[bytes]]]) -> None:
        """All clients at once, each with so many envelopes under way, for the time."""
        done = [0] * len(envelopes)
        delays: list[float] = []
        ends = time.perf_counter() + self.arguments.seconds
        started, before = time.perf_counter(), time.process_time()
        height = ledger.status().height

        def client(number: int) -> None:
            under_way: list[tuple[float, Any]] = []
            for envelope in envelopes[number]:
                if time.perf_counter() >= ends:
                    break
                under_way.append((time.perf_counter(), ledger.submit(envelope)))
                if len(under_way) >= self.arguments.depth:
                    settle(number, *under_way.pop(0))
            for each in under_way:
                settle(number, *each)

        def settle(number: int, sent: float, future: Any) -> None:
            receipts = future.result()
            assert all(receipt.is_done for receipt in receipts), receipts[0]
            delays.append(time.perf_counter() - sent)
            done[number] += len(receipts)

        threads = [threading.Thread(target=client, args=[number]) for number in range(len(envelopes))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = time.perf_counter() - started
        self.result |= {
            "operations": sum(done), "seconds": round(taken, 2),
            "operations_a_second": round(sum(done) / taken),
            "cpu_us_an_operation": round((time.process_time() - before) / sum(done) * 1e6),
            "envelope_p50_ms": round(percentile(delays, 0.5) * 1000, 1),
            "envelope_p95_ms": round(percentile(delays, 0.95) * 1000, 1),
            "blocks": ledger.status().height - height,
        }  # fmt: skip

    def flood(self, ledger: Embedded, wallet: Wallet) -> None:
        """What one client waits for, alone, and beside another that sends wrong signatures all the time."""
        self.result["alone_p50_ms"], self.result["alone_p95_ms"] = self._waits(ledger, wallet, 0)
        good = wallet.transaction(RotateKeys(wallet.keys), now_ms()).raw
        wrong = [good[:-1] + bytes([good[-1] ^ 1 + number % 250]) for number in range(500)]
        is_over = threading.Event()

        def send() -> None:
            while not is_over.is_set():
                ledger.submit(wrong).result()

        thread = threading.Thread(target=send)
        thread.start()
        try:
            self.result["flooded_p50_ms"], self.result["flooded_p95_ms"] = self._waits(ledger, wallet, 200)
        finally:
            is_over.set()
            thread.join()

    def _waits(self, ledger: Embedded, wallet: Wallet, first: int) -> tuple[float, float]:
        taken = []
        for number in range(first, first + 200):
            operation = PutGateway(_signer(number, b"flood").public, 0, GatewayBody(()))
            raw = wallet.transaction(operation, now_ms()).raw
            started = time.perf_counter()
            (receipt,) = ledger.submit([raw]).result()
            taken.append(time.perf_counter() - started)
            assert receipt.is_done, receipt
            wallet.done()
        return round(percentile(taken, 0.5) * 1000, 1), round(percentile(taken, 0.95) * 1000, 1)

    def lookup(self, ledger: Embedded) -> None:
        """Names with proofs, at random."""
        draw, taken, sizes = random.Random(1), [], []
        for _ in range(2000):
            key = name_key(_name(draw.randrange(max(1, self.arguments.names))))
            started = time.perf_counter()
            answer = ledger.query([key])
            taken.append(time.perf_counter() - started)
            (item,) = answer.items
            assert verify(answer.header.header.root, key, item.value, item.proof)
            sizes.append(len(encode(item.proof)))
        self.result |= {
            "lookup_p50_ms": round(percentile(taken, 0.5) * 1000, 3),
            "lookup_p95_ms": round(percentile(taken, 0.95) * 1000, 3),
            "proof_bytes": round(sum(sizes) / len(sizes)),
        }  # fmt: skip


def _keep(ledger: Embedded, records: dict[bytes, bytes | None]) -> None:
    """A block of records that no transaction made."""
    newest = ledger._newest
    assert newest is not None
    root, pages = ledger._tree.update(records)
    before = newest.header
    header = Header(
        1,
        before.chain,
        before.height + 1,
        max(now_ms(), before.time_ms + 1),
        before.hash,
        transactions_hash(()),
        root,
    )
    block = Block(sign_header(header, OPERATOR), ())
    ledger._database.keep(block, [], records, pages)
    ledger._tree.settle()
    ledger._newest = block.header


def main() -> int:
    """Run, and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__.splitlines()[0])
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--depth", type=int, default=4, help="envelopes that each client has under way")
    parser.add_argument("--envelope", type=int, default=50)
    parser.add_argument(
        "--expected", type=int, default=4000, help="operations a second that are signed ahead"
    )
    parser.add_argument("--directory", type=Path, help="where the ledger is; kept, and its names reused")
    parser.add_argument("--profile", action="store_true", help="say where the time goes, to standard error")
    arguments = parser.parse_args()
    sys.setswitchinterval(SWITCH_S)
    if arguments.depth * arguments.envelope * arguments.clients > arguments.accounts:
        # Envelopes take turns, so two of one account's must not be under way at once.
        parser.error("--depth x --envelope x --clients may not be more than --accounts")
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="zosnet-bench-"))
    try:
        print(json.dumps(_run(Bench(arguments, directory), arguments)))
    finally:
        if arguments.directory is None:
            shutil.rmtree(directory)
    return 0


def _run(bench: Bench, arguments: argparse.Namespace) -> dict[str, Any]:
    bench.timed("load", bench.load)
    opened: list[Embedded] = []
    bench.timed("restart", lambda: opened.append(Embedded(bench.directory, OPERATOR).start()))
    ledger = opened[0]
    try:
        wallets = bench.accounts(ledger)
        envelopes = bench.envelopes(wallets, arguments.seconds)
        work = functools.partial(bench.submit, ledger, envelopes)
        bench.timed("submit", functools.partial(_profiled, ledger, work) if arguments.profile else work)
        envelopes.clear()
        bench.lookup(ledger)
        bench.flood(ledger, bench.fresh(ledger))
        bench.result["signatures_checked"] = ledger.verifier.checked
        bench.result["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    finally:
        ledger.close()
    bench.result["disk_mb"] = round(sum(each.stat().st_size for each in bench.directory.iterdir()) / 1e6)
    return bench.result


def _profiled(ledger: Embedded, work: Callable[[], None]) -> None:
    """Do the work, and say what the thread that makes blocks did meanwhile."""
    import cProfile
    import pstats

    profile, make_block = cProfile.Profile(), ledger._make_block

    def profiled(*arguments: Any, **named: Any) -> bool:
        return profile.runcall(make_block, *arguments, **named)

    ledger._make_block = profiled  # type: ignore[method-assign]
    work()
    pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    sys.exit(main())
