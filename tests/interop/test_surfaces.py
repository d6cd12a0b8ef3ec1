"""Mycelium's own clients pointed at our node, and the LAN where nobody was told of anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from bench.netlab import Lab
from tests.interop.daemons import API, PORT, Daemon, OurPart, Theirs, eventually, mycelium


@dataclass(frozen=True)
class Surfaces:
    """Two linked nodes, with a third that nobody dials yet."""

    ours: Daemon
    theirs: Daemon
    spare: Daemon

    def their_cli(self, *words: str) -> str:
        """The real Mycelium's command line, as a client of our node's HTTP API."""
        command = (mycelium(), "--silent", "--api-addr", API, *words)
        return self.ours.node.run(*command, env=self.ours.variables())


@pytest.fixture(scope="module")
def surfaces() -> Iterator[Surfaces]:
    with Lab("ots", [("o", "t"), ("o", "s")]) as lab:
        made = Surfaces(OurPart(lab, "o"), Theirs(lab, "t"), Theirs(lab, "s"))
        made.theirs.start()
        made.spare.start()
        made.ours.start([f"tcp://{made.ours.node.towards('t').peer_ip}:{PORT}"])
        made.ours.awaits(made.theirs)
        yield made


def shape(value: Any) -> Any:
    """The JSON value with every leaf replaced by its type, and lists by the shape of their first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


@pytest.mark.parametrize(
    "path",
    ["/admin", "/admin/peers", "/admin/routes/selected", "/messages/topics/default"],
)
def test_the_api_answers_in_their_shape(surfaces: Surfaces, path: str) -> None:
    surfaces.theirs.awaits(surfaces.ours)
    ours, theirs = surfaces.ours.http("GET", path), surfaces.theirs.http("GET", path)
    assert ours[0] == theirs[0] == 200
    assert shape(ours[1]) == shape(theirs[1])


@pytest.mark.parametrize("path", ["/admin/routes/fallback", "/admin/routes/queried", "/messages/topics"])
def test_lists_that_may_be_empty_are_lists(surfaces: Surfaces, path: str) -> None:
    status, answer = surfaces.ours.http("GET", path)
    assert status == 200 and isinstance(answer, list)


def test_traffic_by_address_is_a_table_that_we_leave_empty(surfaces: Surfaces) -> None:
    status, answer = surfaces.ours.http("GET", "/admin/stats/packets")
    assert status == 200 and set(answer) == {"bySource", "byDestination"}


def test_a_public_key_is_told_by_address(surfaces: Surfaces) -> None:
    _, info = surfaces.theirs.http("GET", "/admin")
    assert surfaces.ours.http("GET", f"/pubkey/{surfaces.theirs.address}") == (
        200,
        {"publicKey": info["nodePubkey"]},
    )
    assert surfaces.ours.http("GET", "/pubkey/5ff:1:2:3::1")[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/admin/peers", {"endpoint": "nonsense"}),
        ("DELETE", "/admin/peers/tcp%3A%2F%2F192.0.2.7%3A1", None),
        ("DELETE", "/admin/peers/nonsense", None),
        ("GET", "/messages/status/0011223344556677", None),
        ("GET", "/messages?timeout=0", None),
        ("GET", "/nonsense", None),
    ],
)
def test_refusals_have_their_status(surfaces: Surfaces, method: str, path: str, body: Any) -> None:
    assert surfaces.ours.http(method, path, body)[0] == surfaces.theirs.http(method, path, body)[0]


TOPIC = "/messages/topics/Z3JlZXQ%3D"


