"""`zosnet doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

from typing import Any

import click

from zosnet.cli.client import NotRunning
from zosnet.cli.common import json_option, node_of
from zosnet.cli.output import say, show_json, waiting

__all__ = ["doctor"]


@click.command()
@click.option("-c", "--config", "config", metavar="FILE", help="The settings to check when no node runs.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, config: str | None, as_json: bool) -> int:
    """What is wrong with this node or this machine, and what to do about it.

    Without a running node it checks what a node would need. Exit code 1 when there is an error.
    """
    with waiting("looking"):
        try:
            found = node_of(ctx).get("/v1/doctor")
        except NotRunning:
            found = _without_node(config)
    if as_json:
        show_json(found)
    else:
        _show(found["findings"])
    return 1 if any(finding["severity"] == "error" for finding in found["findings"]) else 0


def _show(findings: list[dict[str, Any]]) -> None:
    for finding in findings:
        say(f"{finding['severity']}: {finding['text']} [{finding['code']}]")
        if finding["remedy"]:
            say(f"  remedy: {finding['remedy']}")
    if not any(finding["severity"] != "info" for finding in findings):
        say("all is well")


def _without_node(config: str | None) -> dict[str, Any]:
    """The findings that need no daemon, and one that says that none runs."""
    from zosnet.api.schema import render
    from zosnet.service.doctor import examine_host

    rendered: dict[str, Any] = render(examine_host(config))
    return rendered
