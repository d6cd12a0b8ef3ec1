"""A steady beat of numbered datagrams to an echo server, and when each came back.

    probe.py ADDRESS PORT INTERVAL_MS

Prints `{"event": "reply", "seq", "sent", "got"}` for each answer, times on the monotonic clock, which all
hosts of a lab share; at SIGTERM `{"event": "end", "sent": N}`. A send that fails (no route yet) counts as
sent and lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time

FORMAT = struct.Struct("!Id52x")


def opened(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    beat = socket.socket(family, socket.SOCK_DGRAM)
    beat.setblocking(False)
    beat.connect((address, port))
    return beat


def collect(beat: socket.socket, wait: float) -> list[str]:
    lines: list[str] = []
    while select.select([beat], [], [], wait)[0]:
        wait = 0.0
        try:
            seq, sent = FORMAT.unpack(beat.recv(2048))
        except (OSError, struct.error):
            continue  # an ICMP error of an earlier datagram
        lines.append(json.dumps({"event": "reply", "seq": seq, "sent": sent, "got": time.monotonic()}))
    return lines


def main() -> None:
    # What is measured is the way there and back, not how long this program waits for a processor.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    address, port, interval = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    beat = opened(address, port)
    sys.stdout.write(json.dumps({"event": "ready", "at": time.monotonic()}) + "\n")
    number, due = 0, time.monotonic()
    while not ended:
        now = time.monotonic()
        if now >= due:
            try:
                beat.send(FORMAT.pack(number, now))
            except OSError:
                pass
            number += 1
            due = max(due + interval, now)
        if lines := collect(beat, max(0.0, due - time.monotonic())):
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
    lines = [*collect(beat, 0.2), json.dumps({"event": "end", "sent": number})]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
