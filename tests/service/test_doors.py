"""Closed doors of whole nodes: what the settings let in, what a reload changes, and how a refusal is told."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from ipaddress import IPv6Address
from typing import Any

import pytest
from tests.service.nodes import A, B

from zosnet.access import ANYONE, Rule, parse_rule
from zosnet.lab.fake_dataplane import Ether
from zosnet.lab.fake_node import FakeNode, fake_node, secret_of, until
from zosnet.model.errors import UsageError
from zosnet.service.views import MessageRequest, PingRequest
from zosnet.store.settings import Settings

CLOSED: dict[str, Any] = {"allow_inbound": "none"}
KEY_OF_B = secret_of(B).public()


def linked(one: FakeNode, other: FakeNode) -> bool:
    return bool(one.node.routes().selected and other.node.routes().selected)


def message_to(node: FakeNode, deadline: float = 5.0) -> MessageRequest:
    return MessageRequest(base64.b64encode(b"hello").decode(), address=node.address, deadline=deadline)


def udp(source: FakeNode, destination: FakeNode, port: int) -> bytes:
    datagram = (4000).to_bytes(2) + port.to_bytes(2) + (8).to_bytes(2) + bytes(2)
    head = bytes([0x60, 0, 0, 0, 0, 8, 17, 64])
    return head + b"".join(IPv6Address(end.address).packed for end in (source, destination)) + datagram


def test_closed_doors_let_pings_and_answers_in() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A, **CLOSED) as a, fake_node(ether, B, f"tcp://{A}:9651", **CLOSED) as b:
            await until(lambda: linked(a, b))
            for one, other in ((a, b), (b, a)):
                lines = [line async for line in one.node.ping(PingRequest(other.address, count=1))]
                assert [line.outcome for line in lines] == ["reply"]

    asyncio.run(main())


def test_a_refused_message_is_counted_and_told_with_its_remedy() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A, **CLOSED) as a, fake_node(ether, B, f"tcp://{A}:9651") as b:
            await until(lambda: linked(a, b))
            b.node.messages.send(message_to(a))
            await until(lambda: a.node.doors().refusals)
            found = a.node.doors()
            assert found.refused["refused_message"] >= 1
            (refusal,) = found.refusals
            assert (refusal.address, refusal.what) == (b.address, "messages")
            assert (refusal.setting, refusal.item) == ("allow_messages", f"key:{KEY_OF_B.hex}")
            assert refusal.first_ago >= refusal.last_ago >= 0
            assert b'zosnet_dataplane_drop_total{reason="refused_message"}' in a.node.metrics()

    asyncio.run(main())


def test_a_message_gets_its_reply_through_closed_doors() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A, **CLOSED) as a, fake_node(ether, B, f"tcp://{A}:9651") as b:
            await until(lambda: linked(a, b))
            sent = a.node.messages.send(message_to(b))
            got = await b.node.messages.receive(None, 5.0)
            assert got is not None
            reply = MessageRequest(
                base64.b64encode(b"answer").decode(), address=a.address, reply_to=got.id, deadline=5.0
            )
            b.node.messages.send(reply)
            answer = await a.node.messages.wait_for_reply(sent.id, 5.0)
            assert answer is not None and base64.b64decode(answer.payload) == b"answer"
            assert a.node.doors().refusals == []

    asyncio.run(main())


def test_a_reload_opens_and_closes_doors() -> None:
    wanted = Settings(no_tun=True, disable_peer_discovery=True)

    async def main() -> None:
        nonlocal wanted
        ether = Ether()
        async with (
            fake_node(ether, A, read_settings=lambda: wanted, **CLOSED) as a,
            fake_node(ether, B, f"tcp://{A}:9651") as b,
        ):
            await until(lambda: linked(a, b))
            b.plane.inject(udp(b, a, 53))
            (refusal,) = a.node.doors().refusals
            assert refusal.what == "udp/53" and refusal.item is not None
            wanted = replace(wanted, allow=(parse_rule(refusal.item),), allow_messages=(ANYONE,))
            report = await a.node.reload()
            assert report.needs_restart == [] and len(report.changed) == 1
            b.plane.inject(udp(b, a, 53))
            b.node.messages.send(message_to(a))
            assert await a.node.messages.receive(None, 5.0) is not None
            found = a.node.doors()
            assert [(rule.rule, rule.hits) for rule in found.rules] == [(refusal.item, 1)]
            assert [(rule.rule, rule.hits) for rule in found.messages] == [("any", 1)]
            assert len(a.plane.forwarder.delivered) == 1
            wanted = replace(wanted, allow_inbound="all")
            await a.node.reload()
            b.plane.inject(udp(b, a, 54))
            assert len(a.plane.forwarder.delivered) == 2 and a.node.doors().inbound == "all"

    asyncio.run(main())


def test_more_rules_than_there_is_room_for_leave_the_old_ones() -> None:
    many = Rule(KEY_OF_B, 6, tuple((port, port) for port in range(0, 10_000, 2)))
    wanted = Settings(no_tun=True, disable_peer_discovery=True, allow=(many,))

    async def main() -> None:
        async with fake_node(Ether(), A, read_settings=lambda: wanted, **CLOSED) as a:
            with pytest.raises(UsageError, match="5000 records"):
                await a.node.reload()
            assert a.node.doors().rules == []
            assert "reload.failed" in {finding.code for finding in a.node.status().findings}

    asyncio.run(main())


def test_only_those_who_are_listed_may_link() -> None:
    async def main() -> None:
        ether = Ether()
        listed: dict[str, Any] = {"allow_links": (KEY_OF_B,)}
        async with (
            fake_node(ether, A, **listed) as a,
            fake_node(ether, B, f"tcp://{A}:9651") as b,
            fake_node(ether, "10.0.0.3", f"tcp://{A}:9651") as c,
        ):
            assert a.plane.allowed_links == [KEY_OF_B.raw]
            await until(lambda: a.node.doors().links == [KEY_OF_B.hex] and linked(a, b))
            await until(lambda: c.node.peers().peers[0].failures > 0)
            assert {peer.public_key for peer in a.node.peers().peers} == {KEY_OF_B.hex}
            assert a.node._peering.counters()["links_unlisted"] >= 1
            assert b"zosnet_node_links_unlisted_total" in a.node.metrics()

    asyncio.run(main())
