"""A whole node reads its settings again: what it takes on, and that it keeps the old where it can't."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import pytest
from tests.service.nodes import A, B, C, at, reaches

from zosnet.lab.fake_dataplane import Ether
from zosnet.lab.fake_node import fake_node, secret_of, until
from zosnet.model.endpoint import Endpoint
from zosnet.model.errors import HostError, UsageError, ZosnetError
from zosnet.model.router_id import RouterId
from zosnet.store.settings import Settings, load


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
