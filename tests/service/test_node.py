"""Whole nodes over an ether: they link, route, carry messages and probes, reload, and stop."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
import time
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from zosnet.babel import Unreachable
from zosnet.dataplane.events import ControlReceived, Failed, LinkDown, LinkUp
from zosnet.lab.fake_dataplane import Ether
from zosnet.lab.fake_node import FakeNode, fake_node, secret_of, until
from zosnet.message import Message, TopicPolicy, TopicRule
from zosnet.model.endpoint import Endpoint
from zosnet.model.errors import HostError, UsageError, ZosnetError
from zosnet.model.message_id import MessageId
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.service import route_batch
from zosnet.service.node import new_router_id
from zosnet.service.views import MessageRequest, PingRequest, ProbeLine, TraceRequest
from zosnet.store.settings import Settings, load
from zosnet.wire.babel import Update, encode_control

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def at(ip: str) -> str:
    return f"tcp://{ip}:9651"


def reaches(node: FakeNode, *others: FakeNode) -> bool:
    known = {route.address for route in node.node.routes().selected}
    return {other.address for other in others} <= known


async def probes(node: FakeNode, request: PingRequest | TraceRequest) -> list[ProbeLine]:
    lines = node.node.ping(request) if isinstance(request, PingRequest) else node.node.trace(request)
    return [line async for line in lines]


def subnet_of(node: FakeNode) -> Prefix:
    return Prefix.parse(node.node.key().subnet)


def text(payload: bytes, **more: Any) -> MessageRequest:
    return MessageRequest(base64.b64encode(payload).decode(), **more)


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


def test_messages_arrive_and_are_answered() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(a, b) and reaches(b, a))
            waiting = asyncio.ensure_future(a.node.messages.receive(None, 5.0))
            await asyncio.sleep(0)
            sent = b.node.messages.send(text(b"hello", address=a.address))
            got = await waiting
            assert got is not None and base64.b64decode(got.payload) == b"hello"
            a.node.messages.send(text(b"back", public_key=b.node.key().public_key, reply_to=got.id))
            reply = await b.node.messages.wait_for_reply(sent.id, 5.0)
            assert reply is not None and reply.is_reply
            found = await b.node.messages.status(sent.id, 5.0)
            assert found is not None and found.state in {"received", "read"}

    asyncio.run(main())


def test_a_peeking_receiver_leaves_the_message() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(b, a) and reaches(a, b))
            peeking = asyncio.ensure_future(a.node.messages.receive(None, 5.0, peek=True))
            await asyncio.sleep(0)
            b.node.messages.send(text(b"once", address=a.address))
            seen, taken = await peeking, await a.node.messages.receive(None, 0.0)
            assert seen is not None and seen == taken
            assert await a.node.messages.receive(None, 0.01) is None

    asyncio.run(main())


def test_a_receiver_gets_only_its_topic() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(b, a) and reaches(a, b))
            topic = base64.b64encode(b"news").decode()
            waiting = asyncio.ensure_future(a.node.messages.receive(topic, 5.0))
            await asyncio.sleep(0)
            b.node.messages.send(text(b"other", address=a.address))
            b.node.messages.send(text(b"news", address=a.address, topic=topic))
            got = await waiting
            assert got is not None and got.topic == topic

    asyncio.run(main())


def test_a_message_that_comes_as_the_time_is_up_is_not_lost() -> None:
    """It has left the queue and its sender was told so: who waited must get it."""

    async def main() -> None:
        message = Message(
            id=MessageId(b"12345678"), source=IPv6Address("400::1"), source_key=secret_of(B).public(),
            destination=IPv6Address("400::2"), topic=b"", payload=b"late", is_reply=False,
        )  # fmt: skip
        async with fake_node(Ether(), A) as a:
            messages = a.node.messages
            waiting = asyncio.create_task(messages.receive(None, 0.05))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.04, messages._deliver, message)
            time.sleep(0.08)  # noqa: ASYNC251 - both are due in one turn of the loop
            got = await waiting
            assert got is not None and base64.b64decode(got.payload) == b"late"

    asyncio.run(main())


@pytest.mark.parametrize("path", ["relative", "", "/nul\0", "/\ud800", "/" + "x" * 107])
def test_a_topic_is_forwarded_to_nothing_that_is_no_socket_path(path: str) -> None:
    """Half a surrogate pair once ended the whole node at the first message."""

    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            topics = a.node.messages.topics
            topics.add(b"job")
            with pytest.raises(UsageError, match="absolute path"):
                topics.set_forward(b"job", path)
            assert topics.set_forward(b"job", "/run/program.sock")

    asyncio.run(main())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"echo " + await reader.read(65536))
    writer.close()


@pytest.mark.parametrize("answers", [True, False])
def test_a_topic_is_handed_to_its_program(tmp_path: Path, answers: bool) -> None:
    async def main() -> None:
        ether, path = Ether(), tmp_path / "program.sock"
        rule = TopicRule(subnets=(Prefix.parse("400::/7"),), forward_socket=str(path))
        policy = TopicPolicy(rules={b"job": rule})
        program = await asyncio.start_unix_server(echo, path if answers else tmp_path / "other.sock")
        async with fake_node(ether, A, topics=policy) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(b, a) and reaches(a, b))
            sent = b.node.messages.send(
                text(b"work", address=a.address, topic=base64.b64encode(b"job").decode())
            )
            if answers:
                reply = await b.node.messages.wait_for_reply(sent.id, 5.0)
                assert reply is not None and base64.b64decode(reply.payload) == b"echo work"
                assert await a.node.messages.receive(None, 0.0) is None
            else:
                await until(lambda: a.node.messages.counters()["forward_failed"])
                assert await a.node.messages.receive(None, 0.0) is not None
        program.close()

    asyncio.run(main())


def test_waiting_receivers_are_released_at_the_end() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            async with fake_node(Ether(), A) as a:
                waiting = group.create_task(a.node.messages.receive(None, 3600.0))
                await asyncio.sleep(0)
            assert await waiting is None

    asyncio.run(main())


@pytest.mark.parametrize(
    "request_",
    [
        text(b"x"),
        text(b"x", address="400::1", public_key="00" * 32),
        text(b"x", address="2001:db8::1"),
        text(b"x", address="nonsense"),
        text(b"x", public_key="zz" * 32),
        MessageRequest("***", address="400::1"),
        MessageRequest("", address="400::1", deadline=-1.0),
    ],
)
def test_a_message_that_cannot_be_is_refused(request_: MessageRequest) -> None:
    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            with pytest.raises(UsageError):
                a.node.messages.send(request_)

    asyncio.run(main())


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


def test_a_reload_applies_what_it_can_and_names_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "zosnet.toml"
    file.write_text(f'peers = ["{at(B)}"]\n')

    def read() -> Settings:
        return load({"config": str(file), "no_tun": True, "disable_peer_discovery": True}, {})

    async def main() -> None:
        ether = Ether()
        async with (
            fake_node(ether, B) as b,
            fake_node(ether, C) as c,
            fake_node(ether, A, at(B), read_settings=read) as a,
        ):
            await until(lambda: reaches(a, b))
            file.write_text(f'peers = ["{at(C)}"]\nmtu = 1300\nlog_level = "warning"\n')
            report = await a.node.reload()
            assert f"peer added: {at(C)}" in report.changed and f"peer removed: {at(B)}" in report.changed
            assert "mtu" in report.needs_restart
            assert logging.getLogger("zosnet").level == logging.WARNING
            await until(lambda: reaches(a, c))
            file.write_text("peers = 7")
            with pytest.raises(UsageError):
                await a.node.reload()
            assert any(finding.code == "reload.failed" for finding in a.node.status().findings)
            assert [peer.endpoint for peer in a.node.peers().peers if peer.kind == "static"] == [at(C)]

    asyncio.run(main())
    logging.getLogger("zosnet").setLevel(logging.NOTSET)


def test_a_node_without_settings_to_read_refuses_to_reload() -> None:
    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            with pytest.raises(HostError):
                await a.node.reload()

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


def test_discovery_runs_finds_restarts_and_may_fail(tmp_path: Path) -> None:
    file = tmp_path / "z.toml"
    file.write_text("peer_discovery_interfaces = ['none']\n")

    def read() -> Settings:
        return load({"config": str(file), "no_tun": True}, {})

    async def main() -> None:
        ether = Ether()
        async with (
            fake_node(ether, B) as b,
            fake_node(ether, A, disable_peer_discovery=False, peer_discovery_port=0, read_settings=read) as a,
        ):
            other = RouterId.of(secret_of(B).public(), 0, bytes(6))
            a.node._local_peers.found(Endpoint.parse(at(B)), other)
            await until(lambda: reaches(a, b))
            assert [peer.kind for peer in a.node.peers().peers] == ["discovered"]
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
                taken.bind(("::", 0))
                file.write_text(f"peer_discovery_port = {taken.getsockname()[1]}\n")
                report = await a.node.reload()
            assert "discovery restarted with its new settings" in report.changed
            assert "discovery.off" in {finding.code for finding in a.node.status().findings}
            file.write_text("disable_peer_discovery = true\n")
            await a.node.reload()
            assert "discovery.off" not in {finding.code for finding in a.node.status().findings}

    asyncio.run(main())


def test_topics_are_read_again_at_a_reload(tmp_path: Path) -> None:
    topics, file = tmp_path / "topics.toml", tmp_path / "z.toml"
    topics.write_text('default = "Reject"\n')
    file.write_text(f'topic_config = "{topics}"\n')

    async def main() -> None:
        async with fake_node(Ether(), A, read_settings=lambda: load({"config": str(file)}, {})) as a:
            assert a.node.messages.topics.default_accept
            assert "topics read again" in (await a.node.reload()).changed
            policy = a.node.messages.topics.policy
            assert not policy.default_accept
            topics.write_text("default = 7\n")
            with pytest.raises(ZosnetError):
                await a.node.reload()
            assert a.node.messages.topics.policy is policy

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
