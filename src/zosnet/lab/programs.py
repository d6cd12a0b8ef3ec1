"""The daemons the lab knows: our own, and Mycelium, which has the same options and another API."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address
from pathlib import Path

from zosnet.lab.api import Api
from zosnet.lab.errors import LabError
from zosnet.lab.node import Node

TUN = "zosnet"


def executable() -> list[str]:
    """The command that runs our own program: the installed script, else this interpreter with the package."""
    script = Path(sys.executable).with_name("zosnet")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-m", "zosnet"]


class Zosnet:
    """Our own daemon."""

    name = "zosnet"

    def command(self, node: Node) -> Sequence[str]:
        wishes = node.wishes
        argv = [*executable(), "up", "--state-dir", node.inside(), "--socket", node.inside("api.sock")]
        for peer in wishes.peers:
            argv += ["--peers", peer]
        argv += ["--tun-name", TUN] if wishes.tun else ["--no-tun"]
        if not wishes.discovery:
            argv.append("--disable-peer-discovery")
        if not wishes.closed:
            argv += ["--allow-inbound", "all"]
        return [*argv, *wishes.extra]

    def environment(self, node: Node) -> Mapping[str, str]:
        return {"ZOSNET_SOCKET": node.inside("api.sock"), "ZOSNET_TRACEBACK": "1"}

    def is_ready(self, node: Node) -> bool:
        return bool(api(node).get("/v1/status"))

    def address(self, node: Node) -> IPv6Address:
        return IPv6Address(api(node).get("/v1/status")["address"])


class Mycelium:
    """The reference implementation, from a binary that the caller names."""

    name = "mycelium"

    def __init__(self, binary: str) -> None:
        found = shutil.which(binary)
        if found is None:
            raise LabError(f"there is no Mycelium at {binary}")
        self._binary = str(Path(found).resolve())

    def command(self, node: Node) -> Sequence[str]:
        wishes = node.wishes
        argv = [self._binary, "--key-file", node.inside("priv_key.bin"), "--api-addr", "127.0.0.1:8989"]
        if wishes.peers:
            argv += ["--peers", *wishes.peers]
        argv += ["--tun-name", TUN] if wishes.tun else ["--no-tun"]
        if not wishes.discovery:
            argv.append("--disable-peer-discovery")
        return [*argv, *wishes.extra]

    def environment(self, node: Node) -> Mapping[str, str]:
        return {}

    def is_ready(self, node: Node) -> bool:
        return bool(mycelium_api(node).get("/api/v1/admin"))

    def address(self, node: Node) -> IPv6Address:
        return IPv6Address(mycelium_api(node).get("/api/v1/admin")["nodeIp"])


def api(node: Node) -> Api:
    """The API of a node of ours."""
    return Api.unix(node.directory / "api.sock")


def mycelium_api(node: Node) -> Api:
    """Mycelium's HTTP API, at its default port inside the host (ours serves it too, with --api-addr)."""

    def opened() -> socket.socket:
        each = node.host.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            each.connect(("127.0.0.1", 8989))
        except OSError:
            each.close()
            raise
        return each

    return Api(opened)
