"""Nodes: start, stop, kill, restart, with a stand-in for the daemon."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv6Address

import pytest

from zosnet.lab import Grid, LabError, Mycelium, Node, Wishes, Zosnet, until
from zosnet.lab.programs import executable

pytestmark = [pytest.mark.privileged, pytest.mark.slow]

DAEMON = """
import os, pathlib, signal, sys
runs = pathlib.Path(sys.argv[1], "runs")
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1], "ready").unlink(), os._exit(0)))
print("peers", sys.argv[2:], os.environ["COLOUR"], os.environ.get("ZOSNET_CONFIG"), flush=True)
if "fail" in sys.argv:
    sys.exit("told to fail")
pathlib.Path(sys.argv[1], "ready").touch()
while True:
    signal.pause()
"""


class Stub:
    """A daemon that does nothing but be there."""

    name = "stub"

    def command(self, node: Node) -> Sequence[str]:
        return [sys.executable, "-c", DAEMON, node.inside(), *node.wishes.peers, *node.wishes.extra]

    def environment(self, node: Node) -> Mapping[str, str]:
        return {"COLOUR": "blue"}

    def is_ready(self, node: Node) -> bool:
        return (node.directory / "ready").exists()

    def address(self, node: Node) -> IPv6Address:
        return IPv6Address("::1")


@pytest.fixture
def node() -> Iterator[Node]:
    with Grid(["a"]) as grid:
        yield grid.node("a", Stub(), Wishes(peers=["tcp://x:1"]))


def test_a_node_keeps_its_state_over_restarts(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOSNET_CONFIG", "/somewhere")
    node.start()
    assert "peers ['tcp://x:1'] blue None" in node.log()
    assert node.reaches(node)
    assert node.resident_mb() > 1
    assert node.descriptors() >= 3
    assert node.threads() == 1
    assert node.cpu_seconds() >= 0
    with pytest.raises(LabError, match="runs already"):
        node.start()
    first = node.pid
    node.restart()
    assert node.pid != first
    node.kill()
    (node.directory / "ready").unlink()
    node.restart()
    assert (node.directory / "runs").read_text() == "xxx"
    assert node.stop() == 0
    assert node.restart().process is not None


def test_a_node_that_ends_at_once_says_why(node: Node) -> None:
    node.wishes.extra = ["fail"]
    with pytest.raises(LabError, match="told to fail"):
        node.start()


def test_a_node_that_never_gets_ready_is_named(node: Node) -> None:
    with pytest.raises(LabError, match="never started"):
        node.log()
    node.start()
    (node.directory / "ready").unlink()
    with pytest.raises(LabError, match="stub on a is ready"):
        node.wait_ready(within=0.05)
    (node.directory / "ready").touch()


def test_a_program_that_does_not_stop_is_named(node: Node) -> None:
    stubborn = node.host.spawn("stubborn", "sh", "-c", "trap '' TERM; echo on; while :; do sleep 1; done")
    until("it runs", lambda: "on" in stubborn.text())
    with pytest.raises(LabError, match="still runs"):
        stubborn.stop(within=0.1)
    stubborn.kill()
    assert stubborn.returncode == -9


def test_the_daemons_are_told_what_was_wished() -> None:
    with Grid(["a"]) as grid:
        wishes = Wishes(peers=["tcp://1.2.3.4:5"], tun=False, extra=["--lanes", "1"])
        ours = Zosnet().command(grid.node("a", wishes=wishes))
        assert ours[: len(executable())] == executable()
        assert {"--no-tun", "--disable-peer-discovery", "--peers", "--allow-inbound"} <= set(ours)
        closed = Zosnet().command(grid.node("a", wishes=Wishes(closed=True)))
        assert "--allow-inbound" not in closed
        theirs = Mycelium("true").command(grid.node("a", Mycelium("true"), Wishes(discovery=True)))
        assert "--disable-peer-discovery" not in theirs
        assert "--tun-name" in theirs
    with pytest.raises(LabError, match="no Mycelium"):
        Mycelium("/nowhere/mycelium")
