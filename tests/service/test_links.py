"""Links in a whole node: keys that are proven, measurements, weights, and the return in one batch."""

from __future__ import annotations

import asyncio
import time
from random import Random

import pytest
from tests.service.nodes import A, B, C, reaches

from zosnet.babel import ORDERED_ZONE, SESSION_ZONE
from zosnet.babel import neighbour as babel_neighbour
from zosnet.babel import speaker as babel_speaker
from zosnet.dataplane.events import ControlReceived, LinkDown, LinkUp, Resumed, Stalled
from zosnet.lab.fake_dataplane import Ether
from zosnet.lab.fake_node import FakeNode, fake_node, secret_of, until
from zosnet.model.keys import PublicKey
from zosnet.model.router_id import RouterId
from zosnet.service import driver as driver_module
from zosnet.service import used_routes
from zosnet.service.route_batch import RECORD_BYTES
from zosnet.service.views import PeerView
from zosnet.wire.babel import Update, encode_control

BOTH = {"tcp": 9651, "udp": 9652}
ROUTES = 10_000


def peer(node: FakeNode, endpoint: str) -> PeerView:
    return next(each for each in node.node.peers().peers if each.endpoint == endpoint)


def test_a_datagram_link_proves_the_key_and_shows_what_was_measured() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A, ports=BOTH) as a, fake_node(ether, B, f"udp://{A}") as b:
            await until(lambda: reaches(b, a))
            (link,) = ether.links
            for _ in range(8):
                link.measure(0.02, 0.01)
            await until(lambda: peer(b, f"udp://{A}:9652").loss == pytest.approx(0.01))
            shown = peer(b, f"udp://{A}:9652")
            assert shown.authenticated and shown.max_datagram == 1452
            assert shown.cost is not None and shown.cost > 50
            metrics = b.node.metrics().decode()
            assert f'zosnet_link_loss_ratio{{peer="udp://{A}:9652"}} 0.01' in metrics
            assert f'zosnet_link_max_datagram_bytes{{peer="udp://{A}:9652"}} 1452.0' in metrics

    asyncio.run(main())


@pytest.mark.parametrize("right", [True, False])
def test_an_endpoint_with_a_key_links_to_that_node_alone(right: bool) -> None:
    async def main() -> None:
        ether, key = Ether(), secret_of(A if right else C).public().hex
        async with (
            fake_node(ether, A, ports=BOTH) as a,
            fake_node(ether, B, f"udp://{key}@{A}") as b,
        ):
            if right:
                await until(lambda: reaches(b, a))
            else:
                await until(lambda: "another key" in peer(b, f"udp://{A}:9652").last_error)
                assert b.plane.links() == []

    asyncio.run(main())


def test_a_node_that_calls_itself_another_than_it_proved_to_be_is_shown_the_door() -> None:
    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            named = RouterId.of(secret_of(C).public(), 0, bytes(6))
            own = encode_control(Update(named.subnet, named, 0, 0))
            driver = a.node._driver
            proven = secret_of(B).public().raw
            driver._take(LinkUp(7, None, "udp", f"{A}:9652", B, 9652, 0.0, proven), time.monotonic())
            driver._take(ControlReceived(7, own, 0.0, None), time.monotonic())
            assert driver.counters["control.impostor"] == 1
            assert a.node.peers().peers == []
            assert "peers.impostor" in {finding.code for finding in a.node.status().findings}

    asyncio.run(main())


def test_weights_and_metered_reach_routing_and_may_be_changed_while_the_link_is_up() -> None:
    async def main() -> None:
        ether, place = Ether(), f"tcp://{A}:9651"
        async with fake_node(ether, A) as a, fake_node(ether, B, f"{place}?weight=50") as b:
            await until(lambda: reaches(b, a) and (peer(b, place).cost or 1000) < 1000)
            assert peer(b, place).weight == 50
            before = peer(b, place).cost
            assert before is not None
            assert b.node.add_peer(f"{place}?metered")
            await until(lambda: peer(b, place).cost == before - 50 + babel_neighbour.METERED)
            assert peer(b, place).metered and peer(b, place).weight == 0
            assert len(ether.links) == 1, "the link stays"
            assert not b.node.add_peer(f"{place}?metered")
            assert b.node.add_peer(place)
            await until(lambda: peer(b, place).cost == before - 50)
            assert b.node.remove_peer(f"{place}?weight=9"), "a place is enough to find it"
            await until(lambda: ether.links == [])

    asyncio.run(main())


def test_another_key_wanted_at_the_same_place_breaks_the_link() -> None:
    async def main() -> None:
        ether, place = Ether(), f"udp://{A}:9652"
        async with fake_node(ether, A, ports=BOTH) as a, fake_node(ether, B, place) as b:
            await until(lambda: reaches(b, a))
            assert b.node.add_peer(f"udp://{secret_of(C).public().hex}@{A}")
            await until(lambda: "another key" in peer(b, place).last_error)
            assert ether.links == []

    asyncio.run(main())


