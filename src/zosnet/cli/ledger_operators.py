"""`zosnet ledger init|join|start`: an operator's part in a ledger that several run together."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import click

from zosnet.cli.common import json_option
from zosnet.cli.ledger import ledger
from zosnet.cli.ledger_access import directory_of, socket_of
from zosnet.cli.output import say, show_json
from zosnet.ledger.comet.founding import Introduction, Membership, address_of, found, introduce
from zosnet.ledger.engine.cometbft.engine import Comet
from zosnet.ledger.engine.cometbft.home import Home, Peer, Timing, node_id
from zosnet.ledger.engine.cometbft.process import find_program
from zosnet.ledger.genesis import Parameters
from zosnet.ledger.signature import Signer
from zosnet.model.errors import HostError, UsageError
from zosnet.store.files import write_private
from zosnet.store.key_file import load_key, load_or_create_key

__all__ = ["home_of", "init", "join", "ledger", "membership_file", "signers_of", "start"]

directory_option = click.option(
    "--ledger-dir", type=click.Path(path_type=Path), help="Where the ledger is kept."
)


def _introduction(directory: Path) -> Path:
    return directory / "operator.json"


def membership_file(directory: Path) -> Path:
    """What a directory knows of its ledger."""
    return directory / "membership.json"


def signers_of(secret: bytes) -> tuple[Signer, Signer]:
    """The operator's key, and its node's."""
    return Signer.derive(secret, "operator v1"), Signer.derive(secret, "node v1")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{path} is no JSON") from None


@ledger.command()
@click.option("--address", required=True, metavar="HOST:PORT", help="Where the others reach your node.")
@directory_option
@json_option
def init(address: str, ledger_dir: Path | None, as_json: bool) -> None:
    """Make an operator's key, and an introduction for the other operators."""
    directory = directory_of(ledger_dir)
    if (directory / "ledger.sqlite").exists():
        raise HostError(f"there is a ledger in {directory} already", remedy="name another --ledger-dir")
    address_of(address)
    secret = load_or_create_key(directory / "operator.key", os.urandom(32)).raw
    made = introduce(*signers_of(secret), address, time.time_ns() // 1_000_000)
    path = _introduction(directory)
    write_private(path, json.dumps(made.document, indent=1).encode() + b"\n", replace=True)
    if as_json:
        show_json(made.document | {"file": str(path)})
    else:
        say(f"send {path} to the other operators; keep {directory / 'operator.key'} to yourself")


@ledger.command()
@click.argument("files", nargs=-1, required=True, metavar="OPERATOR.JSON…", type=click.Path(path_type=Path))
@click.option("--label", default="shared", show_default=True, help="What the ledger is called.")
@click.option("--stamp-bits", type=click.IntRange(0, 64), help="Work that opens an account.")
@directory_option
@json_option
def join(
    files: tuple[Path, ...], label: str, stamp_bits: int | None, ledger_dir: Path | None, as_json: bool
) -> None:
    """Found a ledger with the operators of these files. All must get the same id: compare it."""
    directory = directory_of(ledger_dir)
    own = load_key(directory / "operator.key")
    if own is None:
        raise HostError(f"there is no operator's key in {directory}", remedy="run `zosnet ledger init` first")
    parameters = Parameters() if stamp_bits is None else Parameters(stamp_bits=stamp_bits)
    made = found([Introduction.parse(_read(path)) for path in files], label, parameters)
    if signers_of(own.raw)[0].public not in made.genesis.operators:
        raise UsageError("your own introduction is not among them", remedy="name your operator.json as well")
    path = membership_file(directory)
    if path.exists() and Membership.parse(_read(path)).genesis != made.genesis:
        raise HostError(
            f"{directory} belongs to another ledger", remedy="name another --ledger-dir, or the same files"
        )
    write_private(path, json.dumps(made.document, indent=1).encode() + b"\n", replace=True)
    chain, count = made.genesis.chain.hex(), len(made.operators)
    if as_json:
        show_json(
            {
                "chain": chain, "operators": [each.operator.hex() for each in made.operators],
                "may_fail": (count - 1) // 3, "schema": "zosnet.ledger-join/1",
            }
        )  # fmt: skip
    else:
        say(f"ledger {chain}")
        say(f"{count} operators, of whom {(count - 1) // 3} may fail; all must see the same id")


@ledger.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to listen, if not at your --address of `init`.")
@click.option("--ledger", "path", metavar="PATH", help="The socket to serve.  [env: ZOSNET_LEDGER]")
@click.option("--cometbft", metavar="PROGRAM", help="The engine's program.  [env: ZOSNET_COMETBFT]")
@directory_option
def start(listen: str | None, path: str | None, cometbft: str | None, ledger_dir: Path | None) -> None:
    """Run this operator's node in the foreground: the ledger, and CometBFT beside it."""
    from zosnet.api.ledger_daemon import serve

    directory, socket = directory_of(ledger_dir), Path(socket_of(path))
    home = home_of(directory, listen)
    engine = Comet(directory, home, find_program(cometbft)).start()
    try:
        text = f"ledger {engine.genesis.chain.hex()} is served at {socket}"
        asyncio.run(serve(engine, socket, lambda: say(text)))
    finally:
        engine.close()


def home_of(directory: Path, listen: str | None = None, timing: Timing | None = None) -> Home:
    """This operator's node, as its directory says."""
    own = load_key(directory / "operator.key")
    if own is None or not membership_file(directory).exists():
        raise HostError(
            f"{directory} belongs to no ledger yet",
            remedy="run `zosnet ledger init`, then `zosnet ledger join`",
        )
    operator, node = signers_of(own.raw)
    membership = Membership.parse(_read(membership_file(directory)))
    mine = next((each for each in membership.operators if each.operator == operator.public), None)
    if mine is None:
        raise HostError(
            "this key is none of the ledger's operators'", remedy="restore operator.key from a copy"
        )
    peers = tuple(Peer(node_id(each.node), each.address) for each in membership.operators if each is not mine)
    return Home(
        directory.absolute() / "comet",
        membership.genesis,
        operator,
        node,
        address_of(listen or mine.address),
        peers,
        timing or Timing(),
    )
