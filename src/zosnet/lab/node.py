"""A node in a host: a daemon with its own key, state, socket and log, started, stopped, killed and restarted.

What is particular to a daemon is in a `Program`. The lab's own is `Zosnet`; another implementation of the
same protocol, for interoperation, is one more class with these few methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Protocol

from zosnet.lab.errors import LabError
from zosnet.lab.host import Host
from zosnet.lab.process import Process
from zosnet.lab.wait import until


@dataclass(slots=True)
class Wishes:
    """How a node is to be started. Read at each start, so changes count from the next one on."""

    peers: list[str] = field(default_factory=list)
    """Endpoints to dial, as `Link.url` gives them."""
    discovery: bool = False
    """Whether to look for neighbours on the links' own networks."""
    tun: bool = True
    closed: bool = False
    """Whether nothing comes in unasked but what `extra` allows, as is the default outside a lab."""
    extra: list[str] = field(default_factory=list)
    """Further words for the command line."""
    env: dict[str, str] = field(default_factory=dict)


class Program(Protocol):
    """What the lab has to know about a daemon."""

    name: str

    def command(self, node: Node) -> Sequence[str]:
        """The command line that runs it in the foreground; paths as seen from inside the host."""
        ...

    def environment(self, node: Node) -> Mapping[str, str]:
        """What it needs in its environment, beside `Wishes.env`."""
        ...

    def is_ready(self, node: Node) -> bool:
        """Whether it has come up; an OSError counts as no."""
        ...

    def address(self, node: Node) -> IPv6Address:
        """Its overlay address; it is ready when this is asked."""
        ...


class Node:
    """One daemon in one host. Its directory survives restarts, as a state directory does."""

    def __init__(self, host: Host, program: Program, wishes: Wishes) -> None:
        self.host = host
        self.program = program
        self.wishes = wishes
        self.process: Process | None = None
        self._address: IPv6Address | None = None
        self.name = host.name
        self.directory.mkdir(exist_ok=True)

    def __str__(self) -> str:
        return f"{self.program.name} on {self.host.name}"

    @property
    def directory(self) -> Path:
        """The node's own directory, from outside; `inside` gives the path for the daemon."""
        return self.host.files / self.program.name

    def inside(self, name: str = "") -> str:
        return self.host.inside(f"{self.program.name}/{name}".rstrip("/"))

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def address(self) -> IPv6Address:
        """The node's overlay address."""
        if self._address is None:
            self._address = self.program.address(self)
        return self._address

    def start(self, *, wait: bool = True) -> Node:
        """Start it, and wait until it is ready unless told otherwise."""
        if self.process is not None and self.process.is_running:
            raise LabError(f"{self} runs already")
        self.process = self.host.spawn(
            self.program.name,
            *self.program.command(self),
            env={**self.program.environment(self), **self.wishes.env},
        )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, within: float = 20.0) -> None:
        """Raises LabError when it isn't ready in time, or has ended, with the end of its log."""

        def ready() -> bool:
            process = self._running()
            if not process.is_running:
                raise LabError(f"{self} ended with status {process.returncode}: {process.tail(20)}")
            return self.program.is_ready(self)

        until(f"{self} is ready", ready, within=within, seen=lambda: self._running().tail(10))

    def kill(self) -> None:
        """SIGKILL: no farewell, its sockets are closed by the kernel."""
        self._running().kill()

    def stop(self, within: float = 10.0) -> int:
        """SIGTERM and wait; the exit status."""
        return self._running().stop(within)

    def restart(self) -> Node:
        """Stop it if it runs, and start it again with the same key."""
        if self.process is not None and self.process.is_running:
            self.stop()
        return self.start()

    def log(self) -> str:
        """What the latest run has said."""
        return self._running().text()

    def resident_mb(self) -> float:
        """The daemon's resident memory now."""
        for line in self._proc("status").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def threads(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.pid}/task").iterdir())

    def cpu_seconds(self) -> float:
        """User and system time it has used so far."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100  # USER_HZ is 100 everywhere

    def reaches(self, other: Node, *, within: float = 0.5) -> bool:
        """Whether one ping through the overlay is answered."""
        return self.host.pings(other.address, within=within)

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.pid}/{name}").read_text()

    def _running(self) -> Process:
        if self.process is None:
            raise LabError(f"{self} was never started")
        return self.process
