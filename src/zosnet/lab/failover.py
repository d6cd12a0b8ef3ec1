"""How long traffic stops when a path is lost, or a host sleeps: with the real nodes of a grid.

`lose_a_path` sends a file over TCP and a beat of datagrams from a to b on the grid of `two_paths`, takes
the better path away, and measures the longest silence of each.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from zosnet.lab.ask import answers, beating, route_count
from zosnet.lab.errors import LabError
from zosnet.lab.feeder import feed
from zosnet.lab.grid import Grid
from zosnet.lab.measure import Beat
from zosnet.lab.node import Node, Wishes
from zosnet.lab.transfer import moved
from zosnet.lab.two_paths import TwoPaths, meet, start
from zosnet.lab.wait import until

MIB = 1 << 20
FILE = 32 * MIB
RETURN_S = 20.0
"""How long a file takes while the better path comes back: a link that failed is trusted again after 5 s, and
notices a moment after its healing that it is healed.
"""


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of the traffic, in ms; and whether the file is whole and took the other path."""

    datagrams_ms: float
    tcp_ms: float
    is_whole: bool
    has_moved: bool


def kill_relay(paths: TwoPaths) -> None:
    """The relay's process ends: its sockets are closed, so that stream links learn of it at once."""
    paths.nodes["r1"].kill()


def cut_near(paths: TwoPaths) -> None:
    """The link at a carries nothing any more; nobody is told."""
    paths.better.cut()


NEAR_MS, FAR_MS = {"tcp": 5.0, "udp": 4.0, "quic": 4.0}, 10.0
"""How far away the longer path's links are, one way: so that its routes are feasible; so that they aren't.

A datagram link costs less of itself, so there it must be less far.
"""


def lose_a_path(
    grid: Grid, what: Callable[[TwoPaths], None], proto: str, routes: int, *, is_feasible: bool = True
) -> Loss:
    """Take the better of two paths away by `what`, with so many routes installed that have to move as well.

    `is_feasible`: whether the other may be used at once, or a newer seqno must be asked for first.

    Raises:
        LabError: the grid didn't come up, or the traffic never came back.
    """
    paths = TwoPaths(grid, delay_ms=NEAR_MS[proto] if is_feasible else FAR_MS, proto=proto)
    a, b = paths.nodes["a"], paths.nodes["b"]
    start(list(paths.nodes.values()))
    feed(b.host, routes)
    until("a has all routes", lambda: route_count(a) >= routes + 3, within=60.0, seen=lambda: route_count(a))
    paths.prefer_better()
    beat = beating(a, b)
    transfer, came, digest = moved(a, b, FILE, mbit=100)
    until("a third has arrived", lambda: transfer.received() > FILE // 3)
    since = paths.carried()
    what(paths)
    before = answers(beat)
    arrived = transfer.finish()
    until("the beat goes on", lambda: answers(beat) > before + 200)
    beat.stop()
    has_moved = paths.busier(since) is paths.worse
    until(
        "all routes have moved",
        lambda: route_count(a) >= routes + 2,
        within=20.0,
        seen=lambda: route_count(a),
    )
    return Loss(
        Beat.of(beat.records()).longest(),
        arrived.longest_silence(arrived.began),
        came.digest() == digest,
        has_moved,
    )


@dataclass(frozen=True, slots=True)
class Return:
    """What the way back to the better path, when it works again, did to a TCP connection."""

    after_s: float
    """From its healing until most of the traffic took it."""
    silence_ms: float
    """The longest, from the healing on."""
    again: int
    """Segments sent again, from the healing on, of `segments`."""
    segments: int
    is_whole: bool


def come_back(grid: Grid, proto: str, mbit: float = 100) -> Return:
    """Cut the better of two paths under a file over TCP, heal it, and watch the traffic return.

    Raises:
        LabError: the grid didn't come up, or the traffic never returned.
    """
    paths = TwoPaths(grid, delay_ms=NEAR_MS[proto], proto=proto)
    a, b = paths.nodes["a"], paths.nodes["b"]
    start(list(paths.nodes.values()))
    paths.prefer_better()
    size = int(mbit * 1e6 / 8 * RETURN_S)
    transfer, came, digest = moved(a, b, size, mbit=mbit)
    until("a tenth has arrived", lambda: transfer.received() > size // 10)
    paths.better.cut()
    since, received = paths.carried(), transfer.received()
    until("the other path carries it", lambda: transfer.received() > received + 8 * MIB)
    if paths.busier(since) is not paths.worse:
        raise LabError("the traffic has not taken the other path")
    paths.better.heal()
    healed, before = time.monotonic(), _segments(a)

    def is_back() -> bool:
        was = paths.carried()
        time.sleep(0.1)
        better, worse = (now - then for now, then in zip(paths.carried(), was, strict=True))
        return better > 10 * max(worse, 1000)

    until("the traffic is back", is_back, within=RETURN_S)
    after = time.monotonic() - healed
    if not transfer.is_running:
        raise LabError("the file was there before the traffic was back")
    received = transfer.received()
    until("it goes on there", lambda: transfer.received() > received + 8 * MIB)
    now = _segments(a)
    arrived = transfer.finish()
    return Return(
        after_s=after,
        silence_ms=arrived.longest_silence(healed),
        again=now[1] - before[1],
        segments=now[0] - before[0],
        is_whole=came.digest() == digest,
    )


def _segments(node: Node) -> tuple[int, int]:
    """TCP segments that the node's host has sent, and those of them that it sent again (RFC 2012)."""
    rows = node.host.run("cat", "/proc/net/snmp").stdout.splitlines()
    names, values = (row.split() for row in rows if row.startswith("Tcp:"))
    found = dict(zip(names, values, strict=True))
    return int(found["OutSegs"]), int(found["RetransSegs"])


def sleep_and_wake(grid: Grid, proto: str, seconds: float) -> float:
    """Two linked nodes, one stopped for so long; the seconds from its waking until a beat is answered again.

    To its neighbour a stopped process is what a sleeping host is: no word from it, and its sockets stay.
    """
    for name in ("a", "b"):
        grid.host(name)
    link = grid.link("a", "b")
    a, b = grid.node("a"), grid.node("b", wishes=Wishes(peers=[link.url("a", proto)]))
    start([a, b])
    meet([a, b])
    beat = beating(a, b, every_ms=10)
    os.kill(b.pid, signal.SIGSTOP)
    time.sleep(seconds)
    before = answers(beat)
    os.kill(b.pid, signal.SIGCONT)
    woke = time.monotonic()
    # Answers to what waited in queues are no sign of life: a datagram that was sent after the waking is.
    until(
        "the beat is answered again",
        lambda: any(sent > woke for _, sent, _ in Beat.of(beat.records()).replies[before:]),
    )
    first = min(got for _, sent, got in Beat.of(beat.records()).replies if sent > woke)
    beat.stop()
    return first - woke
