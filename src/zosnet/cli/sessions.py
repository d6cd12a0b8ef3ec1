"""`zosnet sessions`: how what goes to other nodes is encrypted."""

from __future__ import annotations

from typing import Any

import click

from zosnet.cli.common import json_option, node_of
from zosnet.cli.output import duration, show_json, table

__all__ = ["sessions"]

_COLUMNS = ("node", "suite", "cipher", "state", "via", "age", "sent", "received", "frame", "pinned")


@click.command()
@json_option
@click.pass_context
def sessions(ctx: click.Context, as_json: bool) -> None:
    """Sessions with other nodes, those with the most traffic first.

    \b
      suite    zosnet: forward secrecy, against replays; mycelium: what a Mycelium node understands
      via      direct over a datagram link to that node, or relayed, and then over streams or through others
      pinned   the node is held to the suite zosnet: see `zosnet key pins`

    Sent and received count frames, which may hold several packets.
    """
    found = node_of(ctx).get("/v1/sessions")
    if as_json:
        show_json(found)
        return
    table(_COLUMNS, [_row(session) for session in found["sessions"]], empty="there are none")


def _row(session: dict[str, Any]) -> list[str]:
    return [
        session["address"],
        session["suite"],
        session["cipher"],
        session["state"],
        session["via"],
        duration(session["age"]),
        str(session["tx_frames"]),
        str(session["rx_frames"]),
        "-" if session["max_frame"] is None else str(session["max_frame"]),
        "yes" if session["pinned"] else "no",
    ]
