"""Takes one TCP connection and writes what comes to a file.

    receive.py FILE PORT

Accepts exactly one connection and then closes its listener: were there a second one, it would be refused.
Prints `ready`, `accepted`, `progress` (bytes so far), and `done` with the longest silence in between; then
answers `ok N`. A lost connection ends it with `broken` and status 1. FILE may be `/dev/null`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

CHUNK = 1 << 20
GRAIN = 0.02
"""Seconds between two `progress` lines."""


def say(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, "at": time.monotonic(), **facts}) + "\n")
    sys.stdout.flush()


def accepted(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", port))
    listener.listen(1)
    say("ready")
    stream, _ = listener.accept()
    listener.close()
    local, remote = stream.getsockname(), stream.getpeername()
    say("accepted", local_port=local[1], remote_port=remote[1], inode=os.fstat(stream.fileno()).st_ino)
    return stream


def drain(stream: socket.socket, target: int) -> tuple[int, float]:
    buffer = memoryview(bytearray(CHUNK))
    total, silence, last, said = 0, 0.0, time.monotonic(), 0.0
    while got := stream.recv_into(buffer):
        now = time.monotonic()
        silence, last = max(silence, now - last), now
        written = 0
        while written < got:
            written += os.write(target, buffer[written:got])
        total += got
        if now - said >= GRAIN:
            said = now
            say("progress", received=total)
    return total, silence


def main() -> int:
    target = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)
    stream = accepted(int(sys.argv[2]))
    try:
        total, silence = drain(stream, target)
        say("done", received=total, silence=silence)
        stream.sendall(f"ok {total}".encode())
        stream.close()
    except OSError as error:
        say("broken", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
