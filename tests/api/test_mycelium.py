"""Mycelium's HTTP API: paths, codes and JSON as its clients expect them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from zosnet.api import mycelium
from zosnet.lab.fake_daemon import Caller, served
from zosnet.lab.fake_dataplane import Ether
from zosnet.lab.fake_node import FakeNode, fake_node, secret_of, until
from zosnet.model.prefix import Prefix
from zosnet.service.views import PeerView

A, B = "10.0.0.1", "10.0.0.2"
HELLO = base64.b64encode(b"hello").decode()


def run(tmp_path: Path, work: Callable[[Caller, Caller, FakeNode, FakeNode], Awaitable[None]]) -> None:
    async def main() -> None:
        ether = Ether()
        async with (
            fake_node(ether, A) as a,
            fake_node(ether, B, f"tcp://{A}:9651") as b,
            served(a.node, tmp_path / "a.sock", mycelium=True) as ask_a,
            served(b.node, tmp_path / "b.sock", mycelium=True) as ask_b,
        ):
            await until(lambda: a.node.routes().selected and b.node.routes().selected)
            await work(ask_a, ask_b, a, b)

    asyncio.run(main())


def test_the_node_says_who_it_is(tmp_path: Path) -> None:
    async def work(ask: Caller, _: Caller, a: FakeNode, b: FakeNode) -> None:
        public = secret_of(A).public()
        answer = await ask("GET", "/api/v1/admin")
        assert answer.body["nodePubkey"] == public.hex
        assert answer.body["nodeIp"] == a.address
        assert answer.body["nodeSubnet"] == str(public.subnet())
        assert isinstance(answer.body["nodeStartTime"], int)
        key = await ask("GET", f"/api/v1/pubkey/{b.address}")
        assert key.body == {"publicKey": secret_of(B).public().hex}
        assert (await ask("GET", "/api/v1/pubkey/400::1")).status == 404
        assert (await ask("GET", "/api/v1/pubkey/192.0.2.1")).status == 400

    run(tmp_path, work)


def test_peers_are_listed_added_and_removed(tmp_path: Path) -> None:
    async def work(_: Caller, ask: Caller, __: FakeNode, ___: FakeNode) -> None:
        (peer,) = (await ask("GET", "/api/v1/admin/peers")).body
        assert peer["endpoint"]["proto"] == "tcp" and peer["endpoint"]["addr"]["socket"]
        assert (peer["type"], peer["connectionState"]) == ("static", "alive")
        assert set(peer) == {
            "endpoint", "type", "connectionState", "txBytes", "rxBytes", "discovered", "lastConnected"
        }  # fmt: skip
        new = {"endpoint": "quic://[2001:db8::1]:9651"}
        assert (await ask("POST", "/api/v1/admin/peers", new)).status == 204
        assert (await ask("POST", "/api/v1/admin/peers", new)).status == 409
        assert (await ask("POST", "/api/v1/admin/peers", {"endpoint": "x"})).status == 400
        assert (await ask("POST", "/api/v1/admin/peers", [])).status == 400
        gone = f"/api/v1/admin/peers/{quote(new['endpoint'], safe='')}"
        assert (await ask("DELETE", gone)).status == 204
        assert (await ask("DELETE", gone)).status == 404
        assert (await ask("DELETE", "/api/v1/admin/peers/x")).status == 400

    run(tmp_path, work)


def test_routes_have_mycelium_s_fields(tmp_path: Path) -> None:
    async def work(_: Caller, ask: Caller, a: FakeNode, __: FakeNode) -> None:
        (route,) = (await ask("GET", "/api/v1/admin/routes/selected")).body
        assert set(route) == {"subnet", "nextHop", "metric", "seqno"}
        assert route["subnet"] == a.node.key().subnet
        assert route["nextHop"].startswith("TCP ") and isinstance(route["metric"], int)
        assert (await ask("GET", "/api/v1/admin/routes/fallback")).body == []
        await ask("GET", "/api/v1/pubkey/400::1")
        await until(lambda: a.node.routes().queried)
        (query,) = (await ask("GET", "/api/v1/admin/routes/queried")).body
        assert query["subnet"] == str(Prefix.parse("400::/64")) and query["expiration"].isdigit()

    run(tmp_path, work)


def test_messages_go_there_and_back(tmp_path: Path) -> None:
    async def work(ask_a: Caller, ask_b: Caller, a: FakeNode, b: FakeNode) -> None:
        waiting = asyncio.ensure_future(ask_b("GET", "/api/v1/messages?timeout=10"))
        await until(lambda: b.node.messages.counters()["receivers"] == 1)
        # A long poll makes nobody wait.
        assert (await ask_b("GET", "/api/v1/admin")).status == 200
        body = {"dst": {"ip": b.address}, "topic": HELLO, "payload": HELLO}
        replied = asyncio.ensure_future(ask_a("POST", "/api/v1/messages?reply_timeout=10", body))
        got = (await waiting).body
        assert set(got) == {"id", "srcIp", "srcPk", "dstIp", "dstPk", "topic", "payload"}
        assert (got["srcIp"], got["dstPk"], got["payload"]) == (a.address, secret_of(B).public().hex, HELLO)
        back = {"dst": {"pk": got["srcPk"]}, "payload": HELLO}
        assert (await ask_b("POST", f"/api/v1/messages/reply/{got['id']}", back)).status == 204
        reply = await replied
        assert reply.status == 200 and reply.body["id"] == got["id"] and "topic" not in reply.body
        state = await ask_a("GET", f"/api/v1/messages/status/{got['id']}")
        assert set(state.body) == {"dst", "state", "created", "deadline", "msgLen"}
        assert state.body["state"] in {"received", "read"}

    run(tmp_path, work)


def test_what_a_message_may_not_be(tmp_path: Path) -> None:
    async def work(ask: Caller, _: Caller, __: FakeNode, b: FakeNode) -> None:
        post = "/api/v1/messages"
        long = base64.b64encode(bytes(256)).decode()
        for body in (
            {"dst": {"ip": b.address}, "payload": HELLO, "topic": long},
            {"dst": {"ip": b.address}, "payload": "***"},
            {"dst": {}, "payload": HELLO},
            {"dst": {"ip": b.address, "pk": "00"}, "payload": HELLO},
            {"payload": HELLO},
            {"dst": {"ip": b.address}},
            {"dst": {"ip": b.address}, "payload": HELLO, "topic": "***"},
        ):
            assert (await ask("POST", post, body)).status == 400
        assert (await ask("GET", f"{post}?timeout=-1")).status == 400
        assert (await ask("GET", post)).status == 204
        assert (await ask("GET", f"{post}/status/{'0' * 16}")).status == 404
        sent = await ask("POST", post, {"dst": {"ip": "400::1"}, "payload": HELLO})
        assert sent.status == 201 and set(sent.body) == {"id"}
        silent = await ask("POST", f"{post}?reply_timeout=0.01", {"dst": {"ip": "400::1"}, "payload": HELLO})
        assert silent.status == 408 and set(silent.body) == {"id"}
        state = await ask("GET", f"{post}/status/{sent.body['id']}")
        assert state.body["state"] == "pending"

    run(tmp_path, work)


def test_topics_are_ruled_as_mycelium_s(tmp_path: Path) -> None:
    async def work(ask: Caller, _: Caller, __: FakeNode, ___: FakeNode) -> None:
        base, name = "/api/v1/messages/topics", b"a/b?c"
        topic = quote(base64.b64encode(name).decode(), safe="")
        assert (await ask("GET", f"{base}/default")).body == {"accept": True}
        assert (await ask("PUT", f"{base}/default", {"accept": False})).status == 204
        assert (await ask("PUT", f"{base}/default", {"accept": 1})).status == 400
        assert (await ask("GET", f"{base}/default")).body == {"accept": False}
        assert (await ask("GET", f"{base}/{topic}/sources")).status == 404
        assert (await ask("POST", f"{base}/{topic}/sources", {"subnet": "400::/7"})).status == 404
        assert (await ask("POST", base, list(name))).status == 201
        assert (await ask("POST", base, {"topic": 1})).status == 400
        assert (await ask("POST", base, [1] * 256)).status == 400
        assert (await ask("GET", base)).body == [base64.b64encode(name).decode()]
        assert (await ask("POST", f"{base}/{topic}/sources", {"subnet": "400::/7"})).status == 201
        assert (await ask("POST", f"{base}/{topic}/sources", {"subnet": "x"})).status == 400
        assert (await ask("GET", f"{base}/{topic}/sources")).body == ["400::/7"]
        assert (await ask("GET", f"{base}/{topic}/forward")).body is None
        for field in ("socketPath", "socket_path"):
            refused = await ask("PUT", f"{base}/{topic}/forward", {field: "/run/x"})
            assert refused.status == 403
            assert "topic file" in refused.body["error"]["remedy"]
        assert (await ask("GET", f"{base}/{topic}/forward")).body is None
        assert (await ask("DELETE", f"{base}/{topic}/forward")).status == 204
        subnet = quote("400::/7", safe="")
        assert (await ask("DELETE", f"{base}/{topic}/sources/{subnet}")).status == 204
        assert (await ask("GET", f"{base}/{topic}/sources")).body == []
        assert (await ask("DELETE", f"{base}/{topic}")).status == 204
        assert (await ask("DELETE", f"{base}/***")).status == 400
        for method, tail in (("DELETE", f"sources/{subnet}"), ("GET", "forward"), ("DELETE", "forward")):
            assert (await ask(method, f"{base}/{topic}/{tail}")).status == 404
        assert (await ask("GET", base)).body == []

    run(tmp_path, work)


def test_what_this_node_has_not_is_answered_as_by_one_that_has_none(tmp_path: Path) -> None:
    async def work(ask: Caller, _: Caller, __: FakeNode, ___: FakeNode) -> None:
        assert (await ask("GET", "/api/v1/admin/proxy")).body == []
        assert (await ask("POST", "/api/v1/admin/proxy", {"remote": None})).status == 404
        for method, path in (("DELETE", "proxy"), ("GET", "proxy/probe"), ("DELETE", "proxy/probe")):
            assert (await ask(method, f"/api/v1/admin/{path}")).status == 204
        stats = await ask("GET", "/api/v1/admin/stats/packets")
        assert stats.body == {"bySource": [], "byDestination": []}

    run(tmp_path, work)


def test_a_datagram_link_is_called_what_mycelium_s_clients_know() -> None:
    peer = PeerView("udp://192.0.2.1:9652", "static", "alive", 1.0, 1.0, 0, "", None, remote="192.0.2.1:9652")
    assert mycelium._peer(peer)["endpoint"] == {"proto": "quic", "addr": {"socket": "192.0.2.1:9652"}}
    assert mycelium._link(peer) == "QUIC -> 192.0.2.1:9652"
