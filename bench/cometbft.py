"""`python -m bench.cometbft`: what four validators on one machine do, and how long a transaction takes.

    load       names put into every validator's state before the first block
    single     transactions one after the other, from submission to the receipt that says it is final
    reserve    a whole reservation: commit, reveal
    proof      from submission to a proof that has been checked
    submit     operations signed on their own, from many accounts, in unsigned envelopes, by a client at each
               validator, for some seconds; a client waits for its envelopes' receipts
    lookup     a record with its proof, over the socket
    flood      what somebody waits for, alone and while his validator or another one is flooded: with wrong
               signatures, with one account's operations, with a thousand accounts'
    memory     what a node and its application have in memory after it
    idle       what four nodes and their applications use when nothing happens
    restart    the time until a validator that was stopped has caught up

Signing is done before the clock starts. Everything shares this machine's cores, the clients too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.floods import beside_floods
from bench.ledger import NAMES_EACH, percentile
from bench.ledger_flood import Shared
from zosnet._core import fold_page
from zosnet.api.ledger_daemon import SWITCH_S
from zosnet.cli.ledger_operators import membership_file, signers_of
from zosnet.ledger.client.desk import Desk
from zosnet.ledger.client.follower import Follower
from zosnet.ledger.client.transport import HttpTransport
from zosnet.ledger.comet.founding import found, introduce
from zosnet.ledger.encoding import encode
from zosnet.ledger.engine.cometbft.application import Kept
from zosnet.ledger.engine.database import Database
from zosnet.ledger.engine.embedded import now_ms
from zosnet.ledger.genesis import Genesis, Parameters
from zosnet.ledger.records import HoldingsRecord, NameRecord, by_length, holdings_key, name_key
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import GatewayBody, PutGateway, Stamp
from zosnet.ledger.tree import Tree
from zosnet.ledger.wallet import Wallet
from zosnet.model.errors import ZosnetError
from zosnet.store.files import write_private

PATIENCE_S = 120.0
PARTS = ("single", "reserve", "idle", "lookup", "submit", "flood", "memory", "restart")


def _signer(number: int) -> Signer:
    return Signer(sha256(b"account %d" % number).digest())


class Validators:
    """Some operators' nodes, each a process of `zosnet ledger start`."""

    def __init__(self, directory: Path, count: int) -> None:
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in held]
        for each in held:
            each.close()
        secrets = [bytes([number + 1]) * 32 for number in range(count)]
        words = [introduce(*signers_of(s), a, now_ms()) for s, a in zip(secrets, addresses, strict=True)]
        self.membership = found(words, "bench", Parameters(stamp_bits=0, names=NAMES_EACH, objects=60_000))
        self.genesis: Genesis = self.membership.genesis
        self.directories = [directory / f"n{number}" for number in range(count)]
        for place, secret in zip(self.directories, secrets, strict=True):
            write_private(place / "operator.key", secret, replace=True)
            write_private(membership_file(place), json.dumps(self.membership.document).encode(), replace=True)
        self.ways = [HttpTransport(str(each / "api.sock"), PATIENCE_S) for each in self.directories]
        self.processes: list[subprocess.Popen[bytes]] = []

    def load(self, names: int) -> None:
        """Put names in before the first block, in the first directory, and copy its file to the others."""
        first = self.directories[0] / "ledger.sqlite"
        database = Database(first)
        database.set_meta("engine", b"cometbft")
        database.set_meta("genesis", encode(self.genesis))
        tree = Tree(database.page, fold=fold_page)
        expires, genesis = now_ms() + self.genesis.parameters.lease_ms, self.genesis
        for start in range(0, names, 20_000):
            records: dict[bytes, bytes | None] = {}
            for group in range(start, min(start + 20_000, names), NAMES_EACH):
                holder = sha256(b"holder %d" % group).digest()
                mine = [f"n{number:07d}" for number in range(group, min(group + NAMES_EACH, names))]
                for name in mine:
                    records[name_key(name)] = encode(NameRecord(1, holder, expires))
                records[holdings_key(holder)] = encode(HoldingsRecord(tuple(sorted(mine, key=by_length))))
            root, pages = tree.update(records)
            kept = Kept(0, genesis.time_ms, genesis.chain, root)
            database.put_state(0, encode(kept), records, pages)
            tree.settle()
        database.close()
        for other in self.directories[1:]:
            shutil.copy(first, other / "ledger.sqlite")

    def start(self, number: int) -> None:
        """Start one."""
        place = self.directories[number]
        command = [sys.executable, "-m", "zosnet", "ledger", "start", "--ledger-dir", str(place)]
        with (place / "node.log").open("ab") as log:
            self.processes.insert(
                number,
                subprocess.Popen([*command, "--ledger", str(place / "api.sock")], stdout=log, stderr=log),
            )

    def wait(self, number: int, height: int = 1) -> None:
        """Until it has this block."""
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            try:
                if self.ways[number].status()["height"] >= height:
                    return
            except ZosnetError:
                pass
            time.sleep(0.01)
        raise TimeoutError((self.directories[number] / "node.log").read_text()[-2000:])

    def wait_all(self) -> None:
        """Until all have a block."""
        for number in range(len(self.processes)):
            self.wait(number)

    def stop(self, number: int) -> None:
        """Stop one."""
        process = self.processes.pop(number)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)

    def usage(self) -> list[tuple[float, float, float, float]]:
        """Of each node: CPU seconds and MB of the application, then of CometBFT."""
        return [(*_usage(each.pid), *_usage(_child(each.pid))) for each in self.processes]


