"""One TCP connection that carries one file, and proof that it stayed the same one.

    send.py FILE ADDRESS PORT [MBIT]

Connects once; never again. Prints `connected` and, at the end, `done`, both with the socket's two ports
and its inode, which the kernel gives no second socket; `progress` on the way, and at the end how many
bytes were never acknowledged. With MBIT the stream is kept at that rate. A lost connection ends it with
`broken` and status 1.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import sys
import termios
import time

CHUNK = 256 * 1024
PATIENCE = 60.0
"""Seconds a send may block before the stream counts as broken: longer than any failover worth its name."""


def say(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, "at": time.monotonic(), **facts}) + "\n")
    sys.stdout.flush()


def identity(stream: socket.socket) -> dict[str, object]:
    local, remote = stream.getsockname(), stream.getpeername()
    inode = os.fstat(stream.fileno()).st_ino
    return {"local_port": local[1], "remote_port": remote[1], "inode": inode}


def unacknowledged(stream: socket.socket) -> int:
    value = fcntl.ioctl(stream.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", value)[0])


def transfer(stream: socket.socket, path: str, mbit: float) -> int:
    began, sent, said = time.monotonic(), 0, 0.0
    with open(path, "rb") as file:  # noqa: PTH123 (a script of its own, no need of more)
        size = os.fstat(file.fileno()).st_size
        while sent < size:
            if mbit and (ahead := sent * 8 / (mbit * 1e6) - (time.monotonic() - began)) > 0:
                time.sleep(ahead)
            sent += os.sendfile(stream.fileno(), file.fileno(), sent, min(CHUNK, size - sent))
            if time.monotonic() - said > 0.05:
                said = time.monotonic()
                say("progress", sent=sent)
    return sent


def main() -> int:
    path, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    mbit = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    stream = socket.create_connection((address, port), 10)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(PATIENCE), 0))
    stream.settimeout(None)
    with contextlib.suppress(OSError):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    say("connected", **identity(stream))
    try:
        sent = transfer(stream, path, mbit)
        same = identity(stream)  # now, because the receiver closes as soon as it has all
        stream.shutdown(socket.SHUT_WR)
        stream.settimeout(PATIENCE)
        verdict = stream.recv(100).decode()
        say("done", sent=sent, verdict=verdict, queued=unacknowledged(stream), **same)
    except OSError as error:
        say("broken", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
