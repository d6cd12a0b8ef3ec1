"""Stations: real data planes over loopback, each with a hand-made table instead of a routing protocol."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import TypeVar

import pytest

from zosnet.dataplane import events
from zosnet.model.keys import SecretKey
from zosnet.model.router_id import RouterId
from zosnet.wire.echo import EchoRequest

pytest.importorskip("zosnet._core", reason="the core is not built: make dev")

from zosnet.dataplane.core import CoreDataplane

E = TypeVar("E", bound=events.Event)
MAGIC = b"zosprobe"
_RECORD = Struct(">BBBx16s32sIII")
_SPEAKS_OURS, _SPREAD = 1, 2


class Station:
    """One data plane, driven by hand."""

    def __init__(
        self,
        seed: int,
        *,
        tun: str | None = None,
        lanes: int = 1,
        quic: bool = False,
        udp: bool = False,
        session_suite: bool = False,
        pins: Sequence[bytes] = (),
        closed: bool = False,
    ) -> None:
        self.secret = SecretKey.generate(bytes([seed]) * 32)
        self.public = self.secret.public()
        self.address = self.public.address()
        self.plane = CoreDataplane.open(
            secret=self.secret,
            router_id=RouterId.of(self.public, 0, bytes(6)),
            tun_name=tun,
            tun_mtu=1360,
            tcp_port=0,
            quic_port=0 if quic else None,
            udp_port=0 if udp else None,
            session_suite=session_suite,
            repair=True,
            pins=pins,
            max_link_mtu=1500,
            lanes=lanes,
            firewall_mark=0,
            events_limit=1000,
        )
        self.plane.watch_probe(MAGIC)
        self.plane.replace_filter(not closed, b"")
        self.seen: deque[events.Event] = deque()

    def port(self, proto: str = "tcp") -> int:
        """The port it listens on."""
        texts = [text for text in self.plane.listen_addresses if text.startswith(proto)]
        return int(texts[0].rpartition(":")[2])

    def gather(self, within: float) -> None:
        """Take the events that are there, waiting for the first."""
        if select.select([self.plane.fd], [], [], max(within, 0))[0]:
            self.seen.extend(self.plane.drain_events())

    def take(self, kind: type[E], within: float = 5.0, where: Callable[[E], bool] = lambda _: True) -> E:
        """The next event of this kind, which must come; others stay."""
        until = time.monotonic() + within
        while True:
            for event in self.seen:
                if isinstance(event, kind) and where(event):
                    self.seen.remove(event)
                    return event
            left = until - time.monotonic()
            assert left > 0, f"no {kind.__name__} within {within} s, but {list(self.seen)[-5:]}"
            self.gather(left)

    def none_of(self, kind: type[events.Event], within: float) -> None:
        """No event of this kind may come."""
        until = time.monotonic() + within
        while (left := until - time.monotonic()) > 0:
            self.gather(left)
        found = [event for event in self.seen if isinstance(event, kind)]
        assert not found, found

    def measured(self) -> dict[int, list[float]]:
        """The loss of each link, as often as it was measured."""
        self.gather(0)
        found = [event for event in self.seen if isinstance(event, events.Measured)]
        return {
            link: [event.loss or 0.0 for event in found if event.link == link]
            for link in {event.link for event in found}
        }

    def route(
        self, other: Station, primary: int, backup: int = 0, *, ours: bool = False, spread: bool = False
    ) -> None:
        """Send what is for `other` through link `primary`; `ours`: it speaks our session suite."""
        prefix = other.public.subnet()
        flags = (_SPEAKS_OURS if ours else 0) | (_SPREAD if spread else 0)
        fields = (1, prefix.length, flags, prefix.packed(), other.public.raw, primary, backup, 0)
        self.plane.apply_routes(_RECORD.pack(*fields))

    def echo(self, other: Station, sequence: int = 0, *, size: int = 8, hop_limit: int = 64) -> None:
        """Send an echo request, whose answer comes as ProbeReceived."""
        data = MAGIC + bytes(size - len(MAGIC))
        source, destination = self.address.packed, other.address.packed
        self.plane.inject(EchoRequest(source, destination, 7, sequence, data, hop_limit).encode())

    def count(self, name: str) -> int:
        """A counter."""
        return self.plane.counters().get(name, 0)


def until(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Wait for something that no event tells."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def join(one: Station, other: Station, proto: str = "tcp") -> tuple[int, int]:
    """A link from `one` to `other`; the numbers that they know it by."""
    one.plane.dial(1, proto, "127.0.0.1", other.port(proto), 0, 5.0)
    up = one.take(events.LinkUp)
    if proto == "quic":  # shows nothing to the other side before the dialler has written
        one.plane.send_control([(up.link, hello())])
    return up.link, other.take(events.LinkUp).link


def hello(seqno: int = 1) -> bytes:
    """A Hello (reference, section 3.2)."""
    return bytes.fromhex("01010000 2a030008 0406 8000") + seqno.to_bytes(2, "big") + (2000).to_bytes(2, "big")


def ihu() -> bytes:
    """An IHU without an address (reference, section 3.3)."""
    return bytes.fromhex("01010000 2a030008 0506 0000 0000 1770")
