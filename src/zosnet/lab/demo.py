"""The demo: four nodes, two unequal paths, a large file, and the better path cut under it.

    python -m zosnet.lab.demo [--mib N]

It builds a grid in network namespaces, shows it, pings every node from every other, and moves a file over one
TCP connection through the overlay. On the way the better path goes silently dead. The file must arrive whole,
over the same connection, and nothing may be left on the machine. The last line is `demo: OK` and the
status 0; otherwise it says what failed, and the status is that of the fault (1 the demo, 2 usage, 3 this
machine).
"""

from __future__ import annotations

import argparse
import itertools
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from zosnet.lab.demo_view import View
from zosnet.lab.errors import LabError
from zosnet.lab.grid import Grid
from zosnet.lab.leftovers import Surroundings, processes_in, processes_of
from zosnet.lab.measure import Beat, quantile
from zosnet.lab.node import Node, Program
from zosnet.lab.payload import Payload, fits_in_memory
from zosnet.lab.programs import Zosnet, api
from zosnet.lab.transfer import Arrived, Transfer
from zosnet.lab.two_paths import NAMES, TwoPaths, start
from zosnet.lab.wait import until
from zosnet.model.errors import HostError, UsageError, ZosnetError

SLOW_DELAY_MS = 5.0
SLOW_MBIT = 400.0
CUT_AT = 0.4
"""The share of the file after which the better path dies."""
SILENT_CUT_LIMIT_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Story:
    """What happened to the file."""

    arrived: Arrived
    before: str
    after: str
    cut_at: float
    beat_ms: float
    """The longest silence of a small datagram every 5 ms beside the file."""

    @property
    def outage_ms(self) -> float:
        """From the cut to the first byte on the other path."""
        first = self.arrived.silences(self.cut_at)[:1]
        return max(0.0, (first[0].ended - self.cut_at) * 1000) if first else 0.0

    @property
    def later_ms(self) -> float:
        """The longest silence once bytes came again."""
        return self.arrived.longest_silence(self.resumed)

    @property
    def resumed(self) -> float:
        return self.cut_at + self.outage_ms / 1000


def neighbours(nodes: Sequence[Node]) -> dict[str, list[str]]:
    """Each node's links with their cost, as the node itself sees them."""
    names = {str(node.address): node.name for node in nodes}
    seen: dict[str, list[str]] = {}
    for node in nodes:
        if not isinstance(node.program, Zosnet):
            seen[node.name] = [end.device.partition("-")[0] for end in node.host.ends]
            continue
        peers = api(node).get("/v1/peers")["peers"]
        seen[node.name] = sorted(
            f"{names.get(peer['address'], '?')} {peer['rtt_ms'] or 0:.1f} ms"
            for peer in peers
            if peer["link"]
        )
    return seen


def ping_all(nodes: Sequence[Node]) -> list[tuple[str, str, float, float]]:
    """(from, to, median ms, worst ms) of ten pings for each pair."""
    rows = []
    for one, other in itertools.combinations(nodes, 2):
        said = one.host.run("ping", "-n", "-c", 10, "-i", "0.02", "-W", 1, other.address).stdout
        times = [float(text) for text in re.findall(r"time=([\d.]+) ms", said)]
        if len(times) < 10:
            raise LabError(f"{10 - len(times)} of 10 pings from {one.name} to {other.name} were lost")
        rows.append((one.name, other.name, quantile(times, 0.5), max(times)))
    return rows


