"""A peer that is nothing but a routing table: it announces thousands of nodes that do not exist.

    python -m zosnet.lab.feeder ADDRESS PORT ROUTES [SEED]

It speaks the wire protocol over TCP as any peer does, answers Hellos and requests, and lets its routes be
refreshed. The identities come from a seed; each announces the /64 that its key owns, so every filter passes.
No one holds their secret keys, and packets to them end here.
"""

from __future__ import annotations

import json
import random
import select
import socket
import sys
import time
from collections.abc import Sequence

from zosnet.lab.host import Host
from zosnet.lab.process import Process
from zosnet.model.errors import PeerError
from zosnet.model.keys import PublicKey
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import (
    Hello,
    Ihu,
    RouteRequest,
    SeqnoRequest,
    Tlv,
    Update,
    decode_control,
    encode_control,
)
from zosnet.wire.packet import ControlPacket, StreamDecoder

SUBNET = 64
"""Bits of what a node's key owns."""

_HELLO_EVERY = 5.0
_REFRESH_EVERY = 300.0


def identities(count: int, seed: int) -> list[RouterId]:
    """That many router ids, the same for the same seed."""
    rng = random.Random(seed)
    return [RouterId.of(PublicKey(rng.randbytes(32)), 0, rng.randbytes(6)) for _ in range(count)]


class Table:
    """The feeder's answers, without I/O: what it announces, and how it replies."""

    def __init__(self, owners: Sequence[RouterId]) -> None:
        self._routes: dict[Prefix, tuple[RouterId, int]] = {owner.subnet: (owner, 0) for owner in owners}

    def announcement(self) -> bytes:
        """Every route, as control packets in a row."""
        return b"".join(self._update(prefix) for prefix in self._routes)

    def answer(self, tlv: Tlv) -> bytes:
        """What to send back for what came; nothing for most things."""
        match tlv:
            case Hello():
                return encode_control(Ihu(rx_cost=100))
            case RouteRequest(None):
                return self.announcement()
            case RouteRequest(prefix) if prefix is not None and prefix.length >= SUBNET:
                # Looked up: whoever lost a path asks for thousands of them at once.
                subnet = Prefix.of(prefix.network, SUBNET)
                return self._update(subnet) if subnet in self._routes else b""
            case SeqnoRequest(prefix, router_id, seqno) if prefix in self._routes:
                owner, mine = self._routes[prefix]
                if router_id == owner and 0 < (seqno - mine) % 0x10000 < 0x8000:
                    self._routes[prefix] = (owner, seqno)
                return self._update(prefix)
        return b""

    def _update(self, prefix: Prefix) -> bytes:
        owner, seqno = self._routes[prefix]
        return encode_control(Update(prefix, owner, seqno, metric=50))


def feed(host: Host, routes: int, address: object = "127.0.0.1", port: int = 9651, seed: int = 1) -> Process:
    """Start a feeder in `host` against a node there, or wherever `address` is; returns once all is sent."""
    argv = (sys.executable, "-m", "zosnet.lab.feeder", address, port, routes, seed)
    process = host.spawn("feeder", *argv, split=True)
    process.record("announced", within=60.0)
    return process


def say(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, "at": time.monotonic(), **facts}) + "\n")
    sys.stdout.flush()


def serve(stream: socket.socket, table: Table) -> None:
    """Keep the link alive until the other side closes it."""
    decoder, last_hello, announced, seqno = StreamDecoder(), 0.0, time.monotonic(), 0
    while True:
        now = time.monotonic()
        if now - last_hello >= _HELLO_EVERY:
            last_hello, seqno = now, (seqno + 1) % 0x10000
            stream.sendall(encode_control(Hello(seqno)))
        if now - announced >= _REFRESH_EVERY:
            announced = now
            stream.sendall(table.announcement())
        if not select.select([stream], [], [], _HELLO_EVERY)[0]:
            continue
        data = stream.recv(65_536)
        if not data:
            return
        for packet in decoder.feed(data):
            if isinstance(packet, ControlPacket) and (tlv := decode_control(packet.packet)) is not None:
                stream.sendall(table.answer(tlv))


def main() -> int:
    address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    table = Table(identities(count, int(sys.argv[4]) if len(sys.argv) > 4 else 1))
    try:
        with socket.create_connection((address, port), 10) as stream:
            stream.settimeout(60)
            stream.sendall(table.announcement())
            say("announced", routes=count)
            serve(stream, table)
    except (OSError, PeerError) as error:
        say("lost", error=str(error))
        return 1
    say("closed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
