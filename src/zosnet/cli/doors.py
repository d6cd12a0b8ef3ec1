"""`zosnet doors`: what may come in over the overlay, what was refused, and what would let it in."""

from __future__ import annotations

from typing import Any

import click

from zosnet.cli.common import json_option, node_of
from zosnet.cli.output import duration, fields, say, show_json, table

__all__ = ["doors"]

_COLUMNS = ("what", "times", "last", "from", "to let it in, add")


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(0), help="Refusals to show.")
@json_option
@click.pass_context
def doors(ctx: click.Context, limit: int, as_json: bool) -> None:
    """What may come in over the overlay, and what was refused of late.

    Nothing comes in unasked but pings, unless a rule allows it: --allow of `zosnet up`, or `allow` in the
    settings. The last column is the rule that would let the sender in, and nobody else; put it there and run
    `zosnet reload`.
    """
    found = node_of(ctx).get("/v1/doors")
    found["refusals"] = found["refusals"][:limit]
    if as_json:
        show_json(found)
        return
    fields(_summary(found))
    if found["refusals"]:
        say()
        table(_COLUMNS, [_row(refusal) for refusal in found["refusals"]], empty="")


def _summary(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if found["inbound"] == "all":
        lines.append(("inbound", "everything, messages too"))
    else:
        lines += [("allow", _counted(rule)) for rule in found["rules"]] or [
            ("allow", "nothing unasked, but pings")
        ]
        lines += [("messages", _counted(rule)) for rule in found["messages"]] or [
            ("messages", "replies only")
        ]
    lines += [("links", f"key:{key}") for key in found["links"]] or [("links", "anyone")]
    refused = ", ".join(
        f"{count} {reason.removeprefix('refused_')}" for reason, count in found["refused"].items()
    )
    lines += [("connections", str(found["flows"])), ("refused", refused or "nothing")]
    return lines


def _counted(rule: dict[str, Any]) -> str:
    return f"{rule['rule']} ({rule['hits']} let in)"


def _row(refusal: dict[str, Any]) -> list[str]:
    remedy = (
        f'{refusal["setting"]} = ["{refusal["item"]}"]'
        if refusal["setting"]
        else f"nothing: {refusal['why']}"
    )
    last = f"{duration(refusal['last_ago'])} ago"
    return [refusal["what"], str(refusal["count"]), last, refusal["address"], remedy]
