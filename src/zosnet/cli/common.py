"""What the commands share: the node that they talk to, and the option `--json`."""

from __future__ import annotations

import click

from zosnet.cli.client import Client

__all__ = ["json_option", "node_of", "socket_of"]

json_option = click.option(
    "--json", "as_json", is_flag=True, help="For programs: JSON with a versioned `schema`."
)


def socket_of(ctx: click.Context) -> str:
    """The path of the node's socket: as typed, from the environment, or the usual one."""
    typed = ctx.find_root().obj
    if typed:
        return str(typed)
    from zosnet.store.settings import socket_path

    return str(socket_path())


def node_of(ctx: click.Context) -> Client:
    """The node that this command talks to."""
    return Client(socket_of(ctx))
