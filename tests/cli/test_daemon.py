"""`zosnet up` as a real process, with the real data plane, over real links on the loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("zosnet._core") is None, reason="the data plane isn't built"),
    pytest.mark.slow,
]

ROOT = os.geteuid() == 0


def free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ZOSNET_")}
    return kept | more


class Daemon:
    """One `zosnet up --no-tun` with a directory of its own."""

    def __init__(self, directory: Path, *arguments: str, **more: str) -> None:
        directory.mkdir(exist_ok=True)
        self.port = free_port()
        self.socket = directory / "api.sock"
        self.log = directory / "log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "zosnet", "up", "--no-tun", "--disable-peer-discovery"),
                    *("--socket", str(self.socket), "--state-dir", str(directory)),
                    *("--tcp-listen-port", str(self.port), "--quic-listen-port", str(self.port)),
                    *("--udp-listen-port", "0"),
                    *arguments,
                ],
                stderr=log,
                env=environment(**more),
            )

    def ready(self) -> Daemon:
        until(lambda: " ready " in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def ask(self, *arguments: str) -> Any:
        """A command's --json."""
        return json.loads(command("--socket", str(self.socket), *arguments, "--json").stdout)

    def end(self) -> int:
        return self.process.wait(20)


def command(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zosnet", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
        **more,
    )