def _child(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return next(int(text) for each in tasks for text in each.read_text().split())


def _usage(pid: int) -> tuple[float, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages * 4096 / 1e6


class Bench:
    """The measurements, in their order."""

    def __init__(self, arguments: argparse.Namespace, nodes: Validators) -> None:
        self.arguments, self.nodes = arguments, nodes
        self.result: dict[str, Any] = {
            "validators": arguments.validators, "names": arguments.names, "accounts": arguments.accounts,
            "envelope": arguments.envelope, "depth": arguments.depth, "cpus": os.cpu_count(),
            "python": sys.version.split()[0],
        }  # fmt: skip

    def run(self) -> dict[str, Any]:
        nodes, result = self.nodes, self.result
        if self.arguments.names:
            self._timed("load", lambda: nodes.load(self.arguments.names))
        for number in range(self.arguments.validators):
            nodes.start(number)
        self._timed("start", nodes.wait_all)
        wallets = self._accounts()
        parts: dict[str, Callable[[], None]] = {
            "single": lambda: self._single(wallets[0], "single", nodes.ways),
            "reserve": self._reserve,
            "idle": self._idle,
            "lookup": self._lookup,
            "submit": lambda: self._submit(wallets),
            "flood": self._flood,
            "memory": self._memory,
            "restart": self._restart,
        }
        for name, part in parts.items():
            if name in self.arguments.parts:
                part()
        return result

    def _timed(self, name: str, work: Callable[[], object]) -> None:
        started = time.perf_counter()
        work()
        self.result[f"{name}_s"] = round(time.perf_counter() - started, 2)
        print(f"{name}: {self.result[f'{name}_s']} s", file=sys.stderr, flush=True)

    def _spread(self, name: str, taken: list[float]) -> None:
        for share in (50, 95):
            self.result[f"{name}_p{share}_ms"] = round(percentile(taken, share / 100) * 1000, 1)
        print(name, self.result[f"{name}_p50_ms"], self.result[f"{name}_p95_ms"], file=sys.stderr, flush=True)

    def _accounts(self, what: bytes = b"") -> list[Wallet]:
        signers = [
            Signer(sha256(what + b"account %d" % number).digest())
            for number in range(self.arguments.accounts)
        ]
        wallets = [Wallet(self.nodes.genesis, [each]) for each in signers]
        now = now_ms()
        raws = [wallet.transaction(wallet.opening(Stamp(wallet.chain, 0)), now).raw for wallet in wallets]
        for start in range(0, len(raws), 200):
            receipts = self.nodes.ways[0].submit(raws[start : start + 200])
            assert all(receipt.is_done for receipt in receipts), receipts
        for wallet in wallets:
            wallet.done()
        return wallets

    def _flood(self) -> None:
        arguments, wallets = self.arguments, self._accounts(b"flood ")
        found = beside_floods(self.nodes.ways, wallets, arguments.singles // 2, arguments.flood)
        self.result |= found
        print(json.dumps(found), file=sys.stderr, flush=True)

    def _single(self, wallet: Wallet, name: str, ways: list[HttpTransport]) -> None:
        final = []
        for number in range(self.arguments.singles):
            way = ways[number % len(ways)]
            body = GatewayBody(("gateway.example:443",))
            key = _signer(10**7 + 1000 * len(name) + number).public
            raw = wallet.transaction(PutGateway(key, 0, body), now_ms()).raw
            started = time.perf_counter()
            (receipt,) = way.submit([raw])
            final.append(time.perf_counter() - started)
            assert receipt.is_done, receipt
            wallet.done()
        self._spread(name, final)

    def _reserve(self) -> None:
        reserved, proven = [], []
        desk = Desk(Follower(self.nodes.ways[0], self.nodes.genesis.chain), b"r" * 32)
        desk.reserve("first")  # opens the account as well
        for number in range(self.arguments.reserves):
            started = time.perf_counter()
            desk.reserve(f"bench{number}")
            reserved.append(time.perf_counter() - started)
            assert desk.name(f"bench{number}") is not None
            proven.append(time.perf_counter() - started)
        self._spread("reserve", reserved)
        self._spread("proof", proven)

    def _idle(self) -> None:
        before = self.nodes.usage()
        time.sleep(self.arguments.idle)
        after = self.nodes.usage()
        for place, name in ((0, "application"), (2, "cometbft")):
            used = sum(b[place] - a[place] for a, b in zip(before, after, strict=True))
            self.result[f"idle_{name}_percent"] = round(100 * used / self.arguments.idle, 1)

    def _lookup(self) -> None:
        taken = []
        for number in range(300):
            started = time.perf_counter()
            self.nodes.ways[0].query([name_key(f"n{number * 7919 % max(1, self.arguments.names):07d}")])
            taken.append(time.perf_counter() - started)
        self._spread("lookup", taken)

    def _submit(self, wallets: list[Wallet]) -> None:
        arguments, ways = self.arguments, self.nodes.ways
        made: list[list[list[bytes]]] = []
        now, size = now_ms(), arguments.envelope
        for client in range(len(ways)):
            own = wallets[client :: len(ways)]
            raws = []
            for number in range(int(arguments.seconds * arguments.expected) // len(ways)):
                wallet = own[number % len(own)]
                key = _signer(10**6 + number // len(own)).public
                operation = PutGateway(key, 0, GatewayBody(("gateway.example:443",)))
                raws.append(wallet.transaction(operation, now, life_ms=3_000_000).raw)
                wallet.done()
            made.append([raws[at : at + size] for at in range(0, len(raws), size)])
        done: list[int] = []
        taken: list[float] = []
        lock, before, height = threading.Lock(), self.nodes.usage(), ways[0].status()["height"]
        started = time.perf_counter()
        ends = started + arguments.seconds

        # In their order, whoever is free: an account's next operation must not be sent before the one before.
        lines = [Shared(each) for each in made]

        def send(client: int) -> None:
            for envelope in lines[client]:
                if time.perf_counter() >= ends:
                    return
                sent = time.perf_counter()
                receipts = ways[client].submit(envelope)
                with lock:
                    taken.append(time.perf_counter() - sent)
                    done.append(sum(receipt.is_done for receipt in receipts))
                bad = next((each for each in receipts if not each.is_done), None)
                assert bad is None, bad

        threads = [
            threading.Thread(target=send, args=[client])
            for client in range(len(ways))
            for _ in range(arguments.depth)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - started
        after = self.nodes.usage()
        self.result |= {
            "operations": sum(done), "operations_a_second": round(sum(done) / elapsed),
            "blocks": ways[0].status()["height"] - height,
        }  # fmt: skip
        for place, name in ((0, "application"), (2, "cometbft")):
            used = sum(b[place] - a[place] for a, b in zip(before, after, strict=True))
            self.result[f"{name}_cpu_us_an_operation"] = round(used / sum(done) * 1e6)
        self._spread("envelope", taken)
        print("operations a second:", self.result["operations_a_second"], file=sys.stderr, flush=True)

    def _memory(self) -> None:
        usage = self.nodes.usage()
        self.result["application_mb"] = round(max(each[1] for each in usage))
        self.result["cometbft_mb"] = round(max(each[3] for each in usage))

    def _restart(self) -> None:
        self.nodes.stop(0)
        height = self.nodes.ways[1].status()["height"]

        def again() -> None:
            self.nodes.start(0)
            self.nodes.wait(0, height)

        self._timed("restart", again)


def main() -> int:
    """Run, and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.cometbft", description=__doc__.splitlines()[0])
    parser.add_argument("--validators", type=int, default=4)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--flood", type=int, default=16, help="envelopes of a thousand made for each flood")
    parser.add_argument("--singles", type=int, default=100)
    parser.add_argument("--reserves", type=int, default=20)
    parser.add_argument("--idle", type=float, default=20.0)
    parser.add_argument("--envelope", type=int, default=25)
    parser.add_argument("--depth", type=int, default=4, help="envelopes that each client has under way")
    parser.add_argument(
        "--expected", type=int, default=1500, help="operations a second that are signed ahead"
    )
    arguments = parser.parse_args()
    sys.setswitchinterval(SWITCH_S)  # or a client that floods keeps the one that waits from its turn
    directory = Path(tempfile.mkdtemp(prefix="zosnet-bench-"))
    nodes = Validators(directory, arguments.validators)
    try:
        print(json.dumps(Bench(arguments, nodes).run()))
    finally:
        for process in nodes.processes:
            process.terminate()
        for process in nodes.processes:
            process.wait(PATIENCE_S)
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