def test_topics_are_managed_as_theirs_are(surfaces: Surfaces) -> None:
    """The same calls to both nodes, in this order, have the same answers."""
    calls: list[tuple[str, str, Any]] = [
        ("PUT", "/messages/topics/default", {"accept": False}),
        ("GET", "/messages/topics/default", None),
        ("POST", "/messages/topics", list(b"greet")),
        ("GET", "/messages/topics", None),
        ("POST", f"{TOPIC}/sources", {"subnet": "500::/8"}),
        ("GET", f"{TOPIC}/sources", None),
        ("DELETE", f"{TOPIC}/sources/500%3A%3A%2F8", None),
        ("GET", f"{TOPIC}/sources", None),
        ("GET", f"{TOPIC}/forward", None),
        ("DELETE", f"{TOPIC}/forward", None),
        ("GET", f"{TOPIC}/forward", None),
        ("DELETE", TOPIC, None),
        ("GET", "/messages/topics", None),
        ("PUT", "/messages/topics/default", {"accept": True}),
    ]
    for call in calls:
        assert surfaces.ours.http(*call) == surfaces.theirs.http(*call), call


def test_a_refused_topic_reaches_neither_side(surfaces: Surfaces) -> None:
    for one, other in ((surfaces.ours, surfaces.theirs), (surfaces.theirs, surfaces.ours)):
        other.http("POST", "/messages/topics", list(b"closed"))  # listed, and nobody is allowed
        identifier = one.send(other, b"let me in", topic=b"closed")
        assert other.http("GET", "/messages?timeout=1&topic=Y2xvc2Vk")[0] == 204
        assert one.state(identifier) in {"pending", "sending"}
        other.http("DELETE", "/messages/topics/Y2xvc2Vk")


def test_their_command_line_lists_our_peers_and_routes(surfaces: Surfaces) -> None:
    peers = json.loads(surfaces.their_cli("peers", "list", "--json"))
    endpoint = {"proto": "tcp", "addr": {"socket": f"{surfaces.ours.node.towards('t').peer_ip}:{PORT}"}}
    found = [peer for peer in peers if peer["endpoint"] == endpoint]
    assert found and found[0]["connectionState"] == "alive" and found[0]["type"] == "static"
    routes = json.loads(surfaces.their_cli("routes", "selected", "--json"))
    assert any(route["subnet"].startswith(surfaces.theirs.prefix) for route in routes)
    for words in (("peers", "list"), ("routes", "selected"), ("routes", "fallback"), ("routes", "queried")):
        surfaces.their_cli(*words)
    surfaces.their_cli("stats", "packets")


def test_their_command_line_adds_and_removes_our_peers(surfaces: Surfaces) -> None:
    endpoint = f"tcp://{surfaces.ours.node.towards('s').peer_ip}:{PORT}"
    assert not surfaces.ours.reaches(surfaces.spare)
    surfaces.their_cli("peers", "add", endpoint)
    surfaces.ours.awaits(surfaces.spare)
    assert surfaces.ours.http("POST", "/admin/peers", {"endpoint": endpoint})[0] == 409
    surfaces.their_cli("peers", "remove", endpoint)
    eventually("the link's end", lambda: not surfaces.ours.reaches(surfaces.spare), 5)


def test_their_command_line_sends_and_receives_by_our_node(surfaces: Surfaces) -> None:
    surfaces.their_cli("message", "send", "-t", "relayed", surfaces.theirs.address, "by proxy")
    assert surfaces.theirs.receive(topic=b"relayed")["payload"] == b"by proxy"
    surfaces.theirs.send(surfaces.ours, b"to you", topic=b"back")
    assert "to you" in surfaces.their_cli("message", "receive", "-t", "back", "--timeout", "10")


def test_neighbours_on_a_lan_find_each_other() -> None:
    """No endpoint is configured on either side. Mycelium speaks at its start, then once a minute."""
    with Lab("ot", [("o", "t")]) as lab:
        ours, theirs = OurPart(lab, "o"), Theirs(lab, "t")
        eventually("a link-local address", lambda: "tentative" not in lab["o"].run("ip", "-6", "addr"), 5)
        ours.start([], "--peer-discovery-port", 9650)
        theirs.start([], "--peer-discovery-port", 9650)
        theirs.awaits(ours, 15)
        ours.awaits(theirs, 5)
        _, peers = ours.http("GET", "/admin/peers")
        assert {peer["type"] for peer in peers} & {"linkLocalDiscovery", "inbound"}
