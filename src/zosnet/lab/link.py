"""A link between two hosts, and what can go wrong with it.

A link is a veth pair with addresses of both families at each end. It can be impaired at any time: cut
silently (frames vanish, the carrier stays: what a dead switch or a moved cable looks like), lossy, slow,
or without carrier. Delay needs a relay in the middle (there is no netem everywhere), so it has to be
asked for when the link is made, and can then be changed.

Addresses are private and mean nothing outside: 10.64.0.0/10 (RFC 6598's neighbour in 10/8) for IPv4 and
fd7a:6f73::/32 (RFC 4193) for IPv6, one /24 and one /64 a link.
"""

from __future__ import annotations

import array
import fcntl
import itertools
import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

from zosnet.lab.host import Host
from zosnet.lab.process import Process
from zosnet.lab.wait import until
from zosnet.model.errors import UsageError

#: Where nodes of the lab take links, by protocol.
PORTS = {"tcp": 9651, "quic": 9651, "udp": 9652}

_SIOCETHTOOL = 0x8946
# ETHTOOL_S{RXCSUM,TXCSUM,SG,TSO,GSO,GRO}: with scatter-gather and checksums off no GSO kind is left,
# UDP's included.
_OFFLOADS = (0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C)

_TRAIN_MBIT = 50
"""From here on a 64 KB train takes at most 10 ms, and is let through whole."""
_INDICES = itertools.count(100)


@dataclass(eq=False, slots=True)
class End:
    """One host's side of a link, and the impairments of what *arrives* there or leaves from there."""

    host: Host
    device: str
    ipv4: IPv4Address
    ipv6: IPv6Address
    is_cut: bool = field(default=False, init=False)
    loss: float = field(default=0.0, init=False)
    rate_mbit: float | None = field(default=None, init=False)

    def gate(self) -> None:
        """Make the kernel drop what should not arrive, in one transaction.

        At the ingress hook, so that on a cut ARP and neighbour discovery vanish too, as on a dead wire. Loss
        spares them: the kernel asks once a second, and one lost answer would silence the whole link for it.
        """
        verdict = ""
        if self.is_cut:
            verdict = "drop;"
        elif self.loss:
            spared = "ether type arp accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept;"
            verdict = f"{spared} numgen random mod 1000000 < {round(self.loss * 1_000_000)} drop;"
        table = f"lab_{self.device.replace('-', '_')}"
        script = f"add table netdev {table}\ndelete table netdev {table}\n"
        if verdict:
            hook = f'type filter hook ingress device "{self.device}" priority -500;'
            script += f"table netdev {table} {{\n chain arriving {{\n  {hook}\n  {verdict}\n }}\n}}\n"
        self.host.run("nft", "-f", "-", stdin=script)

    def shape(self, mbit: float | None, queue_ms: float = 30.0) -> None:
        """Let no more than `mbit` Mbit/s out here, with a queue of `queue_ms`; None takes the limit away."""
        self.rate_mbit = mbit
        if mbit is None:
            self.host.run("tc", "qdisc", "del", "dev", self.device, "root", check=False)
            return
        # A millisecond of the rate keeps the timer's grain out of the result. A burst under a whole 64 KB
        # train would cut it into packets, which costs a delay behind it more time than the rate is worth.
        burst = max(3200, int(mbit * 1e6 / 8 / 1000), 70_000 if mbit >= _TRAIN_MBIT else 0)
        self.host.run(
            *("tc", "qdisc", "replace", "dev", self.device, "root", "tbf"),
            *("rate", f"{round(mbit * 1000)}kbit", "burst", burst, "latency", f"{queue_ms:g}ms"),
        )

    def segment(self) -> None:
        """Switch every segmentation and checksum offload off, so that each frame travels alone."""
        segment(self.host, self.device)

    def carrier(self, up: bool) -> None:
        """Take the interface down or up: the *other* end sees its carrier go or come back."""
        self.host.run("ip", "link", "set", "dev", self.device, "up" if up else "down")

    def is_up(self) -> bool:
        """Whether the kernel uses the interface: up, with carrier, and noticed to be so."""
        return Path(self._sys("operstate")).read_text().strip() == "up"

    def bytes(self, direction: Literal["rx", "tx"]) -> int:
        """Bytes that arrived at, or left, this end so far."""
        return int(Path(self._sys(f"statistics/{direction}_bytes")).read_text())

    def _sys(self, name: str) -> str:
        return f"/proc/{self.host.namespace.pid}/root/sys/class/net/{self.device}/{name}"


