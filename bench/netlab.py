"""Network namespaces, veth links and processes on one Linux machine.

A namespace here has no name under /run: it lives as long as its holder process does, and the holder (like
every program started in it) asks the kernel to be killed with the thread that started it. So nothing stays
behind, not even when the harness itself is killed. Needs root, iproute2 and util-linux; nftables for cuts.

It owns namespaces and processes, and knows nothing of overlays or of measuring.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent
PROBE = HERE / "probe.py"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

#: Die with the thread that started you (prctl PR_SET_PDEATHSIG, kept over exec).
MORTAL = ("setpriv", "--pdeathsig", "KILL", "--")

#: Of the directories of labs; the process id follows, so that the next lab can tell whose owner was killed.
PREFIX = "zosnet-netlab-"

#: A word of a command line; everything is passed through `str`.
Word = str | int | float | Path


class LabError(RuntimeError):
    """A command that the lab depends on failed; the text has its command line and the end of its output."""


def run(
    *argv: Word,
    check: bool = True,
    timeout: float = 60,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command to its end and return what it printed, errors included. Raises LabError."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, input=stdin,
        check=False, cwd=cwd, env={**os.environ, **(env or {})},
    )  # fmt: skip
    if check and done.returncode:
        raise LabError(f"{' '.join(words)} -> {done.returncode}: {done.stdout[-800:]}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Attachment:
    """One end of a link, as the node on that end sees it."""

    link: int
    device: str
    ip: str
    peer: str
    peer_ip: str


class Process:
    """A program started in a namespace, with its output in a log file."""

    def __init__(self, node: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.node, self.popen, self.log = node, popen, log

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        """Everything that it has printed so far."""
        return self.log.read_text(errors="replace")

    def stop(self, *, by: signal.Signals = signal.SIGTERM, within: float = 5.0) -> int:
        """Ask it to end; kill it after `within` seconds. Returns the exit code (negative: the signal)."""
        if self.alive():
            self.popen.send_signal(by)
            try:
                self.popen.wait(within)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.popen.returncode

    def kill(self) -> None:
        """End it at once, with everything that it started in its own process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(10)


