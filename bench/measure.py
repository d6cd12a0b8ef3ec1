"""What one run of a tool says: iperf3, ping, /proc. Values in, values out; no overlay is known here."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.netlab import PROBE, TICKS_PER_SECOND, Lab, Node, Word, end, family
from zosnet.lab.errors import LabError

IPERF_PORT = 5201


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds: of the overlay's daemons (all threads), and of the whole machine."""

    user: float
    system: float
    machine: float

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(self.user - other.user, self.system - other.system, self.machine - other.machine)


@dataclass(frozen=True, slots=True)
class Stream:
    """A TCP run. The three costs are CPU seconds a gigabyte; None when too little went through to say."""

    mbps: float
    retransmits: int
    user_gb: float | None
    system_gb: float | None
    machine_gb: float | None

    @property
    def daemon_gb(self) -> float | None:
        return None if self.user_gb is None or self.system_gb is None else self.user_gb + self.system_gb


@dataclass(frozen=True, slots=True)
class Datagrams:
    """A UDP run: datagrams a second offered and received, and the loss in per cent."""

    offered: float
    received: float
    loss: float


@dataclass(frozen=True, slots=True)
class Echo:
    """A row of pings; round-trip times in ms, loss in per cent."""

    p50: float
    p99: float
    longest: float
    loss: float


def cpu(lab: Lab) -> Cpu:
    """CPU time used so far. /proc/PID/stat counts all the threads of a process, the dead ones too."""
    user = system = 0
    for pid in family(lab.daemons):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user += int(fields[11])
            system += int(fields[12])
    with Path("/proc/stat").open() as file:
        spent = [int(word) for word in file.readline().split()[1:]]
    busy = sum(spent) - spent[3] - spent[4]  # but idle and waiting for a disk
    return Cpu(user / TICKS_PER_SECOND, system / TICKS_PER_SECOND, busy / TICKS_PER_SECOND)


def rss_mb(lab: Lab) -> float | None:
    """Resident memory of the node that uses most, in MB (2**20). None without daemons."""
    per_node: dict[str, float] = {}
    for daemon in lab.daemons:
        for pid in family([daemon]):
            with contextlib.suppress(OSError):
                found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
                if found:
                    node = daemon.name.partition("/")[0]
                    per_node[node] = per_node.get(node, 0.0) + int(found[1]) / 1024
    return max(per_node.values(), default=None)


def _iperf(
    lab: Lab, client: Node, server: Node, address: str, seconds: float, *more: str
) -> tuple[dict[str, Any], Cpu]:
    """Run iperf3 once; its JSON, and the CPU used meanwhile. Raises LabError with iperf3's words."""
    listening = lab.helper(server, "iperf3", "-s", "-1", "-p", IPERF_PORT, "--forceflush")
    time.sleep(0.15)
    words: list[Word] = [
        "iperf3",
        "-c",
        address,
        "-p",
        IPERF_PORT,
        "-t",
        seconds,
        "-J",
        "--connect-timeout",
        3000,
        *more,
    ]
    before = cpu(lab)
    try:
        done = subprocess.run(
            client.command(*words), capture_output=True, text=True,
            timeout=seconds + 20, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LabError(f"iperf3 did not end within {seconds + 20:g} s") from None
    finally:
        used = cpu(lab) - before
        end(listening)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise LabError(f"iperf3: {done.stderr[-300:] or done.stdout[-300:]}") from None
    if "error" in report:
        raise LabError(f"iperf3: {report['error']}")
    return report["end"], used


def tcp(
    lab: Lab,
    client: Node,
    server: Node,
    address: str,
    seconds: float,
    *,
    streams: int = 1,
    reverse: bool = False,
) -> Stream:
    """Bulk TCP from client to server (`reverse`: the other way), `streams` connections at once."""
    more = [*(["-P", str(streams)] if streams > 1 else []), *(["-R"] if reverse else [])]
    totals, used = _iperf(lab, client, server, address, seconds, *more)
    gigabytes = totals["sum_received"]["bytes"] / 1e9
    per_gb = 1 / gigabytes if gigabytes > 0.001 else None
    return Stream(
        mbps=totals["sum_received"]["bits_per_second"] / 1e6,
        retransmits=totals.get("sum_sent", {}).get("retransmits", 0),
        user_gb=used.user * per_gb if per_gb else None,
        system_gb=used.system * per_gb if per_gb else None,
        machine_gb=used.machine * per_gb if per_gb else None,
    )


def udp(
    lab: Lab, client: Node, server: Node, address: str, seconds: float, *, size: int, pps: int = 0
) -> Datagrams:
    """Datagrams of `size` payload bytes, `pps` a second; 0 is as fast as the sender can."""
    rate = str(pps * size * 8)
    totals, _ = _iperf(lab, client, server, address, seconds, "-u", "-b", rate, "-l", str(size))
    total = totals["sum"]
    sent, lost = total.get("packets", 0), total.get("lost_packets", 0)
    return Datagrams(
        sent / total["seconds"], (sent - lost) / total["seconds"], 100.0 * lost / sent if sent else 100.0
    )


@dataclass(frozen=True, slots=True)
class SmallPackets:
    """The largest rate with at most 1 % loss, and the largest delivered at any offered rate."""

    loss_free: float
    delivered: float


def small_packets(
    lab: Lab,
    client: Node,
    server: Node,
    address: str,
    *,
    size: int = 100,
    seconds: float = 1.0,
    steps: int = 5,
) -> SmallPackets:
    """A flood first, then a bisection (on a logarithmic scale) between 5000/s and what the flood offered."""
    tolerated = 1.0
    flood = udp(lab, client, server, address, seconds, size=size)
    delivered = flood.received
    loss_free = flood.received if flood.loss <= tolerated else 0.0
    high = min(400_000.0, flood.offered * 1.02)
    low = min(5000.0, high / 2)
    while steps and high / low > 1.08:
        steps -= 1
        middle = (low * high) ** 0.5
        got = udp(lab, client, server, address, seconds, size=size, pps=int(middle))
        delivered = max(delivered, got.received)
        if got.loss > tolerated:
            high = middle
            continue
        loss_free, low = max(loss_free, got.received), middle
        if got.offered < middle * 0.93:  # the sender itself is the limit
            break
    return SmallPackets(loss_free, delivered)


def ping(node: Node, address: str, *, count: int = 200, interval: float = 0.01) -> Echo:
    """Raises LabError when nothing came back at all."""
    words = ("ping", "-n", "-i", interval, "-c", count, "-W", 1, address)
    text = node.run(*words, check=False, timeout=count * (interval + 0.5) + 20)
    times = sorted(float(word) for word in re.findall(r"time=([\d.]+) ms", text))
    if not times:
        raise LabError(f"no echo reply from {address}: {text[-200:]}")
    last = len(times) - 1
    loss = 100.0 * (count - len(times)) / count
    return Echo(times[len(times) // 2], times[min(last, int(len(times) * 0.99))], times[last], loss)


def first_ping(node: Node, address: str, limit: float = 40.0) -> float:
    """The time of day of the first echo reply, asked for every 10 ms. Raises LabError when none comes."""
    text = node.run(sys.executable, PROBE, "first-ping", address, limit, timeout=limit + 10)
    answer = text.strip().splitlines()[-1] if text.strip() else "none"
    if answer == "none":
        raise LabError(f"no echo reply from {address} in {limit:g} s")
    return float(answer)
