"""How long packets wait behind one stream where the interface is slow.

    python -m bench.queue [--mbit 20 100 1000] [--runs 3]

Two real nodes in namespaces, a link over `udp://` and one over `tcp://`, whose interfaces have a rate and a
queue of a second: whatever a node hands over at once waits there. A file at full speed, and pings beside it.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from zosnet.lab import Grid
from zosnet.lab.node import Wishes
from zosnet.lab.transfer import moved
from zosnet.lab.two_paths import start
from zosnet.lab.wait import until

SECONDS, PINGS, QUEUE_MS = 5, 60, 1000.0


@dataclass(frozen=True, slots=True)
class Waits:
    """Pings beside the stream, in ms, and what the stream carried, in Mbit/s."""

    p50: float
    most: float
    mbit: float


def measure(proto: str, mbit: float) -> Waits:
    """One stream over one link of this rate."""
    with Grid() as grid:
        for name in ("a", "b"):
            grid.host(name)
        link = grid.link("a", "b")
        a, b = grid.node("a"), grid.node("b", wishes=Wishes(peers=[link.url("a", proto)]))
        start([a, b])
        for end in link.ends:
            end.shape(mbit, QUEUE_MS)
        size = int(mbit * 1e6 / 8 * SECONDS)
        transfer, *_ = moved(a, b, size)
        until("a fifth has arrived", lambda: transfer.received() > size // 5)
        said = a.host.run("ping", "-n", "-c", PINGS, "-i", "0.03", b.address, check=False)
        times = [float(ms) for ms in re.findall(r"time=([\d.]+)", str(said))]
        return Waits(statistics.median(times), max(times), transfer.finish().mbit())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.queue", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--mbit", type=float, nargs="+", default=[20.0, 100.0, 1000.0])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    print("| link | Mbit/s | ping p50 ms | most | the stream's Mbit/s |\n|---|---|---|---|---|")
    for proto in ("udp", "tcp"):
        for mbit in options.mbit:
            runs = [measure(proto, mbit) for _ in range(options.runs)]
            p50, carried = (
                statistics.median(values)
                for values in ([run.p50 for run in runs], [run.mbit for run in runs])
            )
            most = max(run.most for run in runs)
            print(f"| {proto} | {mbit:.0f} | {p50:.1f} | {most:.1f} | {carried:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
