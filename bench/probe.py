"""Small probes that run inside a namespace, each as a program of its own (standard library only)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def any_address(address: str) -> str:
    return "::" if ":" in address else "0.0.0.0"


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total >> 16) + (total & 0xFFFF)
    folded: int = total + (total >> 16)
    return ~folded & 0xFFFF


def first_ping(address: str, limit: float) -> None:
    """Send an echo request every 10 ms; print the time of day of the first reply, or `none`."""
    six = ":" in address
    ident = os.getpid() & 0xFFFF
    protocol = socket.getprotobyname("ipv6-icmp" if six else "icmp")
    with socket.socket(family_of(address), socket.SOCK_RAW, protocol) as sock:
        end = time.monotonic() + limit
        sequence = 0
        while time.monotonic() < end:
            sequence = (sequence + 1) & 0xFFFF
            request = struct.pack("!BBHHH", 128 if six else 8, 0, 0, ident, sequence)
            if not six:
                request = struct.pack("!BBHHH", 8, 0, checksum(request), ident, sequence)
            with contextlib.suppress(OSError):  # no device or no route yet
                sock.sendto(request, (address, 0))
            if _echo_reply(sock, six, ident, time.monotonic() + 0.01):
                print(f"{time.time():.4f}")
                return
    print("none")


def _echo_reply(sock: socket.socket, six: bool, ident: int, until: float) -> bool:
    while (left := until - time.monotonic()) > 0 and select.select([sock], [], [], left)[0]:
        packet = sock.recv(2048)
        reply = packet if six else packet[(packet[0] & 15) * 4 :]
        if (
            len(reply) >= 8
            and reply[0] == (129 if six else 0)
            and struct.unpack("!H", reply[4:6])[0] == ident
        ):
            return True
    return False


def udp_echo(address: str, port: int) -> None:
    """Send every datagram back, for ever."""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as sock:
        sock.bind((any_address(address), port))
        while True:
            data, source = sock.recvfrom(2048)
            with contextlib.suppress(OSError):
                sock.sendto(data, source)


def udp_stream(address: str, port: int, seconds: float, interval: float) -> None:
    """Send a numbered datagram every `interval`; print, as JSON, (number, sent, received) of each reply."""
    got: list[tuple[int, float, float]] = []
    sent = 0
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        start = due = time.time()
        while (now := time.time()) - start < seconds:
            if now >= due:
                with contextlib.suppress(OSError):
                    sock.sendto(struct.pack("!Id", sent, now) + b"x" * 52, (address, port))
                sent += 1
                due += interval
            if select.select([sock], [], [], max(0.0, min(interval, due - time.time())))[0]:
                with contextlib.suppress(OSError):
                    while True:
                        number, at = struct.unpack("!Id", sock.recv(2048)[:12])
                        got.append((number, at, time.time()))
    json.dump({"sent": sent, "got": got}, sys.stdout)


def tcp_sink(address: str, port: int, path: str) -> None:
    """Accept one connection; log (time, bytes so far) at most every 20 ms while it makes progress."""
    with socket.create_server((any_address(address), port), family=family_of(address)) as listener:
        connection, _ = listener.accept()
    total, last = 0, 0.0
    with Path(path).open("w") as out, connection:
        try:
            while data := connection.recv(1 << 16):
                total += len(data)
                if (now := time.time()) - last >= 0.02:
                    print(f"{now:.4f} {total}", file=out, flush=True)
                    last = now
            print(f"end {total}", file=out)
        except OSError as error:
            print(f"reset {error}", file=out)


def tcp_source(address: str, port: int, seconds: float, mbit: float) -> None:
    """Send at a steady rate over one connection; print `ok`, or why it broke."""
    rate = mbit * 1e6 / 8
    block = b"y" * 16384
    with socket.create_connection((address, port), 5) as sock:
        sock.settimeout(seconds + 30)
        start, sent = time.time(), 0
        while time.time() - start < seconds:
            ahead = sent / rate - (time.time() - start)
            if ahead > 0:
                time.sleep(ahead)
            try:
                sock.sendall(block)
            except OSError as error:
                print("broken", error)
                return
            sent = max(sent + len(block), int((time.time() - start - 0.2) * rate))
    print("ok")


def main(argv: list[str]) -> None:
    match argv:
        case ["first-ping", address, limit]:
            first_ping(address, float(limit))
        case ["udp-echo", address, port]:
            udp_echo(address, int(port))
        case ["udp-stream", address, port, seconds, interval]:
            udp_stream(address, int(port), float(seconds), float(interval))
        case ["tcp-sink", address, port, path]:
            tcp_sink(address, int(port), path)
        case ["tcp-source", address, port, seconds, mbit]:
            tcp_source(address, int(port), float(seconds), float(mbit))
        case _:
            sys.exit(f"unknown probe: {' '.join(argv)}")


if __name__ == "__main__":
    main(sys.argv[1:])
