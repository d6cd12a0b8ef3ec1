"""The lab of the benchmarks: hosts and links of `zosnet.lab`, and what comparing programs needs beside them.

It knows which programs are the overlay's, whose processor time and memory count, and changes links in ways in
which only a measurement wants them. It knows nothing of overlays or of measuring. Needs root, iproute2,
nftables and util-linux.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

from zosnet.lab.errors import LabError
from zosnet.lab.grid import Grid
from zosnet.lab.host import Host
from zosnet.lab.link import Link, segment
from zosnet.lab.process import Process, environment, start
from zosnet.lab.wait import until
from zosnet.model.errors import HostError

HERE = Path(__file__).resolve().parent
PROBE = HERE / "probe.py"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

#: Of the directories of labs; the process id follows, so that the next lab can tell whose owner was killed.
PREFIX = "zosnet-netlab-"

#: A word of a command line; everything is passed through `str`.
Word = str | int | float | Path


def run(*argv: Word) -> str:
    """Run a command outside of the lab and return what it printed, errors included. Raises LabError."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    if done.returncode:
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


class Node:
    """One host of the lab. Its programs start in `directory`, which goes with the lab."""

    def __init__(self, host: Host) -> None:
        self.host, self.name, self.directory = host, host.name, host.files
        self.attachments: list[Attachment] = []

    def command(self, *argv: Word) -> list[str]:
        """`argv` so that it runs inside this host and dies with the harness."""
        return self.host.namespace.entered([str(word) for word in argv])

    def run(
        self,
        *argv: Word,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command here to its end and return what it printed, errors included. Raises LabError."""
        done = self.host.run(*argv, within=timeout, check=check, stdin=stdin, env=env)
        return done.stdout + done.stderr

    def sysctl(self, key: str, value: Word) -> None:
        self.run("sysctl", "-qw", f"{key}={value}")

    def popen(self, *argv: Word, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a program here whose standard output the caller reads."""
        opened = start(
            self.command(*argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, start_new_session=True, env=environment(self.host.namespace.lab, env),
        )  # fmt: skip
        return cast("subprocess.Popen[str]", opened)

    def towards(self, peer: str) -> Attachment:
        """The first link to `peer`."""
        return next(end for end in self.attachments if end.peer == peer)

    def on(self, link: int) -> Attachment:
        """This node's end of a link."""
        return next(end for end in self.attachments if end.link == link)


class Lab:
    """A set of nodes joined by links, numbered from 1 in the order given."""

    def __init__(
        self, names: Iterable[str], links: Sequence[tuple[str, str]], *, mtu: int = 1500, congestion: str = ""
    ) -> None:
        sweep()
        try:
            self.grid = Grid(names)
        except HostError as error:
            raise LabError(f"{error.message}: {error.remedy}") from error
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.mtu = mtu
        self.nodes = {name: Node(host) for name, host in self.grid.hosts.items()}
        self.daemons: list[Process] = []
        self._hidden: list[Host] = []
        try:
            for node in self.nodes.values() if congestion else ():
                self._choose_congestion(node, congestion)
            for one, other in links:
                self._attach(self.grid.link(one, other, mtu=mtu))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def daemon(self, node: Node, *argv: Word, env: Mapping[str, str] | None = None) -> Process:
        """Start a program whose CPU and memory count as the overlay's."""
        self.daemons.append(node.host.spawn(Path(str(argv[0])).name, *argv, env=env))
        return self.daemons[-1]

    def helper(self, node: Node, *argv: Word) -> Process:
        """Start a program that only measures, or stands in for something."""
        return node.host.spawn(Path(str(argv[0])).name, *argv)

    def logs(self) -> str:
        """The end of every log, for the report of a failure."""
        return self.grid.logs()

    def keep_logs(self, directory: Path, result: Mapping[str, object]) -> None:
        """Copy all logs as they are now, and the run's numbers so far: why was it slow?"""
        directory.mkdir(parents=True)
        for node in self.nodes.values():
            for process in node.host.processes:
                shutil.copy(process.log, directory / f"{node.name}-{process.log.name}")
        (directory / "result.json").write_text(json.dumps(result, indent=1) + "\n")

    def close(self) -> None:
        """Stop everything, remove everything. May be called twice."""
        # Politely, as some keep files elsewhere (WireGuard's sockets).
        for process in self.daemons:
            process.signal(signal.SIGTERM)
        for process in self.daemons:
            end(process, within=2.0)
        self.grid.close()
        for host in self._hidden:
            host.close()
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

    def _attach(self, link: Link) -> None:
        for side in link.ends:
            far = link.other(side.host)
            self.nodes[side.host.name].attachments.append(
                Attachment(link.number, side.device, str(side.ipv4), far.host.name, str(far.ipv4))
            )

    def _link(self, number: int) -> Link:
        return self.grid.links[number - 1]

    def cut(self, link: int) -> None:
        """From now on, whatever arrives over the link is lost. The carrier stays: nobody is told."""
        self._link(link).cut()

    def mend(self, link: int) -> None:
        """Undo `cut`."""
        self._link(link).heal()

    def shape(self, link: int, mbit: int) -> None:
        """Limit the rate of a link, both ways."""
        self._link(link).shape(mbit)

    def segment(self, link: int) -> None:
        """No super-packet passes the link: its packets travel alone, and may be merged at the end."""
        for side in self._link(link).ends:
            side.host.run(
                "ethtool", "-K", side.device,
                "tso", "off", "gso", "off", "tx-udp-segmentation", "off", "gro", "on",
            )  # fmt: skip

    def emulate(
        self, link: int, linkem: Path, *, delay_ms: float, loss_percent: float, rate_mbit: float
    ) -> None:
        """Put a hop with delay, loss and a rate (helpers/linkem.c) in the middle of a link."""
        middle = Host(f"em{link}", self.grid.id)
        self._hidden.append(middle)
        ends = self._link(link).ends
        ends[0].host.run("ip", "link", "del", ends[0].device)
        for side, device in zip(ends, ("e0", "e1"), strict=True):
            side.host.run(
                "ip", "link", "add", side.device, "mtu", self.mtu, "type", "veth",
                "peer", "name", device, "mtu", self.mtu, "netns", middle.namespace.pid,
            )  # fmt: skip
            side.host.run("ip", "addr", "add", f"{side.ipv4}/24", "dev", side.device)
            for host, name in ((side.host, side.device), (middle, device)):
                segment(host, name)
                host.run("ip", "link", "set", name, "up")
        middle.spawn("linkem", linkem, "e0", "e1", delay_ms, loss_percent, rate_mbit)
        time.sleep(0.3)

    def busiest(self, node: Node, seconds: float = 1.0) -> int:
        """The link over which a node sends most at this moment."""

        def sent() -> dict[int, int]:
            numbers = (each.link for each in node.attachments)
            return {number: self._link(number).end(node.host).bytes("tx") for number in numbers}

        before = sent()
        time.sleep(seconds)
        after = sent()
        return max(after, key=lambda link: after[link] - before[link])


def end(process: Process, within: float = 1.0) -> None:
    """Ask a program to end; kill it after `within` seconds."""
    with contextlib.suppress(LabError):
        process.stop(within)
    process.kill()


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
    waiting = [process.pid for process in processes if process.is_running]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def wait_for_device(node: Node, device: str, within: float = 10.0) -> None:
    """Wait until a network device exists and is up. Raises LabError."""
    flags = Path(f"/proc/{node.host.namespace.pid}/root/sys/class/net/{device}/flags")
    until(
        f"{node.name} has a device {device} that is up",
        lambda: int(flags.read_text(), 16) & 1,  # IFF_UP
        within=within,
    )
