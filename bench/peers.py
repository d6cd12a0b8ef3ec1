"""One small adapter an overlay: how its daemons are configured and started, and which address a node has.

Node names: `a` and `b` are the ends, `r` a relay. To add an overlay: subclass `Peer`, set `name`, write
`start`, and put it in `ALL`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.netlab import HERE, Lab, Node, run, wait_for_device
from zosnet.lab.errors import LabError

#: Who dials whom: the lower number the higher; with two nodes only, both.
NUMBER = {"a": 1, "b": 2, "r": 3}
LISTEN_PORT = 9651


def program(variable: str, name: str) -> str | None:
    """The path of a program: from the environment variable, else beside this Python, else from PATH."""
    given = os.environ.get(variable)
    if given:
        return given if Path(given).is_file() else None
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else shutil.which(name)


def overlay_address(secret: bytes) -> IPv6Address:
    """The address of the node with this X25519 secret, as every Mycelium node computes it.

    Written out here, apart from the product's own, so that a benchmark of a daemon does not trust its code.
    """
    public = (
        X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    )
    digest = bytearray(blake3(public).digest()[:16])
    digest[0] = 0x04 | digest[0].bit_count() & 1
    return IPv6Address(bytes(digest))


@cache
def compiled(source: str, *flags: str) -> Path:
    """A helper of helpers/, compiled once a run. Raises LabError without a C compiler, or when it refuses."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise LabError("no C compiler (cc): apt-get install gcc libc6-dev")
    target = Path(tempfile.gettempdir()) / f"zosnet-bench-{os.getpid()}-{Path(source).stem}"
    run(compiler, "-O2", "-o", target, HERE / "helpers" / source, *flags)
    return target


def remove_compiled() -> None:
    """Delete what `compiled` made."""
    for path in Path(tempfile.gettempdir()).glob(f"zosnet-bench-{os.getpid()}-*"):
        path.unlink(missing_ok=True)


class Peer:
    """One kind of overlay. One object serves one lab."""

    name = "?"
    note = ""
    relays = True  #: can carry packets between two nodes that have no link
    fails_over = True  #: has a mechanism of its own for a link that goes silent

    def missing(self) -> str:
        """Why it cannot run on this machine, or nothing."""
        return ""

    def version(self) -> str:
        return ""

    def prepare(self, lab: Lab) -> None:
        """Keys and configuration: not part of the start time."""

    def start(self, lab: Lab) -> None:
        """Start the daemons of all nodes; need not wait for them."""
        raise NotImplementedError

    def address(self, node: Node) -> str:
        return f"10.77.0.{NUMBER[node.name]}"


class Veth(Peer):
    """No overlay: the kernel's veth link, and its IP forwarding where there is a relay."""

    name, note = "veth", "no overlay, the kernel alone"
    fails_over = False

    def start(self, lab: Lab) -> None:
        if "r" not in lab.nodes:
            return
        lab["r"].sysctl("net.ipv4.ip_forward", 1)
        for name in ("a", "b"):
            lab[name].run("ip", "route", "add", "default", "via", lab[name].towards("r").peer_ip)

    def address(self, node: Node) -> str:
        return node.attachments[0].ip


class TunLimit(Peer):
    """Upper bounds from helpers/tunlimit.c: what TUN and UDP cost without a protocol. Not an overlay."""

    name, mode, note = "tunlimit-copy", "plain", "TUN, UDP, TUN; one packet a system call, no cipher"
    relays = fails_over = False

    def missing(self) -> str:
        try:
            compiled("tunlimit.c", "-lcrypto", "-lpthread")
        except LabError as error:
            return str(error).splitlines()[0]
        return ""

    def start(self, lab: Lab) -> None:
        for node in lab.nodes.values():
            end, device = node.attachments[0], f"tl{node.name}"
            binary = compiled("tunlimit.c", "-lcrypto", "-lpthread")
            lab.daemon(node, binary, self.mode, device, end.ip, end.peer_ip, 7000)
            node.run(
                "sh", "-c", f"until ip link show {device} >/dev/null 2>&1; do sleep 0.02; done", timeout=5
            )
            node.run("ip", "addr", "add", f"{self.address(node)}/24", "dev", device)
            node.run("ip", "link", "set", device, "mtu", 1420, "up")


class TunLimitGso(TunLimit):
    name, mode, note = "tunlimit-gso", "gso", "TUN TSO/USO and UDP GSO/GRO, no cipher"


class TunLimitAes(TunLimit):
    name, mode, note = "tunlimit-gso-aes", "gso-aes", "the same, AES-256-GCM on each chunk (OpenSSL)"


class Program(Peer):
    """An overlay with a program of its own, which `program` finds."""

    variable = ""
    executable = ""
    asks_version: tuple[str, ...] = ("--version",)
    needs: tuple[str, ...] = ()  #: other programs, in PATH

    def binary(self) -> str:
        """The path of its program; its bare name when there is none."""
        return program(self.variable, self.executable) or self.executable

    def missing(self) -> str:
        if program(self.variable, self.executable) is None:
            return f"no {self.executable} program: say where with {self.variable}"
        lacking = [name for name in self.needs if program("", name) is None]
        return f"no {', '.join(lacking)} in PATH" if lacking else ""

    def version(self) -> str:
        return run(self.binary(), *self.asks_version).strip().splitlines()[0]


