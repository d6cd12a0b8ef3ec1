"""The traffic class of what the host sends: kept to the end, shown on the way, marked by congestion."""

from __future__ import annotations

import socket
from typing import Self

import pytest
from tests.integration.nodes import at_ingress, counted, line

from zosnet.lab import Grid, Node, until
from zosnet.lab.link import PORTS
from zosnet.lab.programs import api
from zosnet.lab.two_paths import start

pytestmark = [pytest.mark.privileged, pytest.mark.slow]

PORT = 7100
EXPEDITED = 0xB8
ECT0, ECT1, CE = 2, 1, 3
"""ECN-capable, in both spellings, and congestion experienced (RFC 3168, section 5)."""


class Ear:
    """A UDP socket on a node's host that says with which class datagrams arrive."""

    def __init__(self, node: Node) -> None:
        self._socket = node.host.namespace.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind((str(node.address), PORT))
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        self._address = str(node.address)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def hears(self, source: Node, traffic_class: int, within: float = 5.0) -> int | None:
        """The class with which a datagram of this class arrives; None when it doesn't in time."""
        self._number += 1
        data = b"number %d" % self._number
        with source.host.namespace.socket(socket.AF_INET6, socket.SOCK_DGRAM) as out:
            out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, traffic_class)
            out.sendto(data, (self._address, PORT))
        self._socket.settimeout(within)
        while True:
            try:
                got, ancillary, *_ = self._socket.recvmsg(100, 100)
            except TimeoutError:
                return None
            if got == data:
                return int.from_bytes(ancillary[0][2][:4], "little")


def of_links(statement: str) -> str:
    """The rule that does this to datagrams of links."""
    return f"ip protocol udp udp dport {PORTS['udp']} {statement}"


def test_the_class_is_kept_and_the_datagram_shows_it(grid: Grid) -> None:
    a, r, b = line(grid, "arb", "udp")
    near, far = grid.links
    start([a, r, b])
    ends = near.end("r"), far.end("b")
    for end in ends:
        at_ingress(end, of_links("ip dscp ef ip ecn ect0 counter"))
    with Ear(b) as ear:
        for traffic_class in (0, ECT1, EXPEDITED, EXPEDITED | CE):
            assert ear.hears(a, traffic_class) == traffic_class
        assert [counted(end) for end in ends] == [0, 0]
        assert ear.hears(a, EXPEDITED | ECT0) == EXPEDITED | ECT0
        assert [counted(end) for end in ends] == [1, 1], "relayed, it shows on both links"


def test_congestion_on_a_link_reaches_the_receiver(grid: Grid) -> None:
    a, r, b = line(grid, "arb", "udp")
    start([a, r, b])
    with Ear(b) as ear:
        assert ear.hears(a, EXPEDITED | ECT0) == EXPEDITED | ECT0
        at_ingress(grid.links[0].end("r"), of_links("ip ecn set ce"))
        for capable in (ECT0, ECT1, CE):
            assert ear.hears(a, EXPEDITED | capable) == EXPEDITED | CE

        def congested() -> float:
            return api(b).metrics()['zosnet_dataplane_drop_total{reason="congested"}']

        before = congested()
        assert ear.hears(a, EXPEDITED, within=0.2) is None, "it can't be marked, so it is dropped (RFC 6040)"
        until("the drop is counted", lambda: congested() > before)


def test_the_milder_mark_reaches_who_can_hear_of_it(grid: Grid) -> None:
    a, r, b = line(grid, "arb", "udp")
    start([a, r, b])
    with Ear(b) as ear:
        assert ear.hears(a, EXPEDITED | ECT0) == EXPEDITED | ECT0
        at_ingress(grid.links[0].end("r"), of_links("ip ecn set ect1"))
        for sent, heard in ((ECT0, ECT1), (ECT1, ECT1), (CE, CE), (0, 0)):
            assert ear.hears(a, EXPEDITED | sent) == EXPEDITED | heard
