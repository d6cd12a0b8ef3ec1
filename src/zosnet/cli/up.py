"""`zosnet up`: the node itself. Imports nothing that draws on terminals: this process stays."""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Any

import click

from zosnet.cli.options import given, settings_options

__all__ = ["up"]

log = logging.getLogger("zosnet")


@click.command(context_settings={"max_content_width": 100})
@settings_options()
@click.pass_context
def up(ctx: click.Context, /, **values: Any) -> None:
    """Run the node, in the foreground, until it is stopped.

    \b
      sudo zosnet up --peers tcp://peer.example:9651
      zosnet up --no-tun --tcp-listen-port 9700     without root: relays and messages only

    Every option can also stand in the settings file or in the environment. SIGHUP reads them again, SIGTERM
    stops the node. It logs to standard error, one line for each event.
    """
    from zosnet.api.daemon import Listeners, run, serve
    from zosnet.service.launch import launcher
    from zosnet.store.settings import load

    typed = given(values)
    if ctx.find_root().obj and not typed.get("socket"):
        typed["socket"] = ctx.find_root().obj

    settings = load(typed)
    start_logging(settings.log_level)
    spare_the_collector()
    make_node = launcher(settings, lambda: load(typed))
    serve(run(make_node, Listeners(settings)))


def spare_the_collector() -> None:
    """A full collection walks every route: 60 ms at 100,000, in the middle of a failover. Make it rare."""
    gc.freeze()
    gc.set_threshold(700, 10, 1000)


def start_logging(level: str) -> None:
    """One line for each event, to standard error. Under systemd the journal adds the time itself."""
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s.%(msecs)03d "
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{stamp}%(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(level.upper())
    # The servers' own words are not ours; their errors are.
    for name in ("uvicorn", "asyncio"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.ERROR)
