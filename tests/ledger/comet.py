"""Ledgers of several operators on this machine, with the real engine: each node is a process of its own."""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zosnet.cli.ledger_operators import membership_file, signers_of
from zosnet.lab import Host
from zosnet.ledger.client.transport import HttpTransport
from zosnet.ledger.comet.founding import Membership, found, introduce
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.genesis import Genesis, Parameters
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import ClaimDomain, Operation, Stamp
from zosnet.ledger.wallet import Wallet
from zosnet.model.errors import ZosnetError

PROJECT = Path(__file__).parents[2]
PROGRAM = PROJECT / ".make" / "bin" / "cometbft"
#: Faster than in life, so that tests are: commit, gossip, propose, vote, idle.
TIMING = "30,10,500,300,1000"
#: What a busy machine may need for anything.
PATIENCE_S = 60.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def wait_for(what: str, claim: Callable[[], Any], *, within_s: float = PATIENCE_S) -> Any:
    """What `claim` returns once it is true; AssertionError where it isn't in time."""
    ends = time.monotonic() + within_s
    while True:
        try:
            if found := claim():
                return found
        except ZosnetError:
            pass
        assert time.monotonic() < ends, f"not in time: {what}"
        time.sleep(0.02)


class Node:
    """One operator's node; on a machine of its own where `host` is one of a lab's."""

    def __init__(self, directory: Path, secret: bytes, host: Host | None = None) -> None:
        self.directory, self.secret, self._host = directory, secret, host
        self.way = HttpTransport(str(directory / "api.sock"), timeout_s=PATIENCE_S)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str, directory: Path | None = None, timing: str = TIMING) -> Node:
        command = [sys.executable, "-m", "tests.ledger.comet_child", str(directory or self.directory)]
        command += ["--timing", timing, *more]
        if self._host is not None:
            command = self._host.namespace.entered(command, str(PROJECT))
        with (self.directory / "child.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=os.environ | {"ZOSNET_COMETBFT": os.environ.get("ZOSNET_COMETBFT", str(PROGRAM))},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(PATIENCE_S)
            self.process = None

    def died(self) -> int:
        assert self.process is not None
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    @property
    def status(self) -> dict[str, Any]:
        return self.way.status()

    @property
    def height(self) -> int:
        return int(self.status["height"])

    def reaches(self, height: int) -> bool:
        return self.height >= height

    def root_at(self, height: int) -> bytes | None:
        headers = self.way.headers(height, 1)
        return headers[0].header.root if headers and headers[0].header.height == height else None

    def log(self) -> str:
        texts = []
        for name in ("child.log", "comet/cometbft.log"):
            path = self.directory / name
            texts.append(path.read_text(errors="replace")[-3000:] if path.exists() else "")
        return "\n".join(texts)


class Cluster:
    """Some operators' nodes, on this machine or each on a host of a lab."""

    def __init__(self, directory: Path, count: int, hosts: Sequence[Host] = ()) -> None:
        secrets = [bytes([number + 1]) * 32 for number in range(count)]
        begins = now_ms()
        addresses = [f"{each.ends[0].ipv4}:26656" for each in hosts]
        addresses = addresses or [f"127.0.0.1:{port}" for port in free_ports(count)]
        words = [
            introduce(*signers_of(secret), address, begins)
            for secret, address in zip(secrets, addresses, strict=True)
        ]
        self.membership: Membership = found(words, "test", Parameters(stamp_bits=0, objects=60_000))
        self.genesis: Genesis = self.membership.genesis
        self.nodes = [
            Node(directory / f"n{number}", secret, hosts[number] if hosts else None)
            for number, secret in enumerate(secrets)
        ]
        for node in self.nodes:
            node.directory.mkdir(mode=0o700, parents=True)
            key = node.directory / "operator.key"
            key.touch(0o600)
            key.write_bytes(node.secret)
            membership_file(node.directory).write_text(json.dumps(self.membership.document))
        self._accounts = 0

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            self.wait("the first block", functools.partial(getattr, node, "height"))

    def stop(self) -> None:
        for node in self.nodes:
            if node.process is not None:
                node.process.send_signal(signal.SIGCONT)
                node.process.terminate()
        for node in self.nodes:
            node.stop()

    def wait(self, what: str, claim: Callable[[], Any], *, within_s: float = PATIENCE_S) -> Any:
        try:
            return wait_for(what, claim, within_s=within_s)
        except AssertionError as error:
            logs = "\n".join(f"--- {node.directory.name}\n{node.log()}" for node in self.nodes)
            raise AssertionError(f"{error}\n{logs}") from None

    def account(self, node: Node) -> Wallet:
        """A new open account."""
        self._accounts += 1
        wallet = Wallet(self.genesis, [Signer(self._accounts.to_bytes(32))])
        assert do(node, wallet, wallet.opening(Stamp(wallet.chain, 0))).is_done
        return wallet

    def agree(self, *nodes: Node) -> int:
        """The height that all have now, with one root; they are waited for."""
        some = nodes or tuple(self.nodes)
        height: int = max(self.wait("a block", functools.partial(getattr, node, "height")) for node in some)
        for node in some:
            self.wait(f"block {height}", functools.partial(node.reaches, height))
        assert len({node.root_at(height) for node in some}) == 1
        return height


def do(node: Node, wallet: Wallet, operation: Operation) -> Receipt:
    """One operation of an account; it must become final."""
    (receipt,) = node.way.submit([wallet.transaction(operation, now_ms()).raw])
    if receipt.is_done:
        wallet.done()
    return receipt


def claim(node: Node, wallet: Wallet, number: int) -> Receipt:
    """One more domain."""
    return do(node, wallet, ClaimDomain(f"d{number}.example"))


@contextmanager
def running(directory: Path, count: int, hosts: Sequence[Host] = ()) -> Iterator[Cluster]:
    cluster = Cluster(directory, count, hosts)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
