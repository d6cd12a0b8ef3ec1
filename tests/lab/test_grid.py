"""Grids: hosts, links, impairments, and that nothing stays, however a lab ends. Plain programs, no node."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from zosnet.lab import Grid, LabError, Link, until
from zosnet.lab.leftovers import Surroundings, processes_in, processes_of
from zosnet.lab.measure import Beat
from zosnet.lab.namespace import check_machine
from zosnet.model.errors import HostError, UsageError

pytestmark = [pytest.mark.privileged, pytest.mark.slow]


@pytest.fixture
def pair() -> Iterator[Grid]:
    with Grid(["a", "b"]) as grid:
        grid.link("a", "b")
        yield grid


def test_hosts_reach_each_other_over_both_families_and_nothing_else(pair: Grid) -> None:
    far = pair.links[0].end("b")
    assert pair["a"].pings(far.ipv4)
    assert pair["a"].pings(far.ipv6)
    assert pair["a"].interfaces() == ["b-1", "lo"]
    assert pair["a"].run("ip", "route", "show", "default").stdout == ""
    assert pair["a"].run("cat", "/proc/sys/net/ipv4/ip_forward").stdout.strip() == "0"


def test_a_link_cut_one_way_is_silent_and_heals(pair: Grid) -> None:
    link = pair.links[0]
    link.cut(towards="b")
    assert not pair["a"].pings(link.end("b").ipv4, within=0.2)
    assert link.end("a").is_up()
    assert link.end("b").is_up()
    assert link.end("b").is_cut
    assert not link.end("a").is_cut
    link.heal()
    assert pair["a"].pings(link.end("b").ipv4)


def test_pulling_the_carrier_is_seen_at_the_other_end_and_addresses_survive_it(pair: Grid) -> None:
    link = pair.links[0]
    link.carrier(False, at="b")
    until("a sees it", lambda: not link.end("a").is_up())
    link.carrier(True, at="b")
    until("a sees it again", link.end("a").is_up)
    until("IPv6 works again", lambda: pair["a"].pings(link.end("b").ipv6, within=0.2))


def test_a_beat_shows_an_outage_as_long_as_the_cut(pair: Grid) -> None:
    link = pair.links[0]
    pair["b"].tool("echo", 7).record("ready")
    beat = pair["a"].tool("probe", link.end("b").ipv6, 7, 2)
    until("it beats", lambda: len(Beat.of(beat.records()).replies) > 50)
    link.cut(towards="b")
    answered = len(Beat.of(beat.records()).replies)
    assert not pair["a"].pings(link.end("b").ipv6, within=0.3)
    link.heal()
    until("it beats again", lambda: len(Beat.of(beat.records()).replies) > answered + 50)
    beat.stop()
    measured = Beat.of(beat.records())
    assert [gap for gap in measured.outages(0.2) if 250 < gap.milliseconds < 1500]
    assert measured.quantile(0.5) < 5


def test_a_file_goes_through_a_slow_and_distant_link_over_one_connection() -> None:
    with Grid(["a", "b"]) as grid:
        link = grid.link("a", "b", delay_ms=5, rate_mbit=100)
        link.delay(20)
        grid["a"].run("dd", "if=/dev/urandom", "of=file", "bs=1M", "count=8")
        receiver = grid["b"].tool("receive", "file", 9)
        receiver.record("ready")
        sender = grid["a"].tool("send", "file", link.end("b").ipv4, 9)
        begun, done = sender.record("connected"), sender.record("done")
        assert sender.wait() == receiver.wait() == 0
        assert begun["inode"] == done["inode"]
        assert done["verdict"] == "ok 8388608"
        assert (grid["a"].files / "file").read_bytes() == (grid["b"].files / "file").read_bytes()
        took = float(str(done["at"])) - float(str(begun["at"]))
        assert 8 * 8.388608 / 100 < took < 5, "rate and delay must show"
        assert not grid["a"].pings(link.end("b").ipv4, within=0.03)
        assert grid["a"].pings(link.end("b").ipv4, within=0.3)


def longest_frame(link: Link) -> int:
    """The longest frame that arrives at the second end while TCP and UDP trains leave the first."""
    first, second = link.ends
    watch = second.host.namespace.call(
        lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    )
    server = second.host.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    client = first.host.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    trains = first.host.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with watch, server, client, trains:
        watch.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        watch.settimeout(0.2)
        server.bind((str(second.ipv4), 9))
        server.listen(1)
        client.connect((str(second.ipv4), 9))
        with server.accept()[0] as arrived:
            client.sendall(bytes(100_000))
            left = 100_000
            while left:
                left -= len(arrived.recv(left))
        trains.setsockopt(socket.IPPROTO_UDP, 103, 1000)  # UDP_SEGMENT
        trains.sendto(bytes(20_000), (str(second.ipv4), 10))
        longest = 0
        while True:
            try:
                longest = max(longest, len(watch.recv(70_000)))
            except TimeoutError:
                return longest


def test_only_a_segmented_link_carries_single_packets() -> None:
    with Grid(["a", "b"]) as grid:
        assert longest_frame(grid.link("a", "b")) > 1514
        assert longest_frame(grid.link("a", "b", segmented=True)) <= 1514


def test_loss_takes_about_its_share() -> None:
    with Grid(["a", "b"]) as grid:
        link = grid.link("a", "b", segmented=True)
        grid["b"].tool("echo", 7).record("ready")
        link.lose(0.3, towards="b")
        beat = grid["a"].tool("probe", link.end("b").ipv4, 7, 1)
        until("500 came back", lambda: len(Beat.of(beat.records()).replies) > 500)
        beat.stop()
        answered = [number for number, _, _ in Beat.of(beat.records()).replies]
        # Of those that had their turn: what was sent last may still be under way.
        asked = max(answered) - min(answered) + 1
        assert 0.2 < 1 - len(answered) / asked < 0.4
        with pytest.raises(UsageError):
            link.lose(30)


def test_names_are_known_in_one_host_only(pair: Grid) -> None:
    far = pair.links[0].end("b")
    pair["a"].knows({"b.lab": [str(far.ipv4), str(far.ipv6)]})
    assert pair["a"].pings("b.lab")
    assert pair["b"].run("getent", "hosts", "b.lab", check=False).returncode != 0
    assert "b.lab" not in Path("/etc/hosts").read_text()


def test_a_failure_shows_what_programs_said() -> None:
    with pytest.raises(LabError) as caught, Grid(["a"]) as grid:
        said = grid["a"].spawn("loud", "sh", "-c", "echo this is why; exit 3")
        assert said.wait() == 3
        raise LabError("it went wrong")
    assert "this is why" in "".join(caught.value.__notes__)


def test_a_traceback_in_a_log_is_found() -> None:
    with Grid(["a"]) as grid:
        grid["a"].spawn("bad", sys.executable, "-c", "1/0").wait()
        with pytest.raises(LabError, match="ZeroDivisionError"):
            grid.check_logs()


def test_mistakes_are_named(pair: Grid) -> None:
    with pytest.raises(UsageError):
        pair.host("a")
    with pytest.raises(UsageError):
        pair.host("Upper case")
    with pytest.raises(UsageError):
        pair.links[0].end("c")
    with pytest.raises(UsageError, match="no relay"):
        pair.links[0].delay(3)
    with pytest.raises(UsageError):
        pair.between("a", "z")
    with pytest.raises(LabError, match="status 7"):
        pair["a"].run("sh", "-c", "exit 7")
    with pytest.raises(LabError, match="still running"):
        pair["a"].run("sleep", "60", within=0.05)
    with pytest.raises(LabError, match="without 'ready'"):
        pair["a"].tool("echo", "no port").record("ready")


def test_a_machine_without_the_tools_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError) as caught:
        check_machine()
    assert "apt-get install" in caught.value.remedy
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="root"):
        check_machine()


def test_an_ordinary_end_leaves_nothing() -> None:
    before = Surroundings.now()
    with Grid(["a", "b"]) as grid:
        grid.link("a", "b", delay_ms=1)
        # A daemon that got away from its starter, session and all: found by its namespace.
        grid["a"].run("sh", "-c", "setsid sleep 600 > /dev/null 2>&1 &")
        assert grid["a"].inhabitants()
        lab, inodes = grid.id, [host.namespace.inode for host in grid.hosts.values()]
    assert processes_of(lab) == []
    assert processes_in(inodes) == []
    assert before.added(Surroundings.now()) == []


KILLED = textwrap.dedent(
    """
    import sys
    from zosnet.lab import Grid
    grid = Grid(["a", "b"])
    link = grid.link("a", "b", delay_ms=1)
    grid["b"].tool("echo", 7).record("ready")
    grid["a"].tool("probe", link.end("b").ipv4, 7, 2).record("reply")
    print(grid.id, *(host.namespace.inode for host in grid.hosts.values()), flush=True)
    sys.stdin.read()
    """
)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_lab_leaves_nothing(how: int) -> None:
    before = Surroundings.now()
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as lab:
        assert lab.stdout is not None
        name, *inodes = lab.stdout.readline().decode().split()
        assert len(processes_of(name)) >= 6  # three holders, the wire, the echo and the probe
        lab.send_signal(how)
        lab.wait(10)
    until("all processes are gone", lambda: not processes_of(name), seen=lambda: processes_of(name))
    spaces = [int(inode) for inode in inodes]
    until("nobody is in its namespaces", lambda: not processes_in(spaces), seen=lambda: processes_in(spaces))
    assert before.added(Surroundings.now()) == []
