"""How long is nobody home when a relay dies? Two paths, a beat of datagrams, and the answer in milliseconds.

Run it as root: python examples/failover.py
"""

from __future__ import annotations

import sys

from zosnet.lab import Grid, until
from zosnet.lab.measure import Beat
from zosnet.lab.two_paths import TwoPaths, start


def main() -> None:
    with Grid() as grid:
        paths = TwoPaths(grid, delay_ms=5)
        start(list(paths.nodes.values()))
        paths.prefer_better()
        paths.nodes["b"].host.tool("echo", 7).record("ready")
        beat = paths.nodes["a"].host.tool("probe", paths.nodes["b"].address, 7, 2)
        until("100 answers have come", lambda: len(Beat.of(beat.records()).replies) > 100)
        paths.nodes["r1"].kill()
        before = len(Beat.of(beat.records()).replies)
        until("200 more have come", lambda: len(Beat.of(beat.records()).replies) > before + 200)
        beat.stop()
        sys.stdout.write(f"silence after the kill: {Beat.of(beat.records()).longest():.0f} ms\n")


if __name__ == "__main__":
    main()
