"""`zosnet key`: the node's identity, for which no node need run, and the keys that a running one pinned."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from zosnet.cli.client import Refused
from zosnet.cli.common import json_option, node_of
from zosnet.cli.options import given, settings_options
from zosnet.cli.output import fields, say, show_json, table
from zosnet.model.errors import HostError
from zosnet.model.keys import PublicKey, SecretKey
from zosnet.store.key_file import create_key, load_key
from zosnet.store.settings import load

__all__ = ["generate_keys", "inspect", "key"]

_key_options = settings_options("key_file", "state_dir", "config")


@click.group(invoke_without_command=True)
@_key_options
@json_option
@click.pass_context
def key(ctx: click.Context, /, as_json: bool, **values: Any) -> None:
    """The node's identity. Without a sub-command, show it."""
    if ctx.invoked_subcommand is None:
        _show(_secret(values), as_json)


@key.command()
@_key_options
@json_option
def show(as_json: bool, **values: Any) -> None:
    """The public key and the address that comes from it. The secret is never shown."""
    _show(_secret(values), as_json)


@key.command()
@_key_options
@click.option("--force", is_flag=True, help="Replace a key that is there. The node gets another address.")
@json_option
def generate(as_json: bool, force: bool, **values: Any) -> None:
    """Make a new secret key, in a file that only its owner may read."""
    _generate(values, force, as_json)


@key.command()
@click.argument("public_key")
@json_option
def address(public_key: str, as_json: bool) -> None:
    """The overlay address of any PUBLIC_KEY."""
    public = PublicKey.parse(public_key)
    if as_json:
        show_json({"public_key": public.hex, "address": str(public.address()), "schema": "zosnet.address/1"})
    else:
        say(str(public.address()))


@key.command()
@json_option
@click.pass_context
def pins(ctx: click.Context, as_json: bool) -> None:
    """Nodes that are held to zosnet's own sessions, because they have shown that they speak them.

    What such a node sends in Mycelium's sessions isn't heard: else anybody between could talk both down to
    those, which have no forward secrecy.
    """
    found = node_of(ctx).get("/v1/pins")
    if as_json:
        show_json(found)
        return
    rows = [
        [
            pin["public_key"],
            pin["address"],
            time.strftime("%Y-%m-%d %H:%M", time.localtime(pin["since"])),
            "speaks only Mycelium's" if pin["downgraded"] else "",
        ]
        for pin in found["pins"]
    ]
    table(("public key", "node", "since", "note"), rows, empty="no node is pinned yet")


@key.command()
@click.argument("public_keys", nargs=-1, required=True)
@click.pass_context
def forget(ctx: click.Context, public_keys: tuple[str, ...]) -> int:
    """Hold these nodes to zosnet's own sessions no longer: for one that went back to Mycelium."""
    for public_key in public_keys:
        PublicKey.parse(public_key)
    code = 0
    for public_key in public_keys:
        try:
            node_of(ctx).delete(f"/v1/pins/{public_key}")
            say(f"forgotten {public_key}")
        except Refused as error:
            click.echo(f"error: {error.message}", err=True)
            code = 1
    return code


@click.command()
@_key_options
@click.argument("public_key", required=False)
@json_option
def inspect(public_key: str | None, as_json: bool, **values: Any) -> None:
    """A public key, this node's own without an argument, and its address. As Mycelium's command."""
    public = PublicKey.parse(public_key) if public_key else _secret(values).public()
    if as_json:
        show_json({"publicKey": public.hex, "address": str(public.address()), "schema": "zosnet.inspect/1"})
    else:
        fields([("Public key:", public.hex), ("Address:", str(public.address()))])


@click.command("generate-keys")
@_key_options
@click.option("--force", is_flag=True, help="Replace a key that is there.")
@json_option
def generate_keys(force: bool, as_json: bool, **values: Any) -> None:
    """Make a new secret key. As Mycelium's command; the same as `zosnet key generate`."""
    _generate(values, force, as_json)


def _path(values: dict[str, Any]) -> Path:
    return load(given(values)).key_path


def _secret(values: dict[str, Any]) -> SecretKey:
    path = _path(values)
    found = load_key(path)
    if found is None:
        raise HostError(
            f"there is no key at {path}", remedy="make one with `zosnet key generate`, or start the node"
        )
    return found


def _generate(values: dict[str, Any], force: bool, as_json: bool) -> None:
    path = _path(values)
    secret = SecretKey.generate(os.urandom(32))
    if not create_key(path, secret, replace=force):
        raise HostError(
            f"there is a key at {path} already",
            remedy="--force replaces it; the node then has another address",
        )
    _show(secret, as_json)


def _show(secret: SecretKey, as_json: bool) -> None:
    public = secret.public()
    shown = {
        "public_key": public.hex,
        "address": str(public.address()),
        "subnet": str(public.subnet()),
        "signing_key": secret.signing_public().hex(),
    }
    if as_json:
        show_json(shown | {"schema": "zosnet.key/1"})
    else:
        fields([(name.replace("_", " "), value) for name, value in shown.items()])
