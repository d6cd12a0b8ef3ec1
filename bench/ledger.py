"""`python -m bench.ledger`: what an embedded ledger does a second, how long lookups take, what floods do.

    load       names put into a new ledger, so that the rest is measured on a full one
    restart    the time from the start of the ledger's process to its first answer
    submit     operations signed on their own, from many accounts, in unsigned envelopes of a few, by several
               clients at once, for some seconds; a client waits for its envelopes' acknowledgements
    flood      what one client waits for, alone and beside floods: of wrong signatures, of one account's
               operations, of a thousand accounts'
    memory     the most that the ledger's process has had
    lookup     a record with its proof, from random names, in the process

The ledger is a process of its own, with its API on a unix socket; its clients are this one. Signing is done
before the clock starts.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.ledger_flood import Shared, flooding
from zosnet.api.ledger_daemon import serve
from zosnet.ledger.client.transport import HttpTransport
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


def _at_once(works: list[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(works)) as pool:
        for each in [pool.submit(work) for work in works]:
            each.result()


def operations(wallets: list[Wallet], number: int, what: bytes) -> list[bytes]:
    """So many operations of these accounts, in turn."""
    raws = []
    for each in range(number):
        wallet = wallets[each % len(wallets)]
        operation = PutGateway(_signer(each, what).public, 0, GatewayBody(()))
        raws.append(wallet.transaction(operation, now_ms(), life_ms=3_000_000).raw)
        wallet.done()
    return raws


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
        ledger._make_block(allow_empty=True)  # its thread doesn't run, and so makes none meanwhile
        ledger._land()
        ledger.close()
        ledger = Embedded(self.directory, OPERATOR)  # what the block changed is flushed
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

    def accounts(self, way: HttpTransport) -> list[Wallet]:
        """Open the accounts that will sign."""
        wallets = [
            Wallet(self.genesis, [_signer(number, self._run)])
            for number in range(self.arguments.accounts + 2)
        ]
        now = now_ms()
        raws = [wallet.transaction(wallet.opening(Stamp(wallet.chain, 0)), now).raw for wallet in wallets]
        for start in range(0, len(raws), 5000):
            receipts = way.submit(raws[start : start + 5000])
            assert all(receipt.is_done for receipt in receipts), receipts[0]
        for wallet in wallets:
            wallet.done()
        return wallets

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
                raws.append(wallet.transaction(operation, now, life_ms=3_000_000).raw)
                wallet.done()
            size = self.arguments.envelope
            made.append([raws[at : at + size] for at in range(0, len(raws), size)])
        return made

    def submit(self, way: HttpTransport, envelopes: list[list[list[bytes]]]) -> None:
        """All clients at once, each with so many envelopes under way, for the time."""
        delays: list[float] = []
        done: list[int] = []
        started, height = time.perf_counter(), way.status()["height"]
        ends = started + self.arguments.seconds

        def client(mine: Shared[list[bytes]]) -> None:
            for envelope in mine:
                sent = time.perf_counter()
                if sent >= ends:
                    return
                receipts = way.submit(envelope)
                assert all(receipt.is_done for receipt in receipts), receipts[0]
                delays.append(time.perf_counter() - sent)
                done.append(len(receipts))

        # Envelopes of one client are in turn, so those under way at once are of different accounts.
        lines = [Shared(mine) for mine in envelopes]
        _at_once([functools.partial(client, line) for line in lines for _ in range(self.arguments.depth)])
        taken = time.perf_counter() - started
        self.result |= {
            "operations": sum(done), "seconds": round(taken, 2),
            "operations_a_second": round(sum(done) / taken),
            "envelope_p50_ms": round(percentile(delays, 0.5) * 1000, 1),
            "envelope_p95_ms": round(percentile(delays, 0.95) * 1000, 1),
            "blocks": way.status()["height"] - height,
        }  # fmt: skip

    def floods(self, way: HttpTransport, wallets: list[Wallet]) -> None:
        """What one client waits for beside others that send without end, and alone, before that and after."""
        mine, other, *many = wallets
        good = other.transaction(RotateKeys(other.keys), now_ms()).raw
        floods: dict[str, list[list[bytes]] | bytes] = {
            "wrong_signatures": good,
            "one_account": [operations([other], 1000, b"%d" % number) for number in range(10)],
            "thousand_accounts": [operations(many, 1000, b"many%d" % number) for number in range(10)],
        }
        keys = (_signer(number, b"flood").public for number in itertools.count())
        always: list[float] = []
        for name, envelopes in floods.items():
            alone = self._waits(way, mine, keys, 100)
            with flooding(self.directory / "socket", envelopes) as process:
                beside = self._waits(way, mine, keys, 200)
                self.result[f"{name}_lasted"] = process.is_alive()
            alone += self._waits(way, mine, keys, 100)
            always += alone
            for share, what in ((0.5, "p50"), (0.95, "p95")):
                found, usual = percentile(beside, share), percentile(alone, share)
                self.result[f"{name}_{what}_ms"] = round(found * 1000, 1)
                self.result[f"{name}_{what}_ratio"] = round(found / usual, 2)
        for share, what in ((0.5, "p50"), (0.95, "p95")):
            self.result[f"alone_{what}_ms"] = round(percentile(always, share) * 1000, 1)

    def _waits(self, way: HttpTransport, wallet: Wallet, keys: Iterator[bytes], times: int) -> list[float]:
        taken = []
        for _ in range(times):
            raw = wallet.transaction(PutGateway(next(keys), 0, GatewayBody(())), now_ms()).raw
            started = time.perf_counter()
            (receipt,) = way.submit([raw])
            taken.append(time.perf_counter() - started)
            assert receipt.is_done, receipt
            wallet.done()
        return taken

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
    newest = ledger._keeper.newest
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
    ledger._store.journal.append(block)
    ledger._store.database.put_state(header.height, block.header.raw, records, pages)
    ledger._tree.settle()
    ledger._keeper.newest = ledger._tip = block.header


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
    way = HttpTransport(str(bench.directory / "socket"), timeout_s=120)
    server = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(bench.directory, arguments.profile), daemon=True
    )

    def start() -> None:
        server.start()
        while not way.is_running():
            assert server.is_alive()
            time.sleep(0.01)

    bench.timed("restart", start)
    try:
        wallets = bench.accounts(way)
        envelopes = bench.envelopes(wallets[2:], arguments.seconds)
        bench.timed("submit", functools.partial(bench.submit, way, envelopes))
        envelopes.clear()
        bench.floods(way, wallets)
        status = Path(f"/proc/{server.pid}/status").read_text().splitlines()
        (peak,) = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
        bench.result["memory_mb"] = round(peak / 1024)
    finally:
        server.terminate()
        server.join()
    ledger = Embedded(bench.directory, OPERATOR).start()
    try:
        bench.lookup(ledger)
    finally:
        ledger.close()
    bench.result["disk_mb"] = round(sum(each.stat().st_size for each in bench.directory.iterdir()) / 1e6)
    return bench.result


def _serve(directory: Path, is_profiled: bool) -> None:
    """The ledger's process, as `zosnet ledger dev` has it."""
    ledger = Embedded(directory, OPERATOR).start()
    work = functools.partial(asyncio.run, serve(ledger, directory / "socket"))
    try:
        _profiled(ledger, work) if is_profiled else work()
    finally:
        ledger.close()


def _profiled(ledger: Embedded, work: Callable[[], None]) -> None:
    """Do the work, and say what the thread that judges did meanwhile."""
    import cProfile
    import pstats

    profile, make_block = cProfile.Profile(), ledger._make_block

    def profiled(**named: Any) -> bool:
        return profile.runcall(make_block, **named)

    ledger._make_block = profiled  # type: ignore[method-assign]
    work()
    pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    sys.exit(main())