def move(ways: TwoPaths, size: int, view: View) -> Story:
    """Move the file and cut the better path in the middle. Raises LabError for anything less than whole."""
    a, b = ways.nodes["a"], ways.nodes["b"]
    in_memory = fits_in_memory(2 * size)
    source = Payload(a.host, "file", size, in_memory=in_memory)
    target = Payload(b.host, "file", size, in_memory=in_memory)
    sent = source.fill(size)
    view.file(size, sent, "memory" if in_memory else "/var/tmp")
    b.host.tool("echo", 7).record("ready")
    beat = a.host.tool("probe", b.address, 7, 5)
    beat.record("reply")
    transfer = Transfer(a.host, source.path, b.host, target.path, b.address)
    with view.progress(size) as show:
        before = ways.carried()
        follow(transfer, int(size * CUT_AT), show)
        first = ways.busier(before)
        first.cut()
        cut_at, before = time.monotonic(), ways.carried()
        show(transfer.received(), f"{first} cut")
        follow(transfer, size, show)
        arrived = transfer.finish()
    second = ways.busier(before)
    beat.stop()
    got = target.digest()
    source.close()
    target.close()
    if got != sent:
        raise LabError(f"the file arrived damaged: SHA-256 {got}, not {sent}")
    if first is not ways.better or second is not ways.worse:
        raise LabError(f"the file went over {first} and then {second}, not over {ways.better}, {ways.worse}")
    story = Story(
        arrived,
        "a–r1–b",
        "a–r2–b",
        cut_at,
        Beat.of(beat.records()).longest(since=cut_at),
    )
    if story.outage_ms > SILENT_CUT_LIMIT_MS:
        raise LabError(f"after the cut nothing arrived for {story.outage_ms:.0f} ms")
    return story


def follow(transfer: Transfer, up_to: int, show: Callable[[int, str], None]) -> None:
    """Show the progress until so many bytes have arrived, or the transfer has ended by itself."""

    def far_enough() -> bool:
        received = transfer.received()
        show(received, "")
        return received >= up_to or not transfer.is_running

    until(f"{up_to >> 20} MiB have arrived", far_enough, within=120.0, every=0.02)


def stop(grid: Grid) -> None:
    """Every node ends cleanly when told to: status 0, no traceback, no device left."""
    for node in grid.nodes.values():
        status = node.stop()
        if status != 0:
            raise LabError(f"{node} ended with status {status}: {node.log()[-800:]}")
        left = set(node.host.interfaces()) - {"lo"} - {end.device for end in node.host.ends}
        if left:
            raise LabError(f"{node} left {', '.join(sorted(left))}")
    grid.check_logs()


def run(size: int, view: View, program: Program | None = None) -> None:
    """The whole demo. Raises ZosnetError for whatever goes wrong."""
    before = Surroundings.now()
    began = time.monotonic()
    with Grid() as grid:
        ways = TwoPaths(grid, delay_ms=SLOW_DELAY_MS, rate_mbit=SLOW_MBIT, program=program)
        inodes = [host.namespace.inode for host in grid.hosts.values()]
        view.step(f"four hosts and four links in {time.monotonic() - began:.1f} s; starting the nodes")
        nodes = [ways.nodes[name] for name in NAMES]
        view.step(f"every node reached every other after {start(nodes):.1f} s")
        ways.prefer_better()
        pings = ping_all(nodes)
        view.map(nodes, neighbours(nodes), SLOW_DELAY_MS, SLOW_MBIT)
        view.pings(pings)
        story = move(ways, size, view)
        view.story(
            [
                ("before the cut", story.before, story.arrived.mbit(until=story.cut_at)),
                ("after it", story.after, story.arrived.mbit(since=story.resumed)),
                ("the whole file", "", story.arrived.mbit()),
            ],
            outage_ms=story.outage_ms,
            later_ms=story.later_ms,
            beat_ms=story.beat_ms,
            port=story.arrived.port,
        )
        stop(grid)
    left = before.added(Surroundings.now())
    left += [f"process {pid}" for pid in {*processes_of(grid.id), *processes_in(inodes)}]
    if left:
        raise LabError(f"left behind: {'; '.join(left)}")
    view.step(f"all stopped, nothing left behind; {time.monotonic() - began:.0f} s in all")


def interrupted(number: int, frame: FrameType | None) -> None:
    raise LabError(f"stopped by {signal.Signals(number).name}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m zosnet.lab.demo",
        description="Four nodes, two paths, a file, and the better path cut under it. Needs root.",
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the file, in MiB (1024)")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, interrupted)
    view = View()
    try:
        if chosen.mib < 64:
            raise UsageError("--mib must be at least 64: less has gone before the path can be cut")
        run(chosen.mib << 20, view)
    except KeyboardInterrupt:
        view.failed("interrupted", "", "")
        return 1
    except ZosnetError as error:
        view.failed(str(error), error.remedy, "\n".join(getattr(error, "__notes__", ())))
        return {UsageError: 2, HostError: 3}.get(type(error), 1)
    view.ok()
    return 0


if __name__ == "__main__":
    sys.exit(main())
