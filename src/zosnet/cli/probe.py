"""`zosnet ping` and `zosnet trace`."""

from __future__ import annotations

import statistics
from typing import Any

import click

from zosnet.cli.common import json_option, node_of
from zosnet.cli.output import say, show_json

__all__ = ["ping", "trace"]


@click.command()
@click.argument("destination")
@click.option(
    "-c", "--count", default=4, show_default=True, type=click.IntRange(1, 100_000), help="How many."
)
@click.option(
    "-i",
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.01, 3600),
    help="Seconds between two.",
)
@click.option(
    "-W",
    "--timeout",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.01, 60),
    help="Seconds to wait for one.",
)
@click.option(
    "-s", "--size", default=56, show_default=True, type=click.IntRange(16, 1200), help="Bytes of data."
)
@json_option
@click.pass_context
def ping(
    ctx: click.Context,
    /,
    *,
    destination: str,
    count: int,
    interval: float,
    timeout: float,
    size: int,
    as_json: bool,
) -> int:
    """Ask the node at DESTINATION, an overlay address or a public key, for an echo.

    `timeout` means that nothing came back: the node is down, no way leads there, or the way back is broken;
    `zosnet trace` shows how far it goes. `unreachable` is an answer of a node on the way, or of this one.
    Exit code 1 when no echo came at all.
    """
    body = {
        "destination": destination,
        "count": count,
        "interval": interval,
        "timeout": timeout,
        "size": size,
    }
    lines = []
    for line in node_of(ctx).stream("/v1/ping", body):
        lines.append(line)
        show_json(line) if as_json else say(_ping_line(destination, line))
    times = [line["rtt_ms"] for line in lines if line["outcome"] == "reply"]
    if not as_json:
        say(_summary(destination, len(lines), times))
    return 0 if times else 1


def _ping_line(destination: str, line: dict[str, Any]) -> str:
    if line["outcome"] == "reply":
        return f"reply from {line['source']}: seq={line['sequence']} time={line['rtt_ms']:.2f} ms"
    told = f" (says {line['source']})" if line["source"] else ""
    return f"seq={line['sequence']} {line['outcome']}{': ' if line['reason'] else ''}{line['reason']}{told}"


def _summary(destination: str, sent: int, times: list[float]) -> str:
    lost = 100 * (sent - len(times)) / sent if sent else 0
    text = f"{destination}: {sent} sent, {len(times)} received, {lost:.0f} % lost"
    if not times:
        return text
    return f"{text}; rtt min/median/max {min(times):.2f}/{statistics.median(times):.2f}/{max(times):.2f} ms"


@click.command()
@click.argument("destination")
@click.option(
    "-m", "--max-hops", default=16, show_default=True, type=click.IntRange(1, 64), help="How far to look."
)
@click.option(
    "-W",
    "--timeout",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.01, 60),
    help="Seconds to wait for a hop.",
)
@json_option
@click.pass_context
def trace(ctx: click.Context, destination: str, max_hops: int, timeout: float, as_json: bool) -> int:
    """The nodes on the way to DESTINATION, an overlay address or a public key.

    A hop is shown by the network of its node. `*` is a hop that didn't answer; those beyond it may. Exit
    code 1 when the destination itself was not reached.
    """
    reached = False
    body = {"destination": destination, "max_hops": max_hops, "timeout": timeout}
    for line in node_of(ctx).stream("/v1/trace", body):
        reached = reached or line["outcome"] == "reply"
        show_json(line) if as_json else say(_hop_line(line))
    return 0 if reached else 1


def _hop_line(line: dict[str, Any]) -> str:
    if line["outcome"] == "timeout":
        return f"{line['hop']:>3}  *"
    reason = f"  {line['reason']}" if line["reason"] else ""
    return f"{line['hop']:>3}  {line['source']}  {line['rtt_ms']:.2f} ms{reason}"
