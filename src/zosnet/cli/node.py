"""`zosnet down`, `status`, `metrics`, `reload`, `stats`: the node as a whole."""

from __future__ import annotations

import time
from typing import Any

import click

from zosnet.cli.common import json_option, node_of
from zosnet.cli.output import duration, fields, say, show_json, size, table, waiting
from zosnet.model.errors import HostError

__all__ = ["down", "metrics", "reload", "stats", "status"]


@click.command()
@click.option(
    "--timeout",
    default=15.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="Seconds to wait for the end.",
)
@click.pass_context
def down(ctx: click.Context, timeout: float) -> None:
    """Stop the node: it withdraws its route, sends what is queued, and removes its device."""
    node = node_of(ctx)
    node.post("/v1/shutdown")
    end = time.monotonic() + timeout
    with waiting("stopping"):
        while node.is_running():
            if time.monotonic() >= end:
                raise HostError(
                    f"the node has not stopped within {timeout:g} s",
                    remedy="look at its log; a second SIGTERM forces it",
                )
            time.sleep(0.05)
    say("stopped")


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """The node at a glance: who it is, how it is linked, and what `doctor` would complain about."""
    found = node_of(ctx).get("/v1/status")
    if as_json:
        show_json(found)
        return
    device = f"{found['tun']} (MTU {found['mtu']})" if found["tun"] else "none (--no-tun)"
    fields(
        [
            ("address", found["address"]),
            ("subnet", found["subnet"]),
            ("public key", found["public_key"]),
            ("device", device),
            ("listening", " ".join(found["listen"]) or "-"),
            ("peers", f"{found['peers_linked']} linked, {found['peers_wanted']} wanted"),
            ("sessions", _sessions(found["sessions"], found["pins"])),
            ("routes", f"{found['routes']} in use, {found['queries']} asked for"),
            ("doors", _doors(found)),
            ("traffic", f"{size(found['tx_bytes'])} sent, {size(found['rx_bytes'])} received"),
            ("up", f"{duration(found['uptime'])}, version {found['version']}"),
        ]
    )
    for finding in found["findings"]:
        say(f"{finding['severity']}: {finding['text']}")


def _doors(found: dict[str, Any]) -> str:
    refused = f"{found['refused']} refused: see `zosnet doors`" if found["refused"] else "nothing refused"
    return "open" if found["inbound"] == "all" else f"closed, {refused}"


def _sessions(by_suite: dict[str, int], pins: int) -> str:
    counts = ", ".join(f"{count} {suite}" for suite, count in sorted(by_suite.items(), reverse=True))
    return f"{counts or 'none'}; {pins} nodes pinned"


@click.command()
@json_option
@click.pass_context
def metrics(ctx: click.Context, as_json: bool) -> None:
    """The node's counters, in Prometheus' text format."""
    text = node_of(ctx).text("/metrics")
    if not as_json:
        say(text.rstrip("\n"))
        return
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    show_json({"metrics": {name: float(value) for name, _, value in lines}, "schema": "zosnet.metrics/1"})


@click.command()
@json_option
@click.pass_context
def reload(ctx: click.Context, as_json: bool) -> None:
    """Read the settings again and apply what differs. Broken settings change nothing.

    What can't change while the node runs is listed; it takes effect at the next start.
    """
    found = node_of(ctx).post("/v1/reload")
    if as_json:
        show_json(found)
        return
    for change in found["changed"]:
        say(change)
    for name in found["needs_restart"]:
        say(f"{name} takes effect at the next start")
    if not found["changed"] and not found["needs_restart"]:
        say("nothing has changed")


@click.group()
def stats() -> None:
    """Traffic by peer."""


@stats.command()
@json_option
@click.pass_context
def packets(ctx: click.Context, as_json: bool) -> None:
    """Packets and bytes over each link."""
    found = node_of(ctx).get("/v1/peers")
    names = ("endpoint", "tx_packets", "tx_bytes", "rx_packets", "rx_bytes")
    rows = [{name: peer[name] for name in names} for peer in found["peers"]]
    if as_json:
        show_json({"peers": rows, "schema": "zosnet.stats/1"})
        return
    columns = ("endpoint", "packets sent", "bytes sent", "packets received", "bytes received")
    table(columns, [[str(row[name]) for name in names] for row in rows], empty="there are no peers")