def test_two_equal_datagram_links_carry_flows_of_both() -> None:
    async def main() -> None:
        ether = Ether()
        async with (
            fake_node(ether, A, ports={"tcp": 9651, "udp": 9652}) as a,
            fake_node(ether, B) as b,
        ):
            ether.listen("udp", "10.0.1.1", 9652, a.plane)
            b.node.add_peer(f"udp://{A}")
            b.node.add_peer("udp://10.0.1.1")
            await until(lambda: any(route.spread for route in b.node.routes().selected))
            (route,) = b.node.routes().selected
            assert {route.link, route.backup_link} == {1, 2}
            assert {route.next_hop, route.backup} == {f"udp://{A}:9652", "udp://10.0.1.1:9652"}
            flags = b.plane.batches[-1][-RECORD_BYTES + 2]
            assert flags == 1 | 2 | 4 | 8, "speaks sessions; spread; both links end at the node"

    asyncio.run(main())


FAR = [
    RouterId.of(PublicKey(random.randbytes(32)), ORDERED_ZONE | SESSION_ZONE, b"aaaa00")
    for random in [Random(5)]
    for _ in range(ROUTES)
]
"""Originators of as many routes."""


def test_a_route_that_packets_wait_for_is_installed_before_the_others_are_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Link 1 is lost, link 2 is no backup: one newer seqno comes while 10,000 routes are worked off."""
    monkeypatch.setattr(used_routes, "USED_AGAIN", 0.0)
    monkeypatch.setattr(driver_module, "LONGEST_TURN", 0.0)  # a round each
    monkeypatch.setattr(babel_speaker, "LONGEST_DECIDING", float("inf"))  # a busy machine takes its time
    used = FAR[ROUTES // 2]

    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            driver, speaker, now = a.node._driver, a.node._speaker, time.monotonic()
            for link, rtt in ((1, 0.001), (2, 0.05)):
                driver._take(LinkUp(link, None, "tcp", A, f"10.0.0.{link + 1}", 1, now), now)
                speaker.neighbour_measured(link, rtt, 0.0, now)
                for router_id in FAR:
                    speaker.receive(link, Update(router_id.subnet, router_id, 0, 100 * link), now)
            driver.nudge()
            await until(lambda: a.plane.batches and all(r.backup is None for r in speaker.selected()))
            await until(lambda: not speaker.is_deciding)
            a.plane.batches.clear()
            # From here on nothing else runs: the machine's speed decides nothing.
            now = time.monotonic()
            a.plane.forwarder.routes.use(used.subnet.packed(), used.subnet.length)
            driver._take(LinkDown(1, "gone", now), now)
            driver._act_routing(now)
            assert not a.plane.batches, "no route is no news that packets wait for"
            speaker.receive(2, Update(used.subnet, used, 1, 200), now)
            driver._act_routing(now)
            assert speaker.is_deciding
            (batch,) = a.plane.batches
            records = {
                batch[at + 4 : at + 20]: int.from_bytes(batch[at + 52 : at + 56], "big")
                for at in range(0, len(batch), RECORD_BYTES)
            }
            assert records[used.subnet.packed()] == 2
            a.plane.batches.clear()
            await until(lambda: not speaker.is_deciding and a.plane.batches)
            assert len(a.plane.batches) == 1, "the others are one batch"

    asyncio.run(main())


def test_ten_thousand_routes_return_to_the_better_link_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stands between a better link (1) and a worse one (2), both to nodes that know the same routes."""
    monkeypatch.setattr(babel_neighbour, "SHORTEST_RETURN", 1.0)
    monkeypatch.setattr(babel_speaker, "LONGEST_DECIDING", float("inf"))  # a busy machine takes its time

    def through(batch: bytes) -> dict[int, int]:
        counts: dict[int, int] = {}
        for start in range(0, len(batch), RECORD_BYTES):
            hop = int.from_bytes(batch[start + 52 : start + 56], "big")
            counts[hop] = counts.get(hop, 0) + 1
        return counts

    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            driver, now = a.node._driver, time.monotonic()
            for link, rtt in ((1, 0.001), (2, 0.05)):
                driver._take(LinkUp(link, None, "tcp", A, f"10.0.0.{link + 1}", 1, now), now)
                a.node._speaker.neighbour_measured(link, rtt, 0.0, now)
                for router_id in FAR:
                    update = Update(router_id.subnet, router_id, 0, 10)
                    a.node._speaker.receive(link, update, now)
            a.node._driver.nudge()
            await until(lambda: len(a.node._speaker.selected()) == ROUTES and not a.node._speaker.is_deciding)
            await until(lambda: a.plane.batches and all(r.backup == 2 for r in a.node._speaker.selected()))
            a.plane.batches.clear()
            a.plane.report(Stalled(1, time.monotonic()))
            await until(lambda: all(route.next_hop == 2 for route in a.node._speaker.selected()))
            await until(lambda: a.plane.batches)
            assert [through(batch) for batch in a.plane.batches] == [{2: ROUTES}]
            a.plane.batches.clear()
            a.plane.report(Resumed(1, time.monotonic()))
            # First the backup that is there again, a while later the better link, a batch each. Where the
            # machine is so slow that the while is over before the first is decided, one batch holds the
            # beginning of the second: so what counts is what each route was told, and that nothing came by
            # slices.
            await until(
                lambda: sum(through(batch).get(1, 0) for batch in a.plane.batches) == ROUTES, within=30
            )
            assert sum(through(batch).get(2, 0) for batch in a.plane.batches) == ROUTES
            assert 1 not in through(a.plane.batches[0]) or 2 not in through(a.plane.batches[-1])
            assert len(a.plane.batches) <= 3
            assert all(route.backup == 2 for route in a.node._speaker.selected())

    asyncio.run(main())
