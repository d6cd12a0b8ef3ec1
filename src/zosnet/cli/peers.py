"""`zosnet peers`: whom the node is linked to."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from zosnet.cli.client import Refused
from zosnet.cli.common import json_option, node_of
from zosnet.cli.output import duration, say, show_json, size, table
from zosnet.model.endpoint import Endpoint

__all__ = ["peers"]


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def peers(ctx: click.Context, as_json: bool) -> None:
    """Whom this node is linked to. Without a sub-command, list them.

    A peer is `alive` while there is a link to it, `connecting` while one is being made, and `dead` while the
    node waits for the next attempt; `--json` says when that is.
    """
    if ctx.invoked_subcommand is None:
        _list(ctx, as_json)


@peers.command("list")
@json_option
@click.pass_context
def list_peers(ctx: click.Context, as_json: bool) -> None:
    """List all peers and their links."""
    _list(ctx, as_json)


@peers.command()
@click.argument("endpoints", nargs=-1, required=True)
@click.pass_context
def add(ctx: click.Context, endpoints: tuple[str, ...]) -> int:
    """Keep a link to each of these peers from now on: tcp://host:9651, quic://host:9651 or udp://host.

    \b
      udp://KEY@host            only the node with this key
      udp://host?weight=50      50 ms dearer than it is
      udp://host?metered        only for what has no other way

    A peer that is known already is changed. Until the node stops; peers that should stay belong into its
    settings.
    """
    return _each(endpoints, lambda endpoint: node_of(ctx).post("/v1/peers", {"endpoint": endpoint}), "added")


@peers.command()
@click.argument("endpoints", nargs=-1, required=True)
@click.pass_context
def remove(ctx: click.Context, endpoints: tuple[str, ...]) -> int:
    """Want these peers no longer, and close the links to them."""
    return _each(
        endpoints, lambda endpoint: node_of(ctx).delete(f"/v1/peers/{quote(endpoint, safe='')}"), "removed"
    )


def _each(endpoints: tuple[str, ...], change: Any, done: str) -> int:
    """Check all first, so that a typing error changes nothing; then go on past those that are refused."""
    for endpoint in endpoints:
        Endpoint.parse(endpoint)
    code = 0
    for endpoint in endpoints:
        try:
            change(endpoint)
            say(f"{done} {endpoint}")
        except Refused as error:
            click.echo(f"error: {error.message}", err=True)
            code = 1
    return code


def _list(ctx: click.Context, as_json: bool) -> None:
    found = node_of(ctx).get("/v1/peers")
    if as_json:
        show_json(found)
        return
    table(
        _COLUMNS,
        [_row(peer) for peer in found["peers"]],
        empty="there are no peers; add one with `zosnet peers add tcp://host:9651`",
    )


_COLUMNS = (
    "endpoint", "kind", "state", "node", "rtt", "loss", "cost", "mtu", "session", "sent", "received", "since",
    "note",
)  # fmt: skip


def _note(peer: dict[str, Any]) -> str:
    if peer["state"] != "alive" or peer["stalled"]:
        return "silent" if peer["stalled"] else str(peer["last_error"])
    notes = [name for name in ("metered", "settling") if peer[name]]
    return ", ".join([*notes, *([f"weight {peer['weight']}"] if peer["weight"] else [])])


def _row(peer: dict[str, Any]) -> list[str]:
    rtt = peer["rtt_ms"]
    return [
        peer["endpoint"],
        peer["kind"],
        peer["state"],
        peer["address"] or "-",
        "-" if rtt is None else f"{rtt:.1f} ms",
        "-" if peer["loss"] is None else f"{100 * peer['loss']:.1f} %",
        "-" if peer["cost"] is None else str(peer["cost"]),
        "-" if peer["max_datagram"] is None else str(peer["max_datagram"]),
        peer["suite"] or "-",
        size(peer["tx_bytes"]),
        size(peer["rx_bytes"]),
        duration(peer["last_linked"]) if peer["state"] == "alive" else "-",
        _note(peer),
    ]
