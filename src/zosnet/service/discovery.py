"""Finding peers on the local network: a beacon from each interface, and an ear for those of others.

Nothing in a beacon is signed. Whoever is on the same wire can make this node dial a link-local address there,
and no more: the number of such peers is bounded, and a link proves nothing by itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from zosnet.model.endpoint import Endpoint
from zosnet.model.errors import HostError, PeerError
from zosnet.model.router_id import RouterId
from zosnet.wire.beacon import BEACON_BYTES, Beacon

__all__ = ["Discovery", "Interface", "eligible", "read_interfaces"]

log = logging.getLogger("zosnet.discovery")

GROUP = "ff02::cafe"
# Reference, section 6: a beacon at start, then every 60 s for each interface.
INTERVAL = 60.0
# How soon a new interface is noticed.
LOOK_EVERY = 5.0
# Datagrams taken in one turn of the loop.
BATCH = 64
# netdevice(7)
_SIOCGIFFLAGS = 0x8913
_UP, _LOOPBACK, _POINT_TO_POINT, _MULTICAST = 0x1, 0x8, 0x10, 0x1000


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface as the kernel describes it. `flags` are those of netdevice(7)."""

    index: int
    name: str
    flags: int
    link_local: bool


def eligible(interfaces: Iterable[Interface], wanted: tuple[str, ...]) -> list[Interface]:
    """Those that are up, carry multicast, have a link-local address, and are a wire to others.

    `wanted` names the only ones to use; empty means all.
    """
    return [
        interface
        for interface in interfaces
        if interface.link_local
        and interface.flags & (_UP | _MULTICAST) == _UP | _MULTICAST
        and not interface.flags & (_LOOPBACK | _POINT_TO_POINT)
        and (not wanted or interface.name in wanted)
    ]


def read_interfaces(proc: Path = Path("/proc/net/if_inet6")) -> list[Interface]:
    """The interfaces of this network namespace.

    Asked by ioctl, not read in /sys: a /sys that was mounted for another namespace shows that one's.
    """
    with suppress(OSError):
        local = {line.split()[5] for line in proc.read_text().splitlines() if line.startswith("fe80")}
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asked:
            return [
                Interface(index, name, _flags(asked, name), name in local)
                for index, name in socket.if_nameindex()
            ]
    return []


def _flags(asked: socket.socket, name: str) -> int:
    try:
        answer = fcntl.ioctl(asked, _SIOCGIFFLAGS, struct.pack("16sh14x", name.encode(), 0))
    except OSError:  # it is gone again
        return 0
    flags: int = struct.unpack("16xH14x", answer)[0]
    return flags


class Discovery:
    """Beacons out, beacons in. `found` is told of each endpoint that a beacon named, as often as it comes.

    Raises HostError when the port can't be had.
    """

    def __init__(
        self,
        router_id: RouterId,
        tcp_port: int,
        *,
        port: int,
        interfaces: tuple[str, ...],
        found: Callable[[Endpoint, RouterId], object],
    ) -> None:
        self._beacon = Beacon(tcp_port, router_id).encode()
        self._own = router_id
        self._port = port
        self._wanted = interfaces
        self._found = found
        self._joined: dict[int, float] = {}
        self._socket = _open(port)
        self.heard = 0
        self.refused = 0

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket.fileno(), self._receive)
        try:
            while True:
                self._announce(loop.time())
                await asyncio.sleep(LOOK_EVERY)
        finally:
            loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _announce(self, now: float) -> None:
        """Join the group on new interfaces, and send the beacons that are due."""
        present = eligible(read_interfaces(), self._wanted)
        for index in self._joined.keys() - {interface.index for interface in present}:
            del self._joined[index]
        for interface in present:
            if interface.index not in self._joined:
                self._join(interface)
            if now >= self._joined.get(interface.index, now):
                self._joined[interface.index] = now + INTERVAL
                self._send(interface)

    def _join(self, interface: Interface) -> None:
        request = IPv6Address(GROUP).packed + struct.pack("@I", interface.index)
        # Joined before and kept by the kernel: nothing to do.
        with suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)

    def _send(self, interface: Interface) -> None:
        try:
            self._socket.sendto(self._beacon, (GROUP, self._port, 0, interface.index))
        except OSError as error:
            log.debug("beacon_not_sent interface=%s reason=%r", interface.name, error.strerror)

    def _receive(self) -> None:
        for _ in range(BATCH):
            try:
                datagram, source = self._socket.recvfrom(BEACON_BYTES + 1)
            except OSError:
                return
            self.receive(datagram, source[0].partition("%")[0], source[3])

    def receive(self, datagram: bytes, source: str, scope: int) -> None:
        """A datagram came from `source` on the interface `scope`."""
        if not IPv6Address(source).is_link_local:
            self.refused += 1
            return
        try:
            beacon = Beacon.decode(datagram)
        except PeerError:
            self.refused += 1
            return
        if beacon.router_id != self._own:
            self.heard += 1
            self._found(Endpoint("tcp", source, beacon.tcp_port, scope), beacon.router_id)


def _open(port: int) -> socket.socket:
    """A UDP socket on the discovery port, shared with other nodes of this machine."""
    ear = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        ear.bind(("::", port))
    except OSError as error:
        ear.close()
        raise HostError(
            f"the discovery port {port} can't be used: {error.strerror}",
            remedy="choose another with --peer-discovery-port, or --disable-peer-discovery",
        ) from None
    ear.setblocking(False)
    return ear
