"""Closed doors of real nodes: what the kernels of two hosts get from each other, unasked and asked."""

from __future__ import annotations

import base64
import errno
import fcntl
import socket
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from tests.integration.nodes import dialling

from zosnet.lab import Grid, Node, until
from zosnet.lab.programs import api, executable
from zosnet.lab.two_paths import meet, start

pytestmark = [pytest.mark.privileged, pytest.mark.slow]

PORT = 7000
#: Where our nodes are linked to by each protocol.
LISTEN = {"tcp": 9651, "quic": 9651, "udp": 9652}
#: Seconds: TCP's pauses double, and old keys behind a relay or a TCP link are given up after 5 s of silence.
PATIENCE = 60
#: linux/in6.h: the MTU of the path of a connected socket.
IPV6_MTU = 24


def key_of(node: Node) -> str:
    return str(api(node).get("/v1/key")["public_key"])


def doors(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = api(node).get("/v1/doors")
    return found


def refused(node: Node, reason: str) -> int:
    return int(doors(node)["refused"].get(reason, 0))


@contextmanager
def serving(node: Node, port: int = PORT) -> Iterator[socket.socket]:
    """A TCP server on the node's overlay address."""
    with node.host.namespace.socket(socket.AF_INET6, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((str(node.address), port))
        server.listen()
        server.settimeout(5)
        yield server


def knocks(source: Node, target: Node, port: int = PORT) -> int:
    """What becomes of a TCP connection: 0, or the error of the kernel that asked for it."""
    with source.host.namespace.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
        client.settimeout(3)
        try:
            return client.connect_ex((str(target.address), port))
        except TimeoutError:
            return errno.ETIMEDOUT


def datagrams(node: Node, port: int = 0) -> socket.socket:
    each = node.host.namespace.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    each.bind((str(node.address), port))
    each.settimeout(2)
    return each


@pytest.fixture(params=["tcp", "udp"])
def pair(grid: Grid, request: pytest.FixtureRequest) -> tuple[Node, Node]:
    """A node as it comes, its doors closed, and a neighbour with open ones; both run."""
    grid.host("a"), grid.host("b")
    url = grid.link("a", "b").url("b", request.param, port=LISTEN[request.param])
    a, b = dialling(grid, "a", url, closed=True), dialling(grid, "b")
    start([b, a])
    return a, b


def test_by_default_only_pings_come_in_unasked(pair: tuple[Node, Node]) -> None:
    a, b = pair
    assert b.reaches(a) and a.reaches(b)
    with serving(a):
        assert knocks(b, a) == errno.EACCES, "administratively prohibited, at once"
    with datagrams(a, PORT) as deaf, datagrams(b) as sender:
        before = refused(a, "refused_service")
        sender.sendto(b"unasked", (str(a.address), PORT))
        until("it is counted", lambda: refused(a, "refused_service") > before)
        deaf.setblocking(False)
        with pytest.raises(BlockingIOError):
            deaf.recv(100)
    told = {refusal["what"]: refusal for refusal in doors(a)["refusals"]}
    assert told[f"tcp/{PORT}"]["public_key"] == key_of(b)
    assert told[f"tcp/{PORT}"]["item"] == f"tcp/{PORT} from key:{key_of(b)}"
    socket_of_a = f"ZOSNET_SOCKET={a.inside('api.sock')}"
    shown = a.host.run("env", socket_of_a, *executable(), "doors").stdout
    assert f'allow = ["tcp/{PORT} from key:{key_of(b)}"]' in shown
    sample = 'zosnet_dataplane_drop_total{reason="refused_service"}'
    assert api(a).metrics()[sample] >= 2


def test_what_the_host_asks_for_is_answered(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with serving(b):
        assert knocks(a, b) == 0
    assert knocks(a, b) == errno.ECONNREFUSED, "so are refusals of the other kernel"
    with datagrams(a) as here, datagrams(b, PORT) as there:
        for size in (10, 1300, 4000):  # the last in fragments
            here.sendto(bytes(size), (str(b.address), PORT))
            data, source = there.recvfrom(65536)
            there.sendto(data, source)
            assert here.recv(65536) == bytes(size)
    assert doors(a)["flows"] >= 2
    assert doors(a)["refusals"] == []


@pytest.mark.parametrize("ends", ["stopped", "killed"])
@pytest.mark.parametrize("first", ["this side", "the other side"])
def test_connections_of_this_host_outlive_its_daemon(pair: tuple[Node, Node], ends: str, first: str) -> None:
    a, b = pair
    with ExitStack() as stack:
        server = stack.enter_context(serving(b))
        here = stack.enter_context(a.host.namespace.socket(socket.AF_INET6, socket.SOCK_STREAM))
        here.connect((str(b.address), PORT))
        there = stack.enter_context(server.accept()[0])
        here.settimeout(PATIENCE)
        there.settimeout(PATIENCE)
        here.sendall(b"before")
        assert there.recv(10) == b"before"
        if ends == "killed":
            a.kill()
        else:
            a.stop()
        a.start()
        meet([a, b])
        if first == "the other side":
            there.sendall(b"meanwhile")
            assert here.recv(10) == b"meanwhile"
        here.sendall(b"after")
        assert there.recv(10) == b"after"
        there.sendall(b"answer")
        assert here.recv(10) == b"answer"
        there.close()
        assert here.recv(10) == b""


def too_big(quoted: bytes, mtu: int = 1280) -> bytes:
    """An ICMPv6 Packet Too Big; the kernel fills in the checksum."""
    return bytes([2, 0, 0, 0]) + mtu.to_bytes(4) + quoted


def test_an_error_counts_only_when_it_quotes_what_the_host_sent(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with (
        datagrams(a) as here,
        datagrams(b, PORT) as there,
        b.host.namespace.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as router,
    ):
        here.connect((str(b.address), PORT))
        here.send(b"datagram")
        assert there.recv(100) == b"datagram"
        assert here.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU) == 1360

        def quote(port: int) -> bytes:
            head = bytes([0x60, 0, 0, 0, 0, 16, 17, 64]) + a.address.packed + b.address.packed
            return head + port.to_bytes(2) + PORT.to_bytes(2) + (16).to_bytes(2) + bytes(2) + b"datagram"

        own = here.getsockname()[1]
        router.sendto(too_big(quote(own ^ 1)), (str(a.address), 0))
        until("the forged one is refused", lambda: refused(a, "refused_error") == 1)
        assert here.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU) == 1360
        router.sendto(too_big(quote(own)), (str(a.address), 0))
        until("the right one is heard", lambda: here.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU) == 1280)
        assert refused(a, "refused_error") == 1


def test_nobody_on_the_overlay_is_a_router(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with b.host.namespace.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as router:
        router.sendto(bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8), (str(a.address), 0))
        until("it is refused", lambda: refused(a, "refused_discovery") == 1)


def test_a_rule_opens_one_port_for_one_node_until_it_goes(grid: Grid) -> None:
    for name in "abc":
        grid.host(name)
    b, c = dialling(grid, "b"), dialling(grid, "c", grid.link("b", "c").url("b"))
    start([b, c])
    a = dialling(grid, "a", grid.link("a", "b").url("b"), closed=True)
    settings = a.directory / "zosnet.toml"
    settings.write_text(f'allow = ["tcp/{PORT} from key:{key_of(b)}"]\n')
    a.wishes.extra = ["--config", a.inside("zosnet.toml")]
    a.start()
    meet([a, b, c])
    with ExitStack() as stack:
        server = stack.enter_context(serving(a))
        stack.enter_context(serving(a, PORT + 1))
        assert knocks(b, a) == 0
        server.accept()[0].close()
        assert knocks(b, a, PORT + 1) == errno.EACCES
        assert knocks(c, a) == errno.EACCES
        assert doors(a)["rules"] == [{"rule": f"tcp/{PORT} from key:{key_of(b)}", "hits": 1}]
        client = stack.enter_context(b.host.namespace.socket(socket.AF_INET6, socket.SOCK_STREAM))
        client.connect((str(a.address), PORT))
        accepted = stack.enter_context(server.accept()[0])
        client.sendall(b"one")
        assert accepted.recv(10) == b"one"
        settings.write_text("")
        api(a).post("/v1/reload")
        before = refused(a, "refused_service")
        client.sendall(b"two")
        until("the connection is cut", lambda: refused(a, "refused_service") > before)
        accepted.setblocking(False)
        with pytest.raises(BlockingIOError):
            accepted.recv(10)
        settings.write_text('allow_inbound = "all"\n')
        api(a).post("/v1/reload")
        accepted.settimeout(10)
        assert accepted.recv(10) == b"two", "sent again by the kernel"
        assert knocks(c, a, PORT + 1) == 0


def unacknowledged(stream: socket.socket) -> int:
    """Bytes that the other end hasn't acknowledged yet (tcp(7), SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(stream, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def test_what_the_host_began_with_open_doors_goes_on_when_they_close(grid: Grid) -> None:
    grid.host("a"), grid.host("b")
    url = grid.link("a", "b").url("b")
    a, b = dialling(grid, "a", url, closed=True), dialling(grid, "b")
    settings = a.directory / "zosnet.toml"
    settings.write_text('allow_inbound = "all"\n')
    a.wishes.extra = ["--config", a.inside("zosnet.toml")]
    start([b, a])
    with (
        serving(b) as server,
        a.host.namespace.socket(socket.AF_INET6, socket.SOCK_STREAM) as client,
    ):
        client.settimeout(10)
        client.connect((str(b.address), PORT))
        with server.accept()[0] as accepted:
            accepted.sendall(b"one")
            assert client.recv(10) == b"one"
            until("this host has nothing to say any more", lambda: unacknowledged(accepted) == 0)
            settings.write_text("")
            api(a).post("/v1/reload")
            assert doors(a)["inbound"] == "none"
            accepted.sendall(b"two")
            assert client.recv(10) == b"two"
            assert refused(a, "refused_stray") == 0


def test_messages_come_from_those_who_may_and_as_replies(grid: Grid) -> None:
    grid.host("a"), grid.host("b")
    url = grid.link("a", "b").url("b")
    a, b = dialling(grid, "a", url, closed=True), dialling(grid, "b")
    settings = a.directory / "zosnet.toml"
    settings.write_text("")
    a.wishes.extra = ["--config", a.inside("zosnet.toml")]
    start([b, a])
    payload = base64.b64encode(b"hello").decode()

    def send(source: Node, target: Node, query: str = "", **more: str) -> Any:
        body = {"address": str(target.address), "payload": payload, **more}
        return api(source).post(f"/v1/messages{query}", body)

    first = send(b, a)
    until("it is refused", lambda: refused(a, "refused_message") > 0)
    assert doors(a)["refusals"][0]["item"] == f"key:{key_of(b)}"
    answered = in_background(lambda: send(a, b, "?reply_timeout=8"))
    got = api(b).get("/v1/messages?timeout=5")
    send(b, a, reply_to=got["id"])
    assert answered()["is_reply"] is True
    settings.write_text(f'allow_messages = ["key:{key_of(b)}"]\n')
    api(a).post("/v1/reload")
    assert api(a).get("/v1/messages?timeout=8")["id"] == first["id"], "it was sent again all the while"


def in_background(ask: Callable[[], Any]) -> Callable[[], Any]:
    """Begin to ask; what is returned waits for the answer."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(ask()))
    thread.start()

    def answer() -> Any:
        thread.join(20)
        return answers[0]

    return answer


@pytest.mark.parametrize("proto", ["tcp", "quic", "udp"])
def test_who_is_not_listed_gets_no_link(grid: Grid, proto: str) -> None:
    for name in "abc":
        grid.host(name)
    b, c = dialling(grid, "b"), dialling(grid, "c")
    b.start()
    a = dialling(grid, "a", extra=["--allow-links", key_of(b)]).start()
    b.wishes.peers = [grid.link("a", "b").url("a", proto, port=LISTEN[proto])]
    c.wishes.peers = [grid.link("a", "c").url("a", proto, port=LISTEN[proto])]
    c.start()
    b.restart()
    meet([a, b])
    # By udp:// a key is proven before there is a link; elsewhere a router only says who it is.
    proven = proto == "udp"
    sample = "zosnet_dataplane_udp_not_allowed_total" if proven else "zosnet_node_links_unlisted_total"
    until("c was turned away", lambda: api(a).metrics()[sample] >= 1)
    assert {peer["public_key"] for peer in api(a).get("/v1/peers")["peers"]} <= {key_of(b), None}
    assert not c.reaches(a)
