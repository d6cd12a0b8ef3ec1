"""A wire with delay: passes frames between two interfaces, each after a fixed time.

    delay.py DEVICE DEVICE MILLISECONDS

A line `{"delay_ms": 5}` on stdin changes the delay for frames that arrive from then on; order is kept. Frames
come and go with their virtio header (PACKET_VNET_HDR), so a 64 KB segmentation train passes as one: that is
what lets a loop in Python carry gigabits. On links whose ends have segmentation switched off every frame is
single, and the loop is good for 500 Mbit/s on an idle machine, half of that beside other work.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import select
import socket
import sys
import time

SOL_PACKET = 263
PACKET_VNET_HDR = 15
PACKET_QDISC_BYPASS = 20
PACKET_IGNORE_OUTGOING = 23
ETH_P_ALL = 0x0003
BATCH = 64
BUFFERED_BYTES = 64 << 20
"""What may wait in one direction; beyond it frames are dropped, as by any full queue."""


def opened(device: str) -> socket.socket:
    each = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    for option in (PACKET_VNET_HDR, PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING):
        each.setsockopt(SOL_PACKET, option, 1)
    for buffer in (socket.SO_RCVBUF + 25, socket.SO_SNDBUF + 25):  # SO_RCVBUFFORCE 33, SO_SNDBUFFORCE 32
        each.setsockopt(socket.SOL_SOCKET, buffer, 32 << 20)
    each.bind((device, ETH_P_ALL))
    each.setblocking(False)
    return each


class Direction:
    """One way through the wire: frames wait in the order in which they came."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.waiting: collections.deque[tuple[float, bytes]] = collections.deque()
        self.held = 0
        self.dropped = 0

    def take(self, delay: float) -> None:
        for _ in range(BATCH):
            try:
                frame = self.source.recv(70_000)
            except BlockingIOError:
                return
            if self.held + len(frame) > BUFFERED_BYTES:
                self.dropped += 1
                continue
            self.held += len(frame)
            self.waiting.append((time.monotonic() + delay, frame))

    def give(self, now: float) -> None:
        while self.waiting and self.waiting[0][0] <= now:
            _, frame = self.waiting.popleft()
            self.held -= len(frame)
            try:
                self.target.send(frame)
            except OSError:
                self.dropped += 1  # the far interface is down, or its queue is full


def main() -> None:
    # A wire waits for no processor: what it adds beyond its delay would be taken for the nodes'.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    first, second, delay = opened(sys.argv[1]), opened(sys.argv[2]), float(sys.argv[3]) / 1000
    ways = {first.fileno(): Direction(first, second), second.fileno(): Direction(second, first)}
    sys.stdout.write('{"event": "ready"}\n')
    sys.stdout.flush()
    orders = b""
    while True:
        due = [way.waiting[0][0] for way in ways.values() if way.waiting]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        for readable in select.select([0, *ways], [], [], wait)[0]:
            if readable:
                ways[readable].take(delay)
                continue
            got = os.read(0, 4096)
            if not got:
                return  # the lab has gone
            *lines, orders = (orders + got).split(b"\n")
            for line in lines:
                delay = float(json.loads(line)["delay_ms"]) / 1000
        now = time.monotonic()
        for way in ways.values():
            way.give(now)


if __name__ == "__main__":
    main()
