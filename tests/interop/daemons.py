"""The two programs that must understand each other, behind one interface.

`Theirs` is the real Mycelium, from MYCELIUM_BIN. `Ours` is `zosnet up`. With INTEROP_OURS=mycelium the real
one plays both parts: that tests the tests, and shows which timings are Mycelium's own.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from bench.netlab import Lab, Node, Word, wait_for_device
from bench.peers import overlay_address, program

from zosnet.lab.process import Process

TOOLS = Path(__file__).with_name("tools.py")
API = "127.0.0.1:8989"
PORT = 9651
T = TypeVar("T")

#: The labs in use, so that a failure can show what the programs had to say.
LABS: weakref.WeakSet[Lab] = weakref.WeakSet()

#: A TUN MTU with which a real Mycelium does not tear its own QUIC links down (packets over 1362 bytes do).
QUIC_SAFE_MTU = 1360


def mycelium() -> str:
    """The real Mycelium; skips the test where there is none."""
    path = program("MYCELIUM_BIN", "mycelium")
    if path is None:
        pytest.skip(
            "no real Mycelium: build version 0.7.10 and give its program as MYCELIUM_BIN=/path/to/mycelium"
        )
    return path


def zosnet() -> str:
    """Our own program; skips the test where it was not built."""
    path = program("ZOSNET_BIN", "zosnet")
    if path is None:
        pytest.skip("no zosnet program beside this Python: make dev")
    return path


def eventually(what: str, ask: Callable[[], T], within: float, every: float = 0.1) -> T:
    """The first true answer of `ask`. Fails the test, naming `what`, when none comes in time."""
    deadline = time.monotonic() + within
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {within:g} s")
        time.sleep(every)


class Daemon:
    """One node: a namespace, a key, and a program that can be started there again and again."""

    kind = "?"
    device = "?"

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name = lab, name
        LABS.add(lab)
        self.node: Node = lab[name]
        secret = os.urandom(32)
        key = self.node.directory / "key.bin"
        key.write_bytes(secret)
        key.chmod(0o600)
        self.address = str(overlay_address(secret))
        self.process: Process | None = None
        self._peers: tuple[str, ...] = ()
        self._more: tuple[Word, ...] = ("--disable-peer-discovery",)

    @property
    def prefix(self) -> str:
        """The first half of the address: its /64 as text."""
        return ":".join(self.address.split(":")[:4])

    def start(self, peers: Sequence[str] = (), *more: Word) -> None:
        """Start it (again, with the same arguments when none are given) and wait until its TUN is up."""
        self._peers = tuple(peers) or self._peers
        self._more = more or self._more
        self.process = self.lab.daemon(self.node, *self.command(), env=self.variables())
        wait_for_device(self.node, self.device, within=20)

    def variables(self) -> dict[str, str]:
        """Nothing is read from or left in the home directory of whoever runs the tests."""
        return {"HOME": str(self.node.directory), "XDG_DATA_HOME": str(self.node.directory / "data")}

    def command(self) -> list[Word]:
        raise NotImplementedError

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End it and wait; the exit code."""
        assert self.process is not None
        self.process.signal(by)
        code = self.process.wait(10)
        self.lab.daemons.remove(self.process)
        return code

    def log(self) -> str:
        assert self.process is not None
        return self.process.text()

    # -- traffic -------------------------------------------------------------------------------------------

    def reaches(self, other: Daemon, *, size: int = 56) -> bool:
        """Whether one echo comes back within a second."""
        words = ("ping", "-n", "-c", 1, "-W", 1, "-s", size, other.address)
        return "bytes from" in self.node.run(*words, check=False)

    def awaits(self, other: Daemon, within: float = 10.0) -> float:
        """Wait for an echo; how long it took, in seconds."""
        start = time.monotonic()
        eventually(f"an echo from {other.name} to {self.name}", lambda: self.reaches(other), within)
        return time.monotonic() - start

    def hop(self, other: Daemon, limit: int) -> str:
        """Who says that an echo request with this hop limit has expired: an address, or nothing."""
        words = ("ping", "-n", "-c", 1, "-W", 2, "-t", limit, other.address)
        found = re.search(r"From (\S+).*Time exceeded", self.node.run(*words, check=False))
        return found[1].rstrip(":") if found else ""

    # -- messages, by the HTTP API of the node (the same for both programs) ------

    def http(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Ask the node's HTTP API, from inside its namespace."""
        words = (sys.executable, TOOLS, "http", method, f"http://{API}/api/v1{path}")
        answer = json.loads(self.node.run(*words, stdin="" if body is None else json.dumps(body)))
        return answer["status"], answer["body"]

    def send(self, other: Daemon, payload: bytes, topic: bytes = b"") -> str:
        """Send a message; its id."""
        body = {"dst": {"ip": other.address}, "payload": base64.b64encode(payload).decode()}
        if topic:
            body["topic"] = base64.b64encode(topic).decode()
        status, answer = self.http("POST", "/messages", body)
        assert status == 201, answer
        return str(answer["id"])

    def receive(self, timeout: int = 10, topic: bytes = b"") -> dict[str, Any]:
        """The next message, with `payload` as bytes. Fails the test when none comes."""
        wanted = f"&topic={base64.b64encode(topic).decode().replace('=', '%3D')}" if topic else ""
        status, answer = self.http("GET", f"/messages?timeout={timeout}{wanted}")
        assert status == 200, f"no message came to {self.name} in {timeout} s (HTTP {status})"
        message: dict[str, Any] = answer
        message["payload"] = base64.b64decode(message["payload"])
        return message

    def reply(self, message: dict[str, Any], payload: bytes) -> None:
        body = {"dst": {"ip": message["srcIp"]}, "payload": base64.b64encode(payload).decode()}
        status, answer = self.http("POST", f"/messages/reply/{message['id']}", body)
        assert status == 204, answer

    def state(self, identifier: str) -> str:
        """What has become of a message sent: pending, sending, received, read or aborted."""
        status, answer = self.http("GET", f"/messages/status/{identifier}")
        assert status == 200, answer
        state = answer["state"]
        return state if isinstance(state, str) else next(iter(state))

    # -- the command line of the node ------------------------------------------------------------------------

    def cli(self, *words: Word, check: bool = True, timeout: float = 30) -> str:
        """What the program's own command line prints, when it is a client of this node."""
        return self.node.run(*self.client(), *words, check=check, timeout=timeout, env=self.variables())

    def client(self) -> list[Word]:
        raise NotImplementedError


class Theirs(Daemon):
    """The real Mycelium."""

    kind, device = "mycelium", "myc"

    def command(self) -> list[Word]:
        peers = ["--peers", *self._peers] if self._peers else []
        return [
            mycelium(),
            "-k",
            "key.bin",
            "--tun-name",
            self.device,
            "--api-addr",
            API,
            *peers,
            *self._more,
        ]

    def client(self) -> list[Word]:
        return [mycelium(), "--silent"]

    def start(self, peers: Sequence[str] = (), *more: Word) -> None:
        super().start(peers, *more)
        if any(peer.startswith("quic") for peer in self._peers) or self.quic_neighbour:
            self.node.run("ip", "link", "set", self.device, "mtu", QUIC_SAFE_MTU)

    quic_neighbour = False  #: somebody dials it over QUIC


class Ours(Daemon):
    """`zosnet up`."""

    kind, device = "zosnet", "zos"

    doors: Sequence[Word] = (
        # Both let everything in; the first as Mycelium does, the other by rules, past the filter.
        ("--allow-inbound", "all")
        if os.environ.get("INTEROP_DOORS", "all") == "all"
        else ("--allow", "any from any", "--allow-messages", "any")
    )

    def command(self) -> list[Word]:
        peers = [word for peer in self._peers for word in ("--peers", peer)]
        return [
            zosnet(), "up", "--key-file", "key.bin", "--tun-name", self.device, "--api-addr", API,
            "--state-dir", "state", "--socket", "api.sock", *self.doors, *peers, *self._more,
        ]  # fmt: skip

    def client(self) -> list[Word]:
        return [zosnet(), "--socket", "api.sock"]


#: What plays our part.
OurPart: type[Daemon] = Theirs if os.environ.get("INTEROP_OURS") == "mycelium" else Ours


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """The process, which is killed when the block ends before it does."""
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def transfer(
    sender: Daemon,
    receiver: Daemon,
    megabytes: float,
    *,
    mbit: float = 0,
    meanwhile: Callable[[], object] = lambda: None,
) -> float:
    """Move bytes over one TCP connection, compare their hash; the receiver's longest pause, in seconds.

    `meanwhile` is called once the first second of the transfer is over.
    """
    port, size = 7000, int(megabytes * 1e6)
    with ended(receiver.node.popen(sys.executable, TOOLS, "sink", receiver.address, port)) as sink:
        assert sink.stdout is not None and sink.stdout.readline().strip() == "listening"
        words = ("source", receiver.address, port, size, mbit)
        with ended(sender.node.popen(sys.executable, TOOLS, *words)) as source:
            if mbit:
                time.sleep(1.0)
            meanwhile()
            sent, _ = source.communicate(timeout=90)
        got, _ = sink.communicate(timeout=30)
    told, found = _last_json(sent), _last_json(got)
    assert told["acknowledged"] and told["bytes"] == size
    assert (found["bytes"], found["sha256"]) == (told["bytes"], told["sha256"])
    return float(found["longest_gap"])


def _last_json(text: str) -> dict[str, Any]:
    lines = text.strip().splitlines()
    assert lines and lines[-1].startswith("{"), f"the transfer broke: {text[-500:]}"
    value: dict[str, Any] = json.loads(lines[-1])
    return value