class Keyed(Program):
    """An overlay whose node address comes from a 32-byte X25519 secret in a file."""

    protocol = "tcp"
    port = LISTEN_PORT

    def prepare(self, lab: Lab) -> None:
        self._addresses = {}
        for node in lab.nodes.values():
            secret = os.urandom(32)
            path = node.directory / "key.bin"
            path.write_bytes(secret)
            path.chmod(0o600)
            self._addresses[node.name] = str(overlay_address(secret))

    _addresses: dict[str, str]

    def address(self, node: Node) -> str:
        return self._addresses[node.name]

    def endpoints(self, lab: Lab, node: Node) -> list[str]:
        """Whom the node dials, one endpoint a link."""
        return [
            f"{self.protocol}://{end.peer_ip}:{self.port}"
            for end in node.attachments
            if len(lab.nodes) == 2 or NUMBER[end.peer] > NUMBER[node.name]
        ]


class Mycelium(Keyed):
    """The real Mycelium, from MYCELIUM_BIN."""

    name, note = "mycelium-tcp", "tcp:// links"
    variable, executable = "MYCELIUM_BIN", "mycelium"

    def start(self, lab: Lab) -> None:
        for node in lab.nodes.values():
            endpoints = self.endpoints(lab, node)
            lab.daemon(
                node, self.binary(), "--silent", "-k", "key.bin", "--tun-name", f"myc{node.name}",
                "--disable-peer-discovery", "-t", LISTEN_PORT, "-q", LISTEN_PORT,
                *(["--peers", *endpoints] if endpoints else []),
            )  # fmt: skip


class MyceliumQuic(Mycelium):
    name, protocol, note = "mycelium-quic", "quic", "quic:// links"


class MyceliumQuicMtu(MyceliumQuic):
    """At its default TUN MTU of 1400 a full-size packet tears its own QUIC link down."""

    name, note = "mycelium-quic-mtu", "quic:// links, TUN MTU lowered from 1400 to 1300 by hand"

    def start(self, lab: Lab) -> None:
        super().start(lab)
        for node in lab.nodes.values():
            wait_for_device(node, f"myc{node.name}")
            node.run("ip", "link", "set", f"myc{node.name}", "mtu", 1300)


class Zosnet(Keyed):
    """Our own node, in Mycelium's session suite: what it is beside stock nodes."""

    name, note = "zosnet-tcp", "tcp:// links, Mycelium's suite"
    variable, executable = "ZOSNET_BIN", "zosnet"
    options: tuple[str, ...] = ("--no-session-suite",)
    doors: tuple[str, ...] = ("--allow-inbound", "all")

    def start(self, lab: Lab) -> None:
        for node in lab.nodes.values():
            endpoints = self.endpoints(lab, node)
            lab.daemon(
                node, self.binary(), "up", "--key-file", "key.bin", "--tun-name", f"zos{node.name}",
                "--state-dir", node.directory / "state", "--socket", node.directory / "api.sock",
                "--tcp-listen-port", LISTEN_PORT, "--quic-listen-port", LISTEN_PORT,
                "--disable-peer-discovery", *self.doors, *self.options,
                *(word for endpoint in endpoints for word in ("--peers", endpoint)),
            )  # fmt: skip


class ZosnetQuic(Zosnet):
    name, protocol, note = "zosnet-quic", "quic", "quic:// links, Mycelium's suite"


class ZosnetUdp(Zosnet):
    """Our own node as it is among its like: datagram links, sessions with forward secrecy."""

    name, protocol, note = "zosnet-udp", "udp", "udp:// links, our own suite"
    options = ()
    port = 9652


class ZosnetUdpClosed(ZosnetUdp):
    """The same behind a door with a rule for each service, so that every packet passes the filter."""

    name, note = "zosnet-udp-doors", "the same, doors closed but for what is measured"
    doors = ("--allow", "any from any")


class ZosnetSession(Zosnet):
    name, note = "zosnet-tcp-suite", "tcp:// links, our own suite"
    options = ()


class Custom(Peer):
    """Any other overlay: BENCH_COMMAND is run by sh on every node; BENCH_PREPARE before, once a node.

    Both see BENCH_NODE, BENCH_ADDRESS (put ADDRESS/24 on the TUN device, or write the address taken to
    $BENCH_DIR/address), BENCH_DIR and BENCH_LINKS ("local>peer,…").
    """

    name, note = "custom", "from BENCH_COMMAND"

    def missing(self) -> str:
        return "" if os.environ.get("BENCH_COMMAND") else "BENCH_COMMAND is not set"

    def _variables(self, node: Node) -> dict[str, str]:
        return {
            "BENCH_NODE": node.name,
            "BENCH_ADDRESS": super().address(node),
            "BENCH_DIR": str(node.directory),
            "BENCH_LINKS": ",".join(f"{end.ip}>{end.peer_ip}" for end in node.attachments),
        }

    def prepare(self, lab: Lab) -> None:
        for node in lab.nodes.values():
            if command := os.environ.get("BENCH_PREPARE"):
                variables = {**os.environ, **self._variables(node)}
                subprocess.run(node.command("sh", "-c", command), env=variables, check=True)

    def start(self, lab: Lab) -> None:
        for node in lab.nodes.values():
            command = os.environ["BENCH_COMMAND"]
            lab.daemon(node, "sh", "-c", command, env=self._variables(node))

    def address(self, node: Node) -> str:
        taken = node.directory / "address"
        return taken.read_text().strip() if taken.exists() else super().address(node)


ALL: tuple[type[Peer], ...] = (
    Veth, TunLimit, TunLimitGso, TunLimitAes, Mycelium, MyceliumQuic, MyceliumQuicMtu, Zosnet, ZosnetQuic,
    ZosnetUdp, ZosnetUdpClosed, ZosnetSession, Custom,
)  # fmt: skip
