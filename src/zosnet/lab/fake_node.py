"""Nodes over the fake data plane: whole ones, driver and all, several in one process and one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from zosnet.lab.fake_dataplane import Ether, FakeDataplane
from zosnet.message import TopicPolicy
from zosnet.model.endpoint import Endpoint
from zosnet.model.keys import SecretKey
from zosnet.service.launch import assemble
from zosnet.service.node import Node, new_router_id
from zosnet.store.settings import Settings

__all__ = ["FakeNode", "fake_node", "secret_of", "until"]


class FakeNode:
    """A node that runs, and the data plane under it."""

    def __init__(self, node: Node, plane: FakeDataplane) -> None:
        self.node = node
        self.plane = plane

    @property
    def address(self) -> str:
        """Its overlay address."""
        return self.node.key().address

    @property
    def endpoint(self) -> str:
        """Where others dial it."""
        return f"tcp://{self.plane.ip}:9651"


def secret_of(name: str) -> SecretKey:
    """A secret key that is the same in each run: for tests alone."""
    return SecretKey(name.encode().ljust(32, b"."))


@asynccontextmanager
async def fake_node(
    ether: Ether,
    ip: str,
    *peers: str,
    secret: SecretKey | None = None,
    topics: TopicPolicy | None = None,
    read_settings: Callable[[], Settings] | None = None,
    ports: Mapping[str, int] | None = None,
    pins: dict[bytes, int] | None = None,
    **settings: Any,
) -> AsyncIterator[FakeNode]:
    """Run a node at `ip` on the ether that dials `peers`, and stop it cleanly at the end.

    With `pins`, which may be empty, it keeps them in its state directory; without, it keeps none.
    """
    fixed: dict[str, Any] = {
        "no_tun": True,
        "disable_peer_discovery": True,
        "allow_inbound": "all",
    } | settings
    wanted = Settings(peers=tuple(Endpoint.parse(peer) for peer in peers), **fixed)
    own = secret or secret_of(ip)
    plane = FakeDataplane(ether, own, ip, ports=ports, pins=list(pins or {}))
    router_id = new_router_id(own.public(), session_suite=not wanted.no_session_suite)
    node = assemble(wanted, own, router_id, plane, topics=topics, pins=pins, read_settings=read_settings)
    async with asyncio.TaskGroup() as group:
        node.start(group)
        try:
            yield FakeNode(node, plane)
        finally:
            node.stop("the test is over")
            await node.finish()


async def until(holds: Callable[[], Any], *, within: float = 5.0) -> None:
    """Let the loop turn until `holds()` is true. Raises TimeoutError when it doesn't become so in time."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
