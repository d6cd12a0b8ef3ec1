"""Result files into tables and verdicts. Pure: nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.scenarios import SCENARIOS, Result, median


@dataclass(frozen=True, slots=True)
class Run:
    """One peer in one topology, once."""

    topology: str
    peer: str
    result: Result
    congestion: str = ""  #: TCP congestion control inside


@dataclass(frozen=True, slots=True)
class Column:
    key: str
    title: str
    digits: int = 0  #: behind the point; -3: thousands with one digit and a k


_BULK = (Column("tcp1", "TCP 1"), Column("tcp4", "TCP 4"))
_IDLE_PING = (Column("idle_p50", "ping p50 ms", 3), Column("idle_p99", "p99", 3))
_FAILOVER = (
    Column("cut_link", "link cut"), Column("udp_outage_ms", "UDP outage ms"), Column("udp_lost", "UDP lost"),
    Column("tcp_stall_ms", "TCP stall ms"), Column("tcp_alive", "TCP alive", 1),
    Column("start_s", "start→ping s", 3),
)  # fmt: skip

COLUMNS: Mapping[str, Sequence[Column]] = {
    "A": (
        Column("tcp1", "TCP 1"), Column("tcp1r", "TCP 1 rev"),
        Column("tcp4", "TCP 4"), Column("tcp4r", "TCP 4 rev"),
        Column("pps_clean", "pps, loss ≤ 1 %", -3), Column("pps", "pps delivered", -3),
        *_IDLE_PING, Column("loaded_p50", "loaded p50", 2), Column("loaded_p99", "p99", 2),
        Column("cpu_gb", "daemon CPU s/GB", 2), Column("machine_gb", "machine CPU s/GB", 2),
        Column("rss_idle", "RSS idle MB"), Column("rss_load", "after"), Column("start_s", "start→ping s", 3),
    ),
    "B": (*_BULK, *_IDLE_PING, Column("cpu_gb", "daemon CPU s/GB", 2), Column("start_s", "start→ping s", 3)),
    "S": (*_BULK, *_IDLE_PING, Column("cpu_gb", "daemon CPU s/GB", 2), Column("retransmits", "retransmits")),
    "C": _FAILOVER,
    "D": _FAILOVER,
    "L": (
        Column("tcp1", "TCP 1", 1), Column("tcp4", "TCP 4", 1), *_IDLE_PING,
        Column("idle_lost", "ping loss %", 1), Column("start_s", "start→ping s", 3),
    ),
    "I": (Column("rss_idle", "RSS MB", 1), Column("idle_percent", "CPU % of a core", 2)),
}  # fmt: skip


def cell(values: Sequence[float | list[str] | None], digits: int) -> str:
    """`median (min–max)`; one number when they print the same; a dash when there is none."""
    found = median(values)
    if found is None:
        return "–"

    def show(value: float) -> str:
        return f"{value / 1000:.1f}k" if digits == -3 else f"{value:.{digits}f}"

    middle, low, high = map(show, found)
    return middle if low == high else f"{middle} ({low}–{high})"


def tables(runs: Sequence[Run]) -> str:
    """A markdown table for each topology that was run; Mbit/s for TCP."""
    out: list[str] = []
    for letter, columns in COLUMNS.items():
        rows: dict[str, list[Result]] = {}
        for run in runs:
            if run.topology == letter:
                rows.setdefault(run.peer, []).append(run.result)
        if not rows:
            continue
        out += [f"### {letter}: {SCENARIOS[letter].title}", ""]
        out += ["| peer | n | " + " | ".join(column.title for column in columns) + " |"]
        out += ["|---" * (len(columns) + 2) + "|"]
        for peer, results in rows.items():
            failed = sum("errors" in result for result in results)
            count = f"{len(results)}" + (f" ({failed} with errors)" if failed else "")
            cells = [
                cell([result.get(column.key) for result in results], column.digits) for column in columns
            ]
            out.append(f"| {peer} | {count} | " + " | ".join(cells) + " |")
        out.append("")
    return "\n".join(out)


BEST = "the best other"
#: Not overlays, or ours: never the best other.
_NOT_OTHERS = ("veth", "tunlimit", "zosnet")


@dataclass(frozen=True, slots=True)
class Bar:
    """What a number must be: at least or at most `factor`, times the reference's where there is one.

    The reference `BEST` is the best of all other overlays that were measured, whichever it is.
    """

    title: str
    topology: str
    key: str
    factor: float
    at_least: bool
    peer: str = "zosnet-tcp"
    reference: str | None = "mycelium-tcp"
    digits: int = 0
    congestion: str = ""  #: of runs with this TCP congestion control alone


BARS = (
    Bar("one TCP stream", "A", "tcp1", 2.0, at_least=True),
    Bar("one TCP stream, relayed", "B", "tcp1", 2.0, at_least=True),
    Bar("small packets delivered a second", "A", "pps", 1.0, at_least=True),
    Bar("daemon CPU s/GB", "A", "cpu_gb", 0.5, at_least=False, digits=2),
    Bar("idle ping p50 ms", "A", "idle_p50", 1.0, at_least=False, digits=3),
    Bar("idle ping p99 ms", "A", "idle_p99", 1.0, at_least=False, digits=3),
    Bar("loaded ping p50 ms", "A", "loaded_p50", 1.0, at_least=False, digits=2),
    Bar("loaded ping p99 ms", "A", "loaded_p99", 1.0, at_least=False, digits=2),
    Bar("bulk TCP over quic:// Mbit/s", "A", "tcp1", 1.0, at_least=True, peer="zosnet-quic", reference=None),
    Bar(
        "echoes lost after that load %",
        "A",
        "after_lost",
        0.0,
        at_least=False,
        peer="zosnet-quic",
        reference=None,
    ),
    Bar("our suite: one TCP stream", "A", "tcp1", 1.5, True, "zosnet-udp", BEST),
    Bar("our suite: one TCP stream, CUBIC", "A", "tcp1", 2.0, True, "zosnet-udp", BEST, congestion="cubic"),
    Bar("our suite: beside no protocol at all", "A", "tcp1", 0.9, True, "zosnet-udp", "tunlimit-gso-aes"),
    Bar("our suite: four TCP streams", "A", "tcp4", 1.5, True, "zosnet-udp", BEST),
    Bar("our suite: one TCP stream, relayed", "B", "tcp1", 2.0, True, "zosnet-udp", BEST),
    Bar("our suite: small packets delivered a second", "A", "pps", 1.2, True, "zosnet-udp", BEST),
    Bar("our suite: idle ping p50 ms", "A", "idle_p50", 1.0, False, "zosnet-udp", BEST, digits=3),
    Bar("our suite: loaded ping p99 ms", "A", "loaded_p99", 1.25, False, "zosnet-udp", "tunlimit-gso-aes", 2),
    Bar("our suite: daemon CPU s/GB", "A", "cpu_gb", 2.0, False, "zosnet-udp", None, digits=2),
    Bar("our suite: 1 % loss, one TCP stream", "L", "tcp1", 1.0, True, "zosnet-udp", BEST),
    Bar("our suite: silent link, UDP outage ms", "C", "udp_outage_ms", 500.0, False, "zosnet-udp", None),
    Bar("our suite: silent link, TCP stall ms", "C", "tcp_stall_ms", 500.0, False, "zosnet-udp", None),
    Bar("our suite: RSS idle MB", "A", "rss_idle", 60.0, False, "zosnet-udp", None),
    Bar("our suite: RSS after load MB", "A", "rss_load", 120.0, False, "zosnet-udp", None),
    Bar("idle node, RSS MB", "I", "rss_idle", 60.0, at_least=False, reference=None, digits=1),
    Bar("idle node, CPU % of a core", "I", "idle_percent", 1.0, at_least=False, reference=None, digits=2),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a bar was met; `met` is None when a number is missing."""

    bar: Bar
    met: bool | None
    text: str


