"""Pings and traces between whole nodes, and those that can't be."""

from __future__ import annotations

import asyncio

import pytest
from tests.service.nodes import A, B, C, at, probes, reaches

from zosnet.babel import Unreachable
from zosnet.lab.fake_dataplane import Ether
from zosnet.lab.fake_node import FakeNode, fake_node, secret_of, until
from zosnet.model.errors import UsageError
from zosnet.model.prefix import Prefix
from zosnet.service import route_batch
from zosnet.service.node import new_router_id
from zosnet.service.views import PingRequest, TraceRequest


def subnet_of(node: FakeNode) -> Prefix:
    return Prefix.parse(node.node.key().subnet)


def test_a_probe_to_nowhere_times_out_and_one_to_oneself_returns() -> None:
    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            (line,) = await probes(a, PingRequest("400::1", count=1, timeout=0.02))
            assert line.outcome == "timeout"
            (line,) = await probes(a, PingRequest(a.address, count=1))
            assert line.outcome == "reply"
            hops = await probes(a, TraceRequest("400::1", max_hops=2, timeout=0.01, attempts=2))
            assert [(hop.hop, hop.outcome) for hop in hops] == [(1, "timeout"), (2, "timeout")]

    asyncio.run(main())


def test_an_unreachable_destination_is_told_by_the_relay() -> None:
    async def main() -> None:
        ether = Ether()
        async with (
            fake_node(ether, A) as a,
            fake_node(ether, B, at(A)) as b,
            fake_node(ether, C, at(B)) as c,
        ):
            await until(lambda: reaches(a, c) and reaches(c, a))
            for link in ether.between(b.plane, c.plane):
                link.cut = True
            (line,) = await probes(a, PingRequest(c.address, count=1, timeout=0.05))
            assert line.outcome == "timeout"
            # The relay lost its table, as just before its Speaker hears of a broken link.
            b.plane.apply_routes(
                route_batch.pack([Unreachable(subnet_of(c), new_router_id(secret_of(C).public()))])
            )
            (line,) = await probes(a, PingRequest(c.address, count=1))
            assert (line.outcome, line.reason) == ("unreachable", "no route to the destination")

    asyncio.run(main())


@pytest.mark.parametrize(
    "request_",
    [
        PingRequest("400::1", count=0),
        PingRequest("400::1", size=5000),
        PingRequest("400::1", interval=0),
        PingRequest("400::1", timeout=1000),
        PingRequest("10.0.0.1"),
        TraceRequest("400::1", max_hops=0),
        TraceRequest("400::1", attempts=0),
    ],
)
def test_a_probe_that_cannot_be_is_refused(request_: PingRequest | TraceRequest) -> None:
    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            with pytest.raises(UsageError):
                await probes(a, request_)

    asyncio.run(main())
