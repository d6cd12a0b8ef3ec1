"""Connections from someone who means harm, or speaks another protocol, or hangs up half-way."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable

from zosnet.lab.host import Host
from zosnet.wire.babel import Hello, encode_control

_LINGER_RESET = struct.pack("ii", 1, 0)


def _noise(rng: random.Random) -> bytes:
    """Random bytes."""
    return rng.randbytes(rng.randrange(1, 4096))


def _other_protocol(rng: random.Random) -> bytes:
    """A web browser, a TLS client, an SSH client."""
    return rng.choice(
        [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"SSH-2.0-OpenSSH_9\r\n"]
    )


def _silence(rng: random.Random) -> bytes:
    """Connects and says nothing."""
    return b""


def _half_a_packet(rng: random.Random) -> bytes:
    """A data packet that promises 65,535 bytes and brings a few."""
    return b"\x01\x00\x00\x00\x00\xff\xff\x40" + rng.randbytes(rng.randrange(60))


def _bad_version(rng: random.Random) -> bytes:
    """A packet of another version, after a good one."""
    return encode_control(Hello(1)) + bytes([rng.randrange(2, 256), 1, 0, 0]) + rng.randbytes(20)


def _bad_babel(rng: random.Random) -> bytes:
    """A control packet with a wrong magic number, a wrong length or an unknown TLV."""
    body = rng.randbytes(rng.randrange(40))
    return b"\x01\x01\x00\x00" + bytes([rng.choice([42, 41])]) + b"\x03" + struct.pack(">H", len(body)) + body


def _mutated(rng: random.Random) -> bytes:
    """Good packets with one bit turned over."""
    packets = bytearray(encode_control(Hello(1)) * 20)
    packets[rng.randrange(len(packets))] ^= 1 << rng.randrange(8)
    return bytes(packets)


def _forged_data(rng: random.Random) -> bytes:
    """Whole data packets whose content nobody sealed, to and from random overlay addresses."""
    packets = b""
    for _ in range(rng.randrange(1, 20)):
        ends = b"".join(bytes([rng.choice([4, 5])]) + rng.randbytes(15) for _ in range(2))
        payload = rng.randbytes(rng.randrange(200))
        packets += b"\x01\x00\x00\x00\x00" + struct.pack(">HB", len(payload), 64) + ends + payload
    return packets


KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    _noise,
    _other_protocol,
    _silence,
    _half_a_packet,
    _bad_version,
    _bad_babel,
    _mutated,
    _forged_data,
)


def throw(host: Host, address: object, count: int, rng: random.Random, *, port: int = 9651) -> Counter[str]:
    """Make `count` such connections from `host`, one after the other, and count them by kind.

    Some end properly, some with a reset, some are left for the other side's reader to find closed; a batch of
    32 is open at any time. Raises OSError only where nobody listens.
    """
    return host.namespace.call(lambda: _throw(str(address), count, rng, port))


def _throw(address: str, count: int, rng: random.Random, port: int) -> Counter[str]:
    thrown: Counter[str] = Counter()
    with contextlib.ExitStack() as held:
        for number in range(count):
            kind = rng.choice(KINDS)
            each = held.enter_context(socket.create_connection((address, port), 5))
            if rng.random() < 0.3:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            with contextlib.suppress(OSError):  # closed on us already: well done
                each.sendall(kind(rng))
                if rng.random() < 0.5:
                    each.shutdown(socket.SHUT_WR)
            thrown[kind.__name__.strip("_")] += 1
            if number % 32 == 31:
                held.pop_all().close()
    return thrown


def throw_datagrams(host: Host, address: object, count: int, rng: random.Random, *, port: int = 9651) -> None:
    """Send that many datagrams of noise at a UDP port, where QUIC listens."""

    def burst() -> None:
        family = socket.AF_INET6 if ":" in str(address) else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as each:
            for _ in range(count):
                with contextlib.suppress(OSError):
                    each.sendto(rng.randbytes(rng.randrange(1, 1400)), (str(address), port))

    host.namespace.call(burst)
