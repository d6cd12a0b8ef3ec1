"""Whole nodes over an ether: they link, route, say what is wrong, and stop in good order."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from tests.service.nodes import A, B, C, at, probes, reaches

from zosnet.dataplane.events import ControlReceived, Failed, LinkDown, LinkUp
from zosnet.lab.fake_dataplane import Ether
from zosnet.lab.fake_node import fake_node, secret_of, until
from zosnet.model.errors import HostError
from zosnet.model.router_id import RouterId
from zosnet.service.views import PingRequest, TraceRequest
from zosnet.wire.babel import Update, encode_control


def test_a_line_of_nodes_reaches_each_other() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b, fake_node(ether, C, at(B)) as c:
            await until(lambda: reaches(a, b, c) and reaches(c, a, b))
            (line,) = await probes(c, PingRequest(a.address, count=1))
            assert (line.outcome, line.source) == ("reply", a.address)
            hops = await probes(c, TraceRequest(a.address))
            assert [hop.outcome for hop in hops] == ["hop", "reply"]
            peer = b.node.peers().peers[0]
            assert (peer.state, peer.address, peer.rtt_ms) == ("alive", a.address, 1.0)

    asyncio.run(main())


def test_a_route_is_withdrawn_when_its_node_stops() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            async with fake_node(ether, C, at(B)) as c:
                await until(lambda: reaches(a, c))
            await until(lambda: not reaches(a, c))
            assert reaches(a, b)

    asyncio.run(main())


def test_strangers_that_name_themselves_and_go_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            driver, key = a.node._driver, secret_of(B).public()
            named = encode_control(Update(key.subnet(), RouterId.of(key, 0, b"abcdef"), 0, 0))
            for link in range(1001, 2001):
                for event in (
                    LinkUp(link, None, "tcp", f"{A}:9651", B, link, 0.0),
                    ControlReceived(link, named, 0.0, None),
                    LinkDown(link, "bye", 0.0),
                ):
                    driver._take(event, time.monotonic())
            assert driver.counters["log_thinned"] > 1900

    with caplog.at_level(logging.INFO, "zosnet"):
        asyncio.run(main())
    assert 50 <= len(caplog.records) < 100


def test_traffic_moves_to_the_other_way_when_a_link_breaks() -> None:
    async def main() -> None:
        ether = Ether()
        async with (
            fake_node(ether, A) as a,
            fake_node(ether, B, at(A)) as b,
            fake_node(ether, C, at(A), at(B)) as c,
        ):
            await until(lambda: reaches(c, a, b) and reaches(a, b, c))
            c.node.remove_peer(at(A))
            for link in ether.between(a.plane, c.plane):
                link.break_down()
            await until(
                lambda: any(r.next_hop == at(B) and r.address == a.address for r in c.node.routes().selected)
            )
            (line,) = await probes(c, PingRequest(a.address, count=1))
            assert line.outcome == "reply"

    asyncio.run(main())


def test_a_broken_link_is_dialled_again() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(b, a))
            ether.links[0].break_down()
            await until(lambda: b.node.status().peers_linked == 0)
            await until(lambda: reaches(b, a) and b.node.status().peers_linked == 1)

    asyncio.run(main())


def test_a_peer_that_is_this_node_is_named_as_such() -> None:
    async def main() -> None:
        async with fake_node(Ether(), A, at(A)) as a:
            await until(lambda: any("itself" in finding.text for finding in a.node.status().findings))
            assert a.plane.links() == []

    asyncio.run(main())


def test_a_peer_that_refuses_shows_in_the_findings() -> None:
    async def main() -> None:
        async with fake_node(Ether(), A, at(B)) as a:
            await until(lambda: any(f.code == "peer.dead" for f in a.node.status().findings))
            codes = {finding.code: finding for finding in (await a.node.doctor()).findings}
            assert "refused" in codes["peer.dead"].text and codes["peer.dead"].remedy
            assert "peers.all_dead" in codes

    asyncio.run(main())


def test_a_malformed_control_packet_closes_the_link() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(a, b))
            number = a.node.peers().peers[0].link
            assert number is not None
            a.plane.take_control(number, bytes.fromhex("01010000 2a030008 0406800000 05ff"))
            await until(lambda: any(f.code == "peers.malformed" for f in a.node.status().findings))

    asyncio.run(main())


def test_stalls_and_load_reach_the_routing() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(a, b))
            (link,) = ether.links
            link.busy(True)
            link.stall()
            await until(lambda: not reaches(a, b) or a.node.routes().selected[0].metric is None)
            assert a.node.peers().peers[0].stalled
            link.resume()
            link.busy(False)
            await until(lambda: reaches(a, b))

    asyncio.run(main())


def test_a_failed_data_plane_stops_the_node_in_good_order() -> None:
    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            a.plane.report(Failed("the device is gone"))
            await asyncio.wait_for(a.node.stopping.wait(), 5.0)
            assert isinstance(a.node.failure, HostError) and "device is gone" in a.node.failure.message

    asyncio.run(main())


def test_a_peer_may_be_named_by_a_host_name() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, "127.0.0.1") as a, fake_node(ether, B, "tcp://localhost:9651") as b:
            await until(lambda: reaches(b, a))
            b.node.add_peer("tcp://no-such-name.invalid:9651")
            await until(lambda: any("can't be resolved" in peer.last_error for peer in b.node.peers().peers))

    asyncio.run(main())


def test_the_key_behind_an_address_is_that_of_the_route() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(a, b))
            assert a.node.key_of(b.address) == secret_of(B).public().hex
            assert a.node.key_of(a.address) == secret_of(A).public().hex
            assert a.node.key_of("400::1") is None

    asyncio.run(main())


def test_metrics_name_what_is_counted() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(a, b))
            shown = a.node.metrics().decode()
            assert 'zosnet_dataplane_drop_total{reason="no_route"} 0.0' in shown
            assert 'zosnet_peers{kind="inbound",state="alive"} 1.0' in shown
            assert "# TYPE zosnet_babel_routes gauge" in shown
            assert 'zosnet_babel_received_total{tlv_type="update"}' in shown
            assert "zosnet_dataplane_control_received_total" in shown
            assert "mycelium_peer_manager_known_peers 1.0" in shown

    asyncio.run(main())


def test_a_bug_in_the_driver_stops_the_node_in_good_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            monkeypatch.setattr(a.plane, "drain_events", lambda _: 1 / 0)
            a.node.add_peer(at(B))
            await asyncio.wait_for(a.node.stopping.wait(), 5.0)
            assert a.node.failure is not None and "this is a bug" in a.node.failure.message
            monkeypatch.undo()

    asyncio.run(main())
