"""What is measured: one function a topology, which builds a lab, starts an overlay in it and takes numbers.

Every function returns a flat dict of numbers (None: nothing came through) that goes into the result file as
it is. What failed is told under "errors"; the other numbers of the run are kept.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import measure
from bench.netlab import PROBE, Lab, Node, end
from bench.peers import Peer, compiled
from zosnet.lab.errors import LabError

Result = dict[str, float | list[str] | None]
T = TypeVar("T")

#: Seconds that daemons get after the first ping before anything is measured (path choice, timers).
SETTLE = 1.5


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how much; times in seconds."""

    seconds: float = 4.0
    congestion: str = ""  #: TCP congestion control in the namespaces; empty: this machine's
    quick: bool = False  #: bulk TCP and idle ping only
    packet_bytes: int = 100  #: UDP payload of the small-packet test
    delay_ms: float = 25.0  #: each way, topology L
    loss_percent: float = 1.0
    rate_mbit: float = 200.0
    outage: float = 20.0  #: how long a failover is watched
    idle: float = 30.0  #: how long an idle node is watched
    verbose: bool = False
    logs: Path | None = None  #: where the logs of every run are kept


class Trial:
    """The numbers of one run, and what went wrong in it."""

    def __init__(self, peer: Peer, options: Options) -> None:
        self.peer, self.options = peer, options
        self.result: Result = {}
        self._errors: list[str] = []

    def attempt(self, what: str, act: Callable[[], T]) -> T | None:
        """Do one thing; when it fails, note that and go on."""
        try:
            return act()
        except (LabError, subprocess.SubprocessError, OSError, KeyError, ValueError) as error:
            self._errors.append(f"{what}: {str(error)[:300]}")
            self.result["errors"] = list(self._errors)
            return None

    def bring_up(self, lab: Lab) -> str:
        """Start the overlay on all nodes; b's address once a gets an echo from there."""
        self.peer.prepare(lab)
        before = time.time()
        self.peer.start(lab)
        target = self.peer.address(lab["b"])
        self.result["start_s"] = measure.first_ping(lab["a"], target) - before
        time.sleep(SETTLE)
        return target

    def echo(self, prefix: str, node: Node, target: str, *, count: int = 200, interval: float = 0.01) -> None:
        got = self.attempt(
            f"{prefix} ping", lambda: measure.ping(node, target, count=count, interval=interval)
        )
        self.result[f"{prefix}_p50"] = got.p50 if got else None
        self.result[f"{prefix}_p99"] = got.p99 if got else None
        self.result[f"{prefix}_lost"] = got.loss if got else 100.0

    def bulk(self, key: str, lab: Lab, target: str, *, streams: int = 1, reverse: bool = False) -> None:
        """One bulk TCP run from a to b; the first run of a trial also gives the cost in CPU time."""

        def act() -> measure.Stream:
            seconds = self.options.seconds
            return measure.tcp(lab, lab["a"], lab["b"], target, seconds, streams=streams, reverse=reverse)

        got = self.attempt(key, act)
        self.result[key] = got.mbps if got else None
        if got and key == "tcp1":
            self.result["cpu_gb"], self.result["machine_gb"] = got.daemon_gb, got.machine_gb
            self.result["user_gb"], self.result["retransmits"] = got.user_gb, float(got.retransmits)


def trial(
    peer: Peer, options: Options, build: Callable[[], Lab], body: Callable[[Trial, Lab], None]
) -> Result:
    """Run `body` in a fresh lab, and clean up whatever happens."""
    run = Trial(peer, options)

    def act() -> None:
        with build() as lab:
            try:
                body(run, lab)
            except LabError:
                if options.verbose:
                    print(lab.logs(), file=sys.stderr)
                raise
            finally:
                if (logs := options.logs) is not None:
                    name = f"{time.strftime('%H%M%S')}-{peer.name}-{lab.grid.id}"
                    run.attempt("keep logs", lambda: lab.keep_logs(logs / name, run.result))

    run.attempt("run", act)
    return run.result


