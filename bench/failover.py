"""How long traffic stops when a path is lost or comes back, or a host sleeps, ten times each.

    python -m bench.failover [--runs 10] [--routes 10000] [--sleep 90] [--only udp]

Real nodes in namespaces: a file over TCP and a datagram every 2 ms from a to b, two relays between them, so
many routes installed that have to move as well (`zosnet.lab.failover`). Exit codes: 0 bars met, 1 one missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zosnet.lab import Grid, LabError
from zosnet.lab.failover import come_back, cut_near, kill_relay, lose_a_path, sleep_and_wake
from zosnet.lab.two_paths import TwoPaths


@dataclass(frozen=True, slots=True)
class Case:
    """One way to lose a path, and its bars in ms: the median's, and the worst run's.

    `most_routes`: what a QUIC link measures of itself varies so much under a load that with 10,000 routes
    some backups aren't feasible; then what is measured is how fast newer seqnos are asked for.
    """

    name: str
    what: Callable[[TwoPaths], None]
    proto: str
    median: float
    worst: float
    most_routes: int = 1_000_000
    is_feasible: bool = True


CASES = (
    Case("dead socket, tcp", kill_relay, "tcp", 100, 100),
    Case("dead socket, tcp, not feasible", kill_relay, "tcp", 200, 1000, is_feasible=False),
    Case("silent cut, tcp", cut_near, "tcp", 500, 1000),
    Case("silent cut, udp", cut_near, "udp", 500, 1000),
    Case("dead relay, udp", kill_relay, "udp", 500, 1000),
    Case("silent cut, quic", cut_near, "quic", 500, 1000, most_routes=100),
)
SLEEPS = ("tcp", "udp", "quic")
BACK = 2000.0
RETURNS = ("tcp", "udp")
#: Of 10,000 segments after a return, so many may be sent again.
SENT_AGAIN = 100.0


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def repeat(
    name: str, runs: int, once: Callable[[Grid], tuple[float, ...]], units: tuple[str, ...] = ("ms", "ms")
) -> list[tuple[float, ...]]:
    """What `once` measured in a fresh grid, so many times; a run that failed counts as endless."""
    figures: list[tuple[float, ...]] = []
    for number in range(1, runs + 1):
        try:
            with Grid() as grid:
                got = once(grid)
        except LabError as error:
            say(f"{name}, run {number}: {error}")
            got = (float("inf"), float("inf"))
        say(
            f"{name}, run {number} of {runs}: "
            + ", ".join(f"{it:.0f} {unit}" for it, unit in zip(got, units, strict=False))
        )
        figures.append(got)
    return figures


def line(name: str, values: Sequence[float]) -> str:
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"| {name} | {len(values)} | {middle:.0f} | {least:.0f} | {most:.0f} |"


def lost(case: Case, routes: int) -> Callable[[Grid], tuple[float, ...]]:
    def once(grid: Grid) -> tuple[float, ...]:
        most = min(routes, case.most_routes)
        loss = lose_a_path(grid, case.what, case.proto, most, is_feasible=case.is_feasible)
        if not (loss.is_whole and loss.has_moved):
            raise LabError(f"the file is {'' if loss.is_whole else 'not '}whole, {loss}")
        return loss.datagrams_ms, loss.tcp_ms

    return once


def slept(proto: str, seconds: float) -> Callable[[Grid], tuple[float, ...]]:
    return lambda grid: (1000.0 * sleep_and_wake(grid, proto, seconds),)


def returned(proto: str) -> Callable[[Grid], tuple[float, ...]]:
    def once(grid: Grid) -> tuple[float, ...]:
        back = come_back(grid, proto)
        return back.silence_ms, 1e4 * back.again / back.segments

    return once


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.failover", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--routes", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--sleep", type=float, default=90.0, help="seconds of sleep (default: %(default)s)")
    parser.add_argument("--only", default="", help="cases whose names have this in them")
    options = parser.parse_args(arguments)
    rows = ["| case | n | median ms | least | most |", "|---|---|---|---|---|"]
    missed = []
    for case in CASES:
        if options.only not in case.name:
            continue
        figures = repeat(case.name, options.runs, lost(case, options.routes))
        datagrams = [figure[0] for figure in figures]
        rows.append(line(f"{case.name}: datagrams", datagrams))
        rows.append(line(f"{case.name}: TCP", [figure[1] for figure in figures]))
        if statistics.median(datagrams) > case.median or max(datagrams) > case.worst:
            missed.append(f"{case.name}: wanted a median of {case.median:.0f} ms, at worst {case.worst:.0f}")
    for proto in RETURNS:
        name = f"return, {proto}"
        if options.only not in name:
            continue
        figures = repeat(name, max(1, options.runs // 3), returned(proto), ("ms", "of 10,000 sent again"))
        rows.append(line(f"{name}: TCP", [figure[0] for figure in figures]))
        again = [figure[1] for figure in figures]
        rows.append(line(f"{name}: of 10,000 segments sent again", again))
        if statistics.median(again) > SENT_AGAIN:
            missed.append(f"{name}: wanted at most {SENT_AGAIN:.0f} of 10,000 segments sent again")
    for proto in SLEEPS:
        name = f"slept {options.sleep:.0f} s, {proto}"
        if options.only not in name:
            continue
        back = [figure[0] for figure in repeat(name, max(1, options.runs // 3), slept(proto, options.sleep))]
        rows.append(line(f"{name}: back after", back))
        if max(back) > BACK:
            missed.append(f"{name}: wanted at worst {BACK:.0f} ms")
    print("\n".join([*rows, *(f"MISSED {text}" for text in missed)]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