class Link:
    """Two ends and what is between them. `first` and `second` are in the order in which the link was
    asked for.
    """

    def __init__(
        self, number: int, first: End, second: End, relay: Process | None, wire: Host | None
    ) -> None:
        self.number = number
        self.ends = (first, second)
        self._relay = relay
        self._wire = wire

    def __str__(self) -> str:
        return f"{self.ends[0].host.name}–{self.ends[1].host.name}"

    def end(self, host: Host | str) -> End:
        """That host's side. Raises UsageError when the link does not touch it."""
        name = host if isinstance(host, str) else host.name
        for end in self.ends:
            if end.host.name == name:
                return end
        raise UsageError(f"link {self} does not touch {name}")

    def other(self, host: Host | str) -> End:
        """The side that is not that host's."""
        return self.ends[1] if self.end(host) is self.ends[0] else self.ends[0]

    def url(
        self, host: Host | str, proto: str = "tcp", *, family: Literal[4, 6] = 4, port: int | None = None
    ) -> str:
        """Where the *other* host of this link dials `host`."""
        end = self.end(host)
        port = PORTS[proto] if port is None else port
        return f"{proto}://{end.ipv4}:{port}" if family == 4 else f"{proto}://[{end.ipv6}]:{port}"

    # Impairments. `towards` names the host at which frames stop arriving; without it, both.

    def cut(self, towards: Host | str | None = None) -> None:
        """Drop every frame silently; the carrier stays, no socket hears of it."""
        for end in self._arriving(towards):
            end.is_cut = True
            end.gate()

    def heal(self) -> None:
        """Undo cuts in both directions; loss, rate and delay stay."""
        for end in self.ends:
            if end.is_cut:
                end.is_cut = False
                end.gate()

    def lose(self, share: float, towards: Host | str | None = None) -> None:
        """Drop frames at random, each with probability `share` (0 to 1).

        Only a link made with `segmented=True` loses single packets; others lose whole 64 KB trains, which
        flatters or ruins what is measured, depending on whom one asks.
        """
        if not 0 <= share <= 1:
            raise UsageError(f"a share of frames is between 0 and 1, not {share:g}")
        for end in self._arriving(towards):
            end.loss = share
            end.gate()

    def shape(self, mbit: float | None, *, queue_ms: float = 30.0) -> None:
        """Limit both directions to `mbit` Mbit/s each; None lifts the limit."""
        for end in self.ends:
            end.shape(mbit, queue_ms)

    def delay(self, milliseconds: float) -> None:
        """Change the one-way delay, both ways. Raises UsageError for a link made without one."""
        if self._relay is None:
            raise UsageError(f"link {self} has no relay in the middle", remedy="make it with delay_ms=0")
        self._relay.write(json.dumps({"delay_ms": milliseconds}) + "\n")

    def carrier(self, up: bool, at: Host | str | None = None) -> None:
        """Pull or plug the cable. The interface at `at` (both, without it) goes down, the other end sees it.

        With a relay in the middle, the other end sees nothing.
        """
        for end in self.ends if at is None else (self.end(at),):
            end.carrier(up)

    def traffic(self) -> int:
        """Bytes that have arrived at both ends so far."""
        return sum(end.bytes("rx") for end in self.ends)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()

    def _arriving(self, towards: Host | str | None) -> Sequence[End]:
        return self.ends if towards is None else (self.end(towards),)


def join(
    lab: str, number: int, first: Host, second: Host, *, mtu: int, delay_ms: float | None, segmented: bool
) -> Link:
    """Make the link: devices, addresses, and the relay when there is to be a delay."""
    ends = tuple(
        End(
            host,
            f"{other.name}-{number}",
            IPv4Address((10 << 24) | (64 << 16) | (number << 8) | side),
            IPv6Address((0xFD7A6F73 << 96) | (number << 64) | side),
        )
        for side, (host, other) in enumerate(((first, second), (second, first)), 1)
    )
    wire = Host(f"wire-{number}", lab) if delay_ms is not None else None
    try:
        _wire(ends, wire, mtu)
        for end in ends:
            _bring_up(end, segmented)
        for end in ends:
            until(f"{end.host.name}: {end.device} is up", end.is_up)
        relay = None
        if wire is not None:
            relay = wire.tool("delay", "a", "b", delay_ms, stdin=True)
            relay.record("ready")
    except BaseException:
        if wire is not None:
            wire.close()
        raise
    first.ends.append(ends[0])
    second.ends.append(ends[1])
    return Link(number, ends[0], ends[1], relay, wire)


def _wire(ends: Sequence[End], wire: Host | None, mtu: int) -> None:
    if wire is None:
        _pair(ends[0].host, ends[0].device, ends[1].host, ends[1].device, mtu)
        return
    for end, device in zip(ends, ("a", "b"), strict=True):
        _pair(end.host, end.device, wire, device, mtu)
        wire.run("sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
        wire.run("ip", "link", "set", "dev", device, "up")


def _bring_up(end: End, segmented: bool) -> None:
    if segmented:
        end.segment()
    end.host.run(
        *("ip", "-batch", "-"),
        stdin=f"addr add {end.ipv4}/24 dev {end.device}\n"
        f"addr add {end.ipv6}/64 dev {end.device} nodad\nlink set dev {end.device} up\n",
    )


def _pair(first: Host, device: str, second: Host, peer: str, mtu: int) -> None:
    """A veth pair with an interface index at each end that no other of this process's labs has.

    Where both ends have the same index (each the first in its namespace), the kernel takes them for ordinary
    devices and lets them wait up to a second for their carrier (`linkwatch_urgent_event`).
    """
    first.run(
        *("ip", "link", "add", "name", device, "index", next(_INDICES), "mtu", mtu, "type", "veth", "peer"),
        *("name", peer, "index", next(_INDICES), "mtu", mtu, "netns", second.namespace.pid),
    )


def segment(host: Host, device: str) -> None:
    """Switch every segmentation and checksum offload of a device off, so that each frame travels alone."""
    with host.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in _OFFLOADS:
            value = array.array("B", struct.pack("=II", command, 0))
            request = struct.pack("16sP16x", device.encode(), value.buffer_info()[0])
            try:
                fcntl.ioctl(control, _SIOCETHTOOL, request)
            except OSError:
                continue  # a kind of offload that this kernel's veth does not have is off already
