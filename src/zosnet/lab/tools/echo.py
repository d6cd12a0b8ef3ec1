"""Answers everything it gets, over UDP and TCP, at one port of all addresses.

echo.py PORT
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys


def listening(kind: int, port: int) -> socket.socket:
    each = socket.socket(socket.AF_INET6, kind)
    each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    each.bind(("::", port))
    if kind == socket.SOCK_STREAM:
        each.listen(64)
    return each


def main() -> None:
    # As the probe's: the far host answers at once.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    port = int(sys.argv[1])
    datagrams, accepting = listening(socket.SOCK_DGRAM, port), listening(socket.SOCK_STREAM, port)
    sys.stdout.write('{"event": "ready"}\n')
    sys.stdout.flush()
    streams: list[socket.socket] = []
    while True:
        for ready in select.select([datagrams, accepting, *streams], [], [])[0]:
            try:
                if ready is datagrams:
                    data, source = datagrams.recvfrom(65_536)
                    datagrams.sendto(data, source)
                elif ready is accepting:
                    streams.append(accepting.accept()[0])
                elif data := ready.recv(65_536):
                    ready.sendall(data)
                else:
                    streams.remove(ready)
                    ready.close()
            except OSError:
                if ready in streams:
                    streams.remove(ready)
                    ready.close()


if __name__ == "__main__":
    main()