def verdicts(runs: Sequence[Run], bars: Iterable[Bar] = BARS) -> list[Verdict]:
    """Judge the medians of `runs`. A bar that no run at all is about is left out."""
    about = ((bar, [run for run in runs if _is_about(bar, run)]) for bar in bars)
    return [_judge(them, bar) for bar, them in about if them]


def _is_about(bar: Bar, run: Run) -> bool:
    return run.topology == bar.topology and bar.congestion in {"", run.congestion}


def _judge(runs: Sequence[Run], bar: Bar) -> Verdict:
    def middle(peer: str) -> float | None:
        found = median([run.result.get(bar.key) for run in runs if run.peer == peer])
        return found[0] if found else None

    ours = middle(bar.peer)
    reference = _best_other(runs, bar, middle) if bar.reference == BEST else bar.reference
    theirs = middle(reference) if reference else 1.0 if bar.reference is None else None
    sign = "≥" if bar.at_least else "≤"
    if ours is None or theirs is None:
        return Verdict(bar, None, f"{bar.title}: not measured")
    limit = bar.factor * theirs
    met = ours >= limit if bar.at_least else ours <= limit
    shown = f"{bar.title}: {bar.peer} {ours:.{bar.digits}f}"
    if bar.reference is None:
        return Verdict(bar, met, f"{shown} (wanted: {sign} {bar.factor:g})")
    ratio = ours / theirs if theirs else float("inf")
    return Verdict(
        bar,
        met,
        f"{shown}, {reference} {theirs:.{bar.digits}f}: {ratio:.2f}x (wanted: {sign} {bar.factor:g}x)",
    )


def _best_other(runs: Sequence[Run], bar: Bar, middle: Callable[[str], float | None]) -> str | None:
    """The other overlay with the best median of the bar's key."""
    others = {run.peer for run in runs if not run.peer.startswith(_NOT_OTHERS)}
    measured = [(value, peer) for peer in others if (value := middle(peer)) is not None]
    if not measured:
        return None
    return (max if bar.at_least else min)(measured)[1]


def verdict_lines(judged: Sequence[Verdict]) -> str:
    words = {True: "met   ", False: "MISSED", None: "?     "}
    return "\n".join(f"{words[verdict.met]} {verdict.text}" for verdict in judged)