def pair_with(options: Options, change: Callable[[Lab], None]) -> Lab:
    """Two nodes whose one link was changed; nothing stays where that fails."""
    lab = Lab("ab", [("a", "b")], congestion=options.congestion)
    try:
        change(lab)
    except BaseException:
        lab.close()
        raise
    return lab


def pair(peer: Peer, options: Options) -> Result:
    """Two nodes, one link."""

    def body(run: Trial, lab: Lab) -> None:
        target = run.bring_up(lab)
        run.result["rss_idle"] = measure.rss_mb(lab)
        run.echo("idle", lab["a"], target)
        for key, streams, reverse in (
            ("tcp1", 1, False),
            ("tcp1r", 1, True),
            ("tcp4", 4, False),
            ("tcp4r", 4, True),
        ):
            run.bulk(key, lab, target, streams=streams, reverse=reverse)
        if not options.quick:
            run.attempt("loaded ping", lambda: loaded_ping(run, lab, target))
            a, b = lab["a"], lab["b"]
            small = run.attempt(
                "udp", lambda: measure.small_packets(lab, a, b, target, size=options.packet_bytes)
            )
            run.result["pps_clean"] = small.loss_free if small else None
            run.result["pps"] = small.delivered if small else None
        run.result["rss_load"] = measure.rss_mb(lab)
        run.echo("after", lab["a"], target, count=20)

    return trial(peer, options, lambda: Lab("ab", [("a", "b")], congestion=options.congestion), body)


def segmented(peer: Peer, options: Options) -> Result:
    """As A, over a link without segmentation offload: a veth otherwise takes 64 KiB at once."""

    def body(run: Trial, lab: Lab) -> None:
        target = run.bring_up(lab)
        run.echo("idle", lab["a"], target)
        run.bulk("tcp1", lab, target)
        run.bulk("tcp4", lab, target, streams=4)

    return trial(peer, options, lambda: pair_with(options, lambda lab: lab.segment(1)), body)


def loaded_ping(run: Trial, lab: Lab, target: str) -> None:
    """Ping while one TCP stream runs as fast as it can."""
    server = lab.helper(lab["b"], "iperf3", "-s", "-1", "-p", 5202)
    time.sleep(0.15)
    client = lab.helper(lab["a"], "iperf3", "-c", target, "-p", 5202, "-t", 6)
    time.sleep(0.7)
    run.echo("loaded", lab["a"], target, count=150, interval=0.02)
    end(client)
    end(server)


def relayed(peer: Peer, options: Options) -> Result:
    """a - r - b: the underlay does not route, r must carry the packets."""

    def body(run: Trial, lab: Lab) -> None:
        target = run.bring_up(lab)
        run.echo("idle", lab["a"], target)
        run.bulk("tcp1", lab, target)
        run.bulk("tcp4", lab, target, streams=4)

    return trial(
        peer, options, lambda: Lab("arb", [("a", "r"), ("r", "b")], congestion=options.congestion), body
    )


def lossy(peer: Peer, options: Options) -> Result:
    """Two nodes, with delay, loss and a rate limit between them (helpers/linkem.c)."""

    def spoil(lab: Lab) -> None:
        lab.emulate(
            1, compiled("linkem.c"), delay_ms=options.delay_ms, loss_percent=options.loss_percent,
            rate_mbit=options.rate_mbit,
        )  # fmt: skip

    def body(run: Trial, lab: Lab) -> None:
        target = run.bring_up(lab)
        run.echo("idle", lab["a"], target, interval=0.02)
        run.bulk("tcp1", lab, target)
        run.bulk("tcp4", lab, target, streams=4)

    return trial(peer, options, lambda: pair_with(options, spoil), body)


def idle(peer: Peer, options: Options) -> Result:
    """Two linked nodes with nothing to do: the memory of one, and its share of one core."""

    def body(run: Trial, lab: Lab) -> None:
        run.bring_up(lab)
        before, start = measure.cpu(lab), time.monotonic()
        time.sleep(options.idle)
        used, lasted = measure.cpu(lab) - before, time.monotonic() - start
        run.result["rss_idle"] = measure.rss_mb(lab)
        run.result["idle_percent"] = 100.0 * (used.user + used.system) / lasted / max(1, len(lab.daemons))

    return trial(peer, options, lambda: Lab("ab", [("a", "b")]), body)