class Node:
    """One namespace, with a directory of its own."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        self.attachments: list[Attachment] = []
        directory.mkdir(parents=True)
        script = "ip link set lo up && echo up && exec sleep infinity"
        self._holder = subprocess.Popen(
            [*MORTAL, "unshare", "--net", "sh", "-c", script],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        if self._holder.stdout.readline().strip() != b"up":
            raise LabError("no network namespace: this needs root (CAP_SYS_ADMIN) and util-linux")

    @property
    def pid(self) -> int:
        """The process that holds the namespace: `ip link … netns PID` and `nsenter -t PID` take it."""
        return self._holder.pid

    def command(self, *argv: Word) -> list[str]:
        """`argv` so that it runs inside this namespace and dies with the harness."""
        return ["nsenter", "-t", str(self.pid), "-n", "--", *MORTAL, *(str(word) for word in argv)]

    def run(
        self,
        *argv: Word,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command in here, in this node's directory, to its end. Raises LabError."""
        words = self.command(*argv)
        return run(*words, check=check, timeout=timeout, stdin=stdin, cwd=self.directory, env=env)

    def sysctl(self, key: str, value: Word) -> None:
        self.run("sysctl", "-qw", f"{key}={value}")

    def spawn(self, *argv: Word, env: Mapping[str, str] | None = None, log: str = "") -> Process:
        """Start a program here, in this node's directory, with its output in a log file there."""
        path = self.directory / (log or f"{Path(str(argv[0])).name}.log")
        with path.open("ab") as out:
            popen = subprocess.Popen(
                self.command(*argv), stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})}, cwd=self.directory, start_new_session=True,
            )  # fmt: skip
        return Process(self.name, popen, path)

    def popen(self, *argv: Word, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a program here whose standard output the caller reads."""
        return subprocess.Popen(
            self.command(*argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, cwd=self.directory, start_new_session=True, env={**os.environ, **(env or {})},
        )  # fmt: skip

    def towards(self, peer: str) -> Attachment:
        """The first link to `peer`."""
        return next(end for end in self.attachments if end.peer == peer)

    def on(self, link: int) -> Attachment:
        """This node's end of a link."""
        return next(end for end in self.attachments if end.link == link)

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait(10)
        if self._holder.stdout is not None:
            self._holder.stdout.close()


class Lab:
    """A set of nodes joined by veth links, numbered from 1 in the order given; link i has 10.99.i.0/24."""

    def __init__(
        self, names: Iterable[str], links: Sequence[tuple[str, str]], *, mtu: int = 1500, congestion: str = ""
    ) -> None:
        sweep()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.mtu = mtu
        self.nodes: dict[str, Node] = {}
        self.daemons: list[Process] = []
        self._others: list[Process] = []
        self._hidden: list[Node] = []
        try:
            for name in names:
                self.nodes[name] = Node(name, self.directory / name)
                if congestion:
                    self._choose_congestion(self.nodes[name], congestion)
            for number, (one, other) in enumerate(links, 1):
                self._join(number, self.nodes[one], self.nodes[other])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def daemon(self, node: Node, *argv: Word, env: Mapping[str, str] | None = None, log: str = "") -> Process:
        """Start a program whose CPU and memory count as the overlay's."""
        self.daemons.append(node.spawn(*argv, env=env, log=log))
        return self.daemons[-1]

    def helper(self, node: Node, *argv: Word, log: str = "") -> Process:
        """Start a program that only measures, or stands in for something."""
        self._others.append(node.spawn(*argv, log=log))
        return self._others[-1]

    def logs(self, last: int = 1500) -> str:
        """The end of every log, for the report of a failure."""
        return "\n".join(
            f"== {path.parent.name}/{path.name}\n{path.read_text(errors='replace')[-last:]}"
            for path in sorted(self.directory.glob("*/*.log"))
        )

    def close(self) -> None:
        """Stop everything, remove everything. May be called twice."""
        for process in [*self.daemons, *self._others]:
            if process.alive():
                process.popen.terminate()
        for process in [*self.daemons, *self._others]:
            process.stop(within=2.0)
        for node in [*self.nodes.values(), *self._hidden]:
            node.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- links ---------------------------------------------------------------------------------------------

    @staticmethod
    def _choose_congestion(node: Node, name: str) -> None:
        try:
            node.sysctl("net.ipv4.tcp_congestion_control", name)
        except LabError as error:
            raise LabError(
                f"no namespace may use {name}: add it to net.ipv4.tcp_allowed_congestion_control"
            ) from error

    def _wire(self, one: tuple[Node, str], other: tuple[Node, str]) -> None:
        (node, device), (far, far_device) = one, other
        node.run(
            "ip", "link", "add", device, "mtu", self.mtu, "type", "veth",
            "peer", "name", far_device, "mtu", self.mtu, "netns", far.pid,
        )  # fmt: skip
        for end, name in ((node, device), (far, far_device)):
            end.run("ip", "link", "set", name, "up")

    def _join(self, number: int, one: Node, other: Node) -> None:
        names = f"u{number}{other.name}", f"u{number}{one.name}"
        self._wire((one, names[0]), (other, names[1]))
        for node, device, peer, host in ((one, names[0], other, 1), (other, names[1], one, 2)):
            ip, peer_ip = f"10.99.{number}.{host}", f"10.99.{number}.{3 - host}"
            node.run("ip", "addr", "add", f"{ip}/24", "dev", device)
            node.attachments.append(Attachment(number, device, ip, peer.name, peer_ip))

    def ends(self, link: int) -> list[Node]:
        return [node for node in self.nodes.values() if any(end.link == link for end in node.attachments)]

    def cut(self, link: int) -> None:
        """From now on, whatever arrives over the link is lost. The carrier stays: nobody is told."""
        for node in self.ends(link):
            rules = f'type filter hook prerouting priority -300\n iifname "{node.on(link).device}" drop'
            node.run("nft", "-f", "-", stdin=f"table inet cut{link} {{\n chain c {{\n {rules}\n }}\n}}\n")

    def mend(self, link: int) -> None:
        """Undo `cut`."""
        for node in self.ends(link):
            node.run("nft", "delete", "table", "inet", f"cut{link}", check=False)

    def shape(self, link: int, mbit: int) -> None:
        """Limit the rate of a link, both ways."""
        for node in self.ends(link):
            node.run(
                "tc", "qdisc", "replace", "dev", node.on(link).device, "root",
                "tbf", "rate", f"{mbit}mbit", "burst", "64kb", "latency", "30ms",
            )  # fmt: skip

    def segment(self, link: int) -> None:
        """No super-packet passes the link: its packets travel alone, and may be merged at the end."""
        for node in self.ends(link):
            node.run(
                "ethtool", "-K", node.on(link).device,
                "tso", "off", "gso", "off", "tx-udp-segmentation", "off", "gro", "on",
            )  # fmt: skip

    def emulate(
        self, link: int, linkem: Path, *, delay_ms: float, loss_percent: float, rate_mbit: float
    ) -> None:
        """Put a hop with delay, loss and a rate (helpers/linkem.c) in the middle of a link."""
        one, other = self.ends(link)
        middle = Node(f"em{link}", self.directory / f"em{link}")
        self._hidden.append(middle)
        one.run("ip", "link", "del", one.on(link).device)
        for node, device in ((one, "e0"), (other, "e1")):
            end = node.on(link)
            self._wire((node, end.device), (middle, device))
            node.run("ip", "addr", "add", f"{end.ip}/24", "dev", end.device)
            node.run(sys.executable, PROBE, "offload-off", end.device)
            middle.run(sys.executable, PROBE, "offload-off", device)
        self.helper(middle, linkem, "e0", "e1", delay_ms, loss_percent, rate_mbit)
        time.sleep(0.3)

    def busiest(self, node: Node, seconds: float = 1.0) -> int:
        """The link over which a node sends most at this moment."""

        def sent() -> dict[int, int]:
            text = node.run("cat", "/proc/self/net/dev")
            columns = {
                line.split(":")[0].strip(): line.split(":")[1].split()
                for line in text.splitlines()
                if ":" in line
            }
            return {end.link: int(columns[end.device][8]) for end in node.attachments}

        before = sent()
        time.sleep(seconds)
        after = sent()
        return max(after, key=lambda link: after[link] - before[link])


def sweep() -> None:
    """Remove the directories of labs whose owner was killed. All else of theirs went with it."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = path.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path, ignore_errors=True)


def family(processes: Iterable[Process]) -> Iterator[int]:
    """The process ids of the live processes and of all their descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    waiting = [process.pid for process in processes if process.alive()]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def wait_for_device(node: Node, device: str, within: float = 10.0) -> None:
    """Wait until a network device exists and is up. Raises LabError."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        shown = node.run("ip", "-o", "link", "show", device, check=False)
        if re.search(r"[<,]UP[,>]", shown):
            return
        time.sleep(0.02)
    raise LabError(f"{node.name} has no device {device} after {within:g} s")