def until(holds: Callable[[], Any], within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    running: list[Daemon] = []

    def begin(name: str, *arguments: str, **more: str) -> Daemon:
        running.append(Daemon(tmp_path / name, *arguments, **more))
        return running[-1]

    yield begin
    for daemon in running:
        with contextlib.suppress(ProcessLookupError):
            daemon.process.terminate()
        try:
            daemon.process.wait(10)
        except subprocess.TimeoutExpired:
            daemon.process.kill()
            daemon.process.wait()


def test_two_nodes_link_by_tcp_and_quic_ping_and_stop_cleanly(start: Callable[..., Daemon]) -> None:
    a = start("a", "--allow-messages", "any").ready()
    here = f"localhost:{a.port}"
    b = start("b", "--peers", f"tcp://{here}", "--peers", f"quic://127.0.0.1:{a.port}").ready()
    until(lambda: [peer["state"] for peer in b.ask("peers")["peers"]] == ["alive", "alive"])
    until(lambda: b.ask("routes")["selected"] and a.ask("routes")["selected"])
    address = a.ask("status")["address"]
    shown = command("--socket", str(b.socket), "ping", "-c", "2", "-i", "0.1", address)
    assert shown.returncode == 0, shown.stdout
    sent = command("--socket", str(b.socket), "message", "send", "--timeout", "10", address, "hello")
    assert sent.returncode == 0, sent.stderr
    got = command("--socket", str(a.socket), "message", "receive", "--timeout", "10", "--raw")
    assert got.stdout == "hello"
    b.process.send_signal(signal.SIGTERM)
    assert b.end() == 0
    until(lambda: a.ask("routes")["selected"] == [])
    assert command("--socket", str(a.socket), "down").returncode == 0
    assert a.end() == 0
    for node in (a, b):
        assert "Traceback" not in node.log.read_text()
        assert not node.socket.exists()


def test_the_service_manager_is_told(start: Callable[..., Daemon], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        node = start("a", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")
        assert {manager.recv(100), manager.recv(100)} == {b"READY=1", b"WATCHDOG=1"}
        node.process.send_signal(signal.SIGINT)
        while (said := manager.recv(100)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1" and node.end() == 0


def test_a_hangup_reads_the_settings_again(start: Callable[..., Daemon], tmp_path: Path) -> None:
    file = tmp_path / "z.toml"
    file.write_text("peers = []\n")
    node = start("a", "--config", str(file)).ready()
    file.write_text('peers = ["tcp://127.0.0.1:1"]\n')
    node.process.send_signal(signal.SIGHUP)
    until(lambda: node.ask("peers")["peers"])
    file.write_text("peers = [")
    node.process.send_signal(signal.SIGHUP)
    until(lambda: "reload_failed" in node.log.read_text())
    shown = command("--socket", str(node.socket), "reload")
    assert shown.returncode == 2 and "remedy: " in shown.stderr
    assert len(node.ask("peers")["peers"]) == 1
    codes = {finding["code"] for finding in node.ask("doctor")["findings"]}
    assert {"reload.failed", "peer.dead"} <= codes


def test_mycelium_s_api_and_metrics_are_served_where_asked(start: Callable[..., Daemon]) -> None:
    api, metrics = free_port(), free_port()
    start("a", "--api-addr", f"127.0.0.1:{api}", "--metrics-api-address", f"[::1]:{metrics}").ready()
    with urllib.request.urlopen(f"http://127.0.0.1:{api}/api/v1/admin", timeout=10) as answer:
        assert set(json.load(answer)) == {"nodeSubnet", "nodeIp", "nodePubkey", "nodeStartTime"}
    with urllib.request.urlopen(f"http://[::1]:{metrics}/metrics", timeout=10) as answer:
        assert b"zosnet_uptime_seconds" in answer.read()


def test_a_second_node_on_the_same_socket_says_so(start: Callable[..., Daemon]) -> None:
    node = start("a").ready()
    shown = command("up", "--no-tun", "--socket", str(node.socket))
    assert shown.returncode == 3 and "already running" in shown.stderr
    assert node.ask("status")["uptime"] > 0


def test_a_taken_port_is_one_line_and_leaves_nothing(start: Callable[..., Daemon], tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shown = command(
            *("up", "--no-tun", "--disable-quic", "--disable-udp", "--socket", str(tmp_path / "s")),
            *("--state-dir", str(tmp_path), "--tcp-listen-port", str(port)),
        )
    assert shown.returncode == 3
    last = shown.stderr.strip().splitlines()[-2:]
    assert last[0] == f"error: port {port} (tcp) is taken by another program"
    assert last[1].startswith("remedy: ")
    assert not (tmp_path / "s").exists()


def test_a_second_signal_forces_the_end(start: Callable[..., Daemon]) -> None:
    node = start("a").ready()
    node.process.send_signal(signal.SIGSTOP)
    node.process.send_signal(signal.SIGTERM)
    node.process.send_signal(signal.SIGINT)
    node.process.send_signal(signal.SIGCONT)
    assert node.end() in {0, 143}


@pytest.mark.skipif(not ROOT or shutil.which("setpriv") is None, reason="only root can drop a capability")
def test_without_permission_the_device_is_refused_with_a_remedy(tmp_path: Path) -> None:
    port = str(free_port())
    shown = subprocess.run(
        [
            *("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"),
            *(sys.executable, "-m", "zosnet", "up", "--disable-peer-discovery"),
            *("--socket", str(tmp_path / "s"), "--state-dir", str(tmp_path)),
            *("--tcp-listen-port", port, "--quic-listen-port", port, "--udp-listen-port", "0"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    assert shown.returncode == 3, shown.stderr
    assert "no permission" in shown.stderr and "--no-tun" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.skipif(not ROOT or shutil.which("unshare") is None, reason="needs root to mount")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    script = (
        f"mount -t tmpfs -o size=4k,nr_inodes=3 none {small} && head -c 4096 /dev/zero > {small}/fill;"
        f"exec {sys.executable} -m zosnet key generate --key-file {small}/key"
    )
    shown = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    assert shown.returncode == 3, shown.stderr
    assert "No space left" in shown.stderr and "remedy: " in shown.stderr


def test_an_idle_node_is_small_and_the_command_line_is_quick(start: Callable[..., Daemon]) -> None:
    node = start("a").ready()
    node.ask("status")
    text = Path(f"/proc/{node.process.pid}/status").read_text()
    (resident,) = [int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")]
    assert resident < 60 * 1024
    maps = Path(f"/proc/{node.process.pid}/maps").read_text()
    assert "rich" not in maps
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "zosnet", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    ).stderr
    for heavy in ("rich", "uvicorn", "starlette", "prometheus_client", "zosnet._core"):
        assert f" {heavy}\n" not in loaded


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("z.toml", b"peers = [", 2, "z.toml"),
        ("z.toml", b'peers = ["tcp://nowhere"]', 2, "port is missing"),
        ("z.toml", b"pears = []", 2, "did you mean peers?"),
        ("priv_key.bin", b"short", 3, "5 bytes"),
    ],
)
def test_a_node_that_cannot_start_says_why_and_leaves_nothing(
    tmp_path: Path, name: str, content: bytes, code: int, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / name).chmod(0o600)
    config = ["--config", str(tmp_path / name)] if name.endswith("toml") else []
    shown = command("up", "--no-tun", "--socket", str(tmp_path / "s"), "--state-dir", str(tmp_path), *config)
    assert shown.returncode == code
    lines = shown.stderr.strip().splitlines()
    assert lines[-2].startswith("error: ") and lines[-1].startswith("remedy: ")
    assert words in shown.stderr and "Traceback" not in shown.stderr
    assert not (tmp_path / "s").exists()


def test_an_unwritable_state_directory_is_one_line(tmp_path: Path) -> None:
    shown = command("up", "--no-tun", "--socket", str(tmp_path / "s"), "--state-dir", "/proc/nowhere")
    assert shown.returncode == 3 and "remedy: " in shown.stderr
