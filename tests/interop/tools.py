"""Small programs that the tests run inside a namespace (standard library only).

tools.py sink ADDRESS PORT              accept one connection, read it to its end, print what came as JSON
tools.py source ADDRESS PORT BYTES MBIT send that much, at that rate (0: as fast as it goes), print its hash
tools.py http METHOD URL                one request with the body that comes on stdin, print status and JSON
tools.py tap PORT ADDRESS PORT          pass links on from here to there; say on stderr how long a payload of
                                        a data packet is, when it is the longest so far
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

BLOCK = 1 << 16


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def sink(address: str, port: int) -> None:
    with socket.create_server((address, port), family=socket.AF_INET6) as listener:
        say("listening")
        listener.settimeout(60)
        connection, _ = listener.accept()
    digest, total, gap = hashlib.sha256(), 0, 0.0
    last = time.monotonic()
    with connection:
        connection.settimeout(60)
        while data := connection.recv(BLOCK):
            now = time.monotonic()
            gap, last = max(gap, now - last), now
            digest.update(data)
            total += len(data)
        connection.sendall(b"done")
    say(json.dumps({"bytes": total, "sha256": digest.hexdigest(), "longest_gap": gap}))


def source(address: str, port: int, size: int, mbit: float) -> None:
    digest, sent = hashlib.sha256(), 0
    rate = mbit * 1e6 / 8
    noise = random.Random(size).randbytes(BLOCK + 4096)
    with socket.create_connection((address, port), 20) as connection:
        connection.settimeout(60)
        start = time.monotonic()
        while sent < size:
            at = sent // BLOCK % 4096  # another block each time, so that a lost or doubled one shows
            block = noise[at : at + min(BLOCK, size - sent)]
            connection.sendall(block)
            digest.update(block)
            sent += len(block)
            if rate and (ahead := sent / rate - (time.monotonic() - start)) > 0:
                time.sleep(ahead)
        connection.shutdown(socket.SHUT_WR)
        acknowledged = connection.recv(16) == b"done"
    say(json.dumps({"bytes": sent, "sha256": digest.hexdigest(), "acknowledged": acknowledged}))


def http(method: str, url: str) -> None:
    body = sys.stdin.read().encode() or None
    request = urllib.request.Request(url, body, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    try:
        value = json.loads(text) if text else None
    except ValueError:
        value = text
    say(json.dumps({"status": status, "body": value}))


def packet_length(data: bytes, at: int) -> int:
    """Bytes of the packet of a Mycelium link that starts at `at`; more than there are without a whole header.

    A header (4) with the type in its second byte; then Babel's (4), which ends with the length (2) of what
    follows, or that of a data packet (36), with the length of the payload in its second and third byte.
    """
    if len(data) - at < 8:
        return 8
    if data[at + 1] == 0:
        return 40 + int.from_bytes(data[at + 5 : at + 7])
    return 8 + int.from_bytes(data[at + 6 : at + 8])


class Tap:
    """Passes links on and looks at the lengths of what comes along."""

    def __init__(self) -> None:
        self._longest = 0
        self._lock = threading.Lock()

    def follow(self, source: socket.socket, target: socket.socket) -> None:
        """Pass one direction on, until it ends."""
        rest = b""
        while data := source.recv(BLOCK):
            target.sendall(data)
            rest += data
            at = 0
            while at + (length := packet_length(rest, at)) <= len(rest):
                if rest[at + 1] == 0:
                    self._saw(length - 40)
                at += length
            rest = rest[at:]
        target.shutdown(socket.SHUT_WR)

    def _saw(self, payload: int) -> None:
        with self._lock:
            if payload > self._longest:
                self._longest = payload
                sys.stderr.write(f"{payload}\n")
                sys.stderr.flush()


def tap(port: int, address: str, far_port: int) -> None:
    seen = Tap()
    with socket.create_server(("127.0.0.1", port)) as listener:
        sys.stderr.write("listening\n")
        sys.stderr.flush()
        while True:
            near, _ = listener.accept()
            far = socket.create_connection((address, far_port), 20)
            far.settimeout(None)
            for ends in ((near, far), (far, near)):
                threading.Thread(target=seen.follow, args=ends, daemon=True).start()


def main(argv: list[str]) -> None:
    match argv:
        case ["sink", address, port]:
            sink(address, int(port))
        case ["source", address, port, size, mbit]:
            source(address, int(port), int(size), float(mbit))
        case ["http", method, url]:
            http(method, url)
        case ["tap", port, address, far_port]:
            tap(int(port), address, int(far_port))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
