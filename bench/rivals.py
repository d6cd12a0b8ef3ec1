"""Adapters of overlays that others make, each with its program from an environment variable or from PATH.

They are set up as their own documentation does it, with offload where they have it; nothing is tuned.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from bench.netlab import Lab, Node, run
from bench.peers import NUMBER, Peer, Program
from zosnet.lab.errors import LabError

_SOCKETS = Path("/var/run/wireguard")


class WireGuard(Program):
    """A program that makes a WireGuard device in user space and obeys wg(8). A hub relays, deciphering."""

    fails_over = False
    needs = ("wg",)

    def arguments(self, device: str) -> tuple[str, ...]:
        return ("-f", device)

    def prepare(self, lab: Lab) -> None:
        self._keys: dict[str, str] = {}
        for node in lab.nodes.values():
            secret = run("wg", "genkey")
            path = node.directory / "key"
            path.write_text(secret)
            path.chmod(0o600)
            self._keys[node.name] = run("sh", "-c", f"wg pubkey < {path}").strip()

    def start(self, lab: Lab) -> None:
        for node in lab.nodes.values():
            lab.daemon(node, self.binary(), *self.arguments(self._device(lab, node)))
        for node in lab.nodes.values():
            self._configure(lab, node)
        if "r" in lab.nodes:
            lab["r"].sysctl("net.ipv4.ip_forward", 1)

    def _device(self, lab: Lab, node: Node) -> str:
        return f"wg{node.name}{lab.directory.name[-6:].lower()}"

    def _configure(self, lab: Lab, node: Node) -> None:
        device = self._device(lab, node)
        node.run("sh", "-c", f"until ip link show {device} >/dev/null 2>&1; do sleep 0.02; done", timeout=5)
        control = _SOCKETS / f"{device}.sock"
        deadline = time.monotonic() + 5
        while not control.exists():
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} made no {control}")
            time.sleep(0.01)
        hub = lab.nodes.get("r")
        others = (
            [hub] if hub and node is not hub else [other for other in lab.nodes.values() if other is not node]
        )
        command: list[str | int | Path] = [
            "wg",
            "set",
            device,
            "listen-port",
            51820,
            "private-key",
            node.directory / "key",
        ]
        for other in others:
            allowed = "10.77.0.0/24" if other is hub and node is not hub else f"{self.address(other)}/32"
            end = f"{node.towards(other.name).peer_ip}:51820"
            command += ["peer", self._keys[other.name], "allowed-ips", allowed, "endpoint", end]
        node.run(*command)
        node.run("ip", "addr", "add", f"{self.address(node)}/24", "dev", device)
        node.run("ip", "link", "set", device, "mtu", 1420, "up")


class WireguardGo(WireGuard):
    name, variable, executable = "wireguard-go", "WIREGUARD_GO_BIN", "wireguard-go"
    note = "static endpoint; a relay is a hub that deciphers"


class Boringtun(WireGuard):
    name, variable, executable = "boringtun", "BORINGTUN_BIN", "boringtun-cli"
    note = "as wireguard-go"

    def arguments(self, device: str) -> tuple[str, ...]:
        return ("-f", "--disable-drop-privileges", device)


class Gotatun(WireGuard):
    name, variable, executable = "gotatun", "GOTATUN_BIN", "gotatun"
    note = "as wireguard-go"

    def arguments(self, device: str) -> tuple[str, ...]:
        return ("-f", "-v", "error", "--disable-drop-privileges", device)


class Nebula(Program):
    """Nebula with its offloads, which are off by default and make it eight times as fast."""

    name, variable, executable = "nebula", "NEBULA_BIN", "nebula"
    note = "tun.use_offloads and listen.udp_offloads, MTU 1380"
    asks_version = ("-version",)
    needs = ("nebula-cert",)

    def prepare(self, lab: Lab) -> None:
        authority: list[str | Path] = [
            "-ca-crt",
            lab.directory / "ca.crt",
            "-ca-key",
            lab.directory / "ca.key",
        ]
        run(
            "nebula-cert", "ca", "-name", "bench",
            "-out-crt", lab.directory / "ca.crt", "-out-key", lab.directory / "ca.key",
        )  # fmt: skip
        lighthouse = lab.nodes.get("r") or lab["b"]
        for node in lab.nodes.values():
            files: list[str | Path] = [
                "-out-crt",
                node.directory / "n.crt",
                "-out-key",
                node.directory / "n.key",
            ]
            network = f"{self.address(node)}/24"
            run("nebula-cert", "sign", "-name", node.name, "-networks", network, *authority, *files)
            # JSON is YAML.
            (node.directory / "n.yml").write_text(json.dumps(self._settings(lab, node, lighthouse)))

    def _settings(self, lab: Lab, node: Node, lighthouse: Node) -> dict[str, object]:
        is_lighthouse = node is lighthouse
        light = self.address(lighthouse)
        ends = [f"{end.peer_ip}:4242" for end in node.attachments if end.peer == lighthouse.name]
        anything = [{"port": "any", "proto": "any", "host": "any"}]
        return {
            "pki": {
                "ca": str(lab.directory / "ca.crt"),
                "cert": str(node.directory / "n.crt"),
                "key": str(node.directory / "n.key"),
            },
            "static_host_map": {} if is_lighthouse else {light: ends},
            "lighthouse": {
                "am_lighthouse": is_lighthouse,
                "interval": 10,
                "hosts": [] if is_lighthouse else [light],
            },
            "listen": {"host": "0.0.0.0", "port": 4242, "udp_offloads": True},
            "punchy": {"punch": True},
            "relay": {
                "am_relay": node.name == "r",
                "use_relays": True,
                "relays": [light] if "r" in lab.nodes and not is_lighthouse else [],
            },
            "tun": {"dev": f"neb{node.name}", "mtu": 1380, "tx_queue": 5000, "use_offloads": True},
            "logging": {"level": "warning", "format": "text"},
            "firewall": {"outbound": anything, "inbound": anything},
        }

    def start(self, lab: Lab) -> None:
        for node in lab.nodes.values():
            lab.daemon(node, self.binary(), "-config", node.directory / "n.yml")


class Yggdrasil(Program):
    name, variable, executable = "yggdrasil", "YGGDRASIL_BIN", "yggdrasil"
    note = "TLS links, MTU 65535"
    asks_version = ("-version",)

    def prepare(self, lab: Lab) -> None:
        self._addresses: dict[str, str] = {}
        for node in lab.nodes.values():
            settings = json.loads(run(self.binary(), "-genconf", "-json"))
            settings |= {
                "IfName": f"ygg{node.name}",
                "MulticastInterfaces": [],
                "AdminListen": "none",
                "Listen": ["tcp://0.0.0.0:9000"],
                "Peers": [
                    f"tcp://{end.peer_ip}:9000"
                    for end in node.attachments
                    if NUMBER[end.peer] > NUMBER[node.name]
                ],
            }
            path = node.directory / "ygg.json"
            path.write_text(json.dumps(settings))
            self._addresses[node.name] = run(self.binary(), "-useconffile", path, "-address").strip()

    def start(self, lab: Lab) -> None:
        for node in lab.nodes.values():
            lab.daemon(node, self.binary(), "-useconffile", "ygg.json", "-loglevel", "warn")

    def address(self, node: Node) -> str:
        return self._addresses[node.name]


class EasyTier(Program):
    name, variable, executable = "easytier", "EASYTIER_BIN", "easytier-core"
    note = "UDP tunnel"

    def start(self, lab: Lab) -> None:
        for node in lab.nodes.values():
            dialled = [
                word
                for end in node.attachments
                if NUMBER[end.peer] > NUMBER[node.name]
                for word in ("--peers", f"udp://{end.peer_ip}:11010")
            ]
            lab.daemon(
                node, self.binary(), "--network-name", "bench", "--network-secret", "bench-secret",
                "--ipv4", f"{self.address(node)}/24", "--dev-name", f"et{node.name}", "--hostname", node.name,
                "--listeners", "udp://0.0.0.0:11010", "--rpc-portal", "127.0.0.1:15888",
                "--console-log-level", "error", *dialled,
            )  # fmt: skip


RIVALS: tuple[type[Peer], ...] = (WireguardGo, Boringtun, Gotatun, Nebula, Yggdrasil, EasyTier)
