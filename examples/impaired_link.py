"""A link with 20 ms, 50 Mbit/s and one packet in a hundred lost, without any node: what does TCP make of it?

Run it as root: python examples/impaired_link.py
"""

from __future__ import annotations

import sys

from zosnet.lab import Grid
from zosnet.lab.payload import Payload
from zosnet.lab.transfer import Transfer


def main() -> None:
    with Grid(["a", "b"]) as grid:
        link = grid.link("a", "b", delay_ms=20, rate_mbit=50, segmented=True)
        link.lose(0.01)
        source = Payload(grid["a"], "sent", 4 << 20, in_memory=True)
        target = Payload(grid["b"], "came", 4 << 20, in_memory=True)
        digest = source.fill(4 << 20)
        arrived = Transfer(grid["a"], source.path, grid["b"], target.path, link.end("b").ipv6).finish()
        whole = "whole" if target.digest() == digest else "DAMAGED"
        sys.stdout.write(f"4 MiB arrived {whole} at {arrived.mbit():.1f} Mbit/s\n")


if __name__ == "__main__":
    main()
