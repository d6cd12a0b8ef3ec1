"""`zosnet routes`: the ways to other nodes."""

from __future__ import annotations

from typing import Any

import click

from zosnet.cli.common import json_option, node_of
from zosnet.cli.output import duration, show_json, table

__all__ = ["routes"]

_COLUMNS = ("prefix", "next hop", "backup", "metric", "seqno", "node")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def routes(ctx: click.Context, as_json: bool) -> None:
    """The ways to other nodes. Without a sub-command, those in use.

    The metric is the sum of the links' costs on the way: a round trip in milliseconds, loss, and a constant
    for each. The backup takes over the moment the link to the next hop fails; with a + it shares the traffic.
    """
    if ctx.invoked_subcommand is None:
        _show(ctx, "selected", as_json)


@routes.command()
@json_option
@click.pass_context
def selected(ctx: click.Context, as_json: bool) -> None:
    """Routes in use: one for each prefix."""
    _show(ctx, "selected", as_json)


@routes.command()
@json_option
@click.pass_context
def fallback(ctx: click.Context, as_json: bool) -> None:
    """Known routes that are not in use."""
    _show(ctx, "fallback", as_json)


@routes.command()
@json_option
@click.pass_context
def queried(ctx: click.Context, as_json: bool) -> None:
    """Prefixes that the neighbours were asked for."""
    found = node_of(ctx).get("/v1/routes")
    if as_json:
        show_json({"queried": found["queried"], "schema": found["schema"]})
        return
    rows = [[query["prefix"], duration(query["expires_in"])] for query in found["queried"]]
    table(("prefix", "expires in"), rows, empty="no question is on its way")


def _show(ctx: click.Context, which: str, as_json: bool) -> None:
    found = node_of(ctx).get("/v1/routes")
    if as_json:
        show_json({which: found[which], "schema": found["schema"]})
        return
    table(_COLUMNS, [_row(route) for route in found[which]], empty="there are none")


def _row(route: dict[str, Any]) -> list[str]:
    metric = "unreachable" if route["metric"] is None else str(route["metric"])
    backup = f"{'+ ' if route['spread'] else ''}{route['backup'] or '-'}"
    return [route["prefix"], route["next_hop"], backup, metric, str(route["seqno"]), route["address"]]