def two_links(peer: Peer, options: Options) -> Result:
    """Two parallel links, the second shaped to 100 Mbit/s; the one in use goes silent."""
    return _failover(peer, options, "ab", [("a", "b"), ("a", "b")], shaped=2)


def triangle(peer: Peer, options: Options) -> Result:
    """a-b, a-r and r-b; the link that a uses goes silent."""
    return _failover(peer, options, "arb", [("a", "b"), ("a", "r"), ("r", "b")])


def _failover(
    peer: Peer, options: Options, names: str, links: Sequence[tuple[str, str]], shaped: int = 0
) -> Result:
    lead = 3.0  # traffic before the cut

    def body(run: Trial, lab: Lab) -> None:
        if shaped:
            lab.shape(shaped, 100)
        target = run.bring_up(lab)
        time.sleep(4.0)
        total = lead + 2 + options.outage
        sink = lab.directory / "sink.txt"
        lab.helper(lab["b"], sys.executable, PROBE, "udp-echo", target, 7100)
        lab.helper(lab["b"], sys.executable, PROBE, "tcp-sink", target, 7101, sink)
        time.sleep(0.4)
        udp = lab["a"].popen(sys.executable, PROBE, "udp-stream", target, 7100, total, 0.01)
        tcp = lab["a"].popen(sys.executable, PROBE, "tcp-source", target, 7101, total, 10)
        time.sleep(lead - 1)
        used = lab.busiest(lab["a"])
        cut_at = time.time()
        lab.cut(used)
        got = json.loads(udp.communicate(timeout=total + 20)[0])["got"]
        ended = tcp.communicate(timeout=total + 60)[0]
        run.result["cut_at"], run.result["cut_link"] = cut_at, float(used)
        run.result["udp_outage_ms"] = outage_ms([row[2] for row in got], cut_at, options.outage)
        run.result["udp_lost"] = total / 0.01 - len(got)
        run.result["tcp_stall_ms"] = outage_ms(_sink_times(sink), cut_at, options.outage)
        run.result["tcp_alive"] = float("ok" in ended and run.result["tcp_stall_ms"] is not None)

    return trial(peer, options, lambda: Lab(names, links, congestion=options.congestion), body)


def _sink_times(path: Path) -> list[float]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [float(line.split()[0]) for line in lines if line[:1].isdigit()]


def outage_ms(arrivals: Sequence[float], cut_at: float, watched: float) -> float | None:
    """The longest silence after the cut; None when nothing comes any more in the last fifth of the watch."""
    after = sorted(at for at in arrivals if at > cut_at)
    if not after or after[-1] < cut_at + 0.8 * watched:
        return None
    return 1000 * max(late - early for early, late in zip([cut_at, *after], after, strict=False))


def median(values: Sequence[float | list[str] | None]) -> tuple[float, float, float] | None:
    """Median, smallest and largest of the numbers among `values`."""
    numbers = [value for value in values if isinstance(value, int | float)]
    return (statistics.median(numbers), min(numbers), max(numbers)) if numbers else None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A topology by its letter. `light`: it needs so little CPU that all peers may run at the same time."""

    letter: str
    run: Callable[[Peer, Options], Result]
    light: bool = False

    @property
    def title(self) -> str:
        return (self.run.__doc__ or "").splitlines()[0]

    def suits(self, peer: Peer) -> bool:
        """Whether the peer has what this scenario is about."""
        return {
            "B": peer.relays,
            "C": peer.fails_over,
            "D": peer.fails_over and peer.relays,
            "L": not peer.name.startswith("tunlimit"),
            "I": peer.name not in ("veth",) and not peer.name.startswith("tunlimit"),
        }.get(self.letter, True)


SCENARIOS = {
    scenario.letter: scenario
    for scenario in (
        Scenario("A", pair),
        Scenario("B", relayed),
        Scenario("S", segmented),
        Scenario("C", two_links, light=True),
        Scenario("D", triangle, light=True),
        Scenario("L", lossy),
        Scenario("I", idle, light=True),
    )
}
