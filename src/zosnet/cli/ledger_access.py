"""What the commands of names and of the ledger share: which ledger, whose key, how far it is trusted.

A ledger that answers on the socket is asked there. Where none does, the one in this machine's own directory
is opened for the moment of the command, and made if there is none, so that a first name takes one command.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from zosnet.cli.client import Refused
from zosnet.cli.output import is_terminal
from zosnet.ledger.client.desk import Desk, NotDone
from zosnet.ledger.client.follower import Follower, Pin
from zosnet.ledger.client.transport import HttpTransport, LocalTransport, NoLedger, Transport
from zosnet.ledger.engine.embedded import Embedded
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.genesis import Genesis, Parameters
from zosnet.ledger.signature import Signer
from zosnet.model.errors import HostError, UsageError
from zosnet.store.files import write_private
from zosnet.store.key_file import load_or_create_key
from zosnet.store.places import ledger_directory, ledger_socket

__all__ = [
    "account_id",
    "at",
    "day",
    "desk",
    "directory_of",
    "done",
    "embedded",
    "follower",
    "ledger_options",
    "transport",
]

Command = Callable[..., Any]


def ledger_options(command: Command) -> Command:
    """`--ledger` and `--ledger-dir`."""
    command = click.option(
        "--ledger-dir", type=click.Path(path_type=Path), help="Keys, trust, and a ledger of this machine."
    )(command)
    return click.option(
        "--ledger", metavar="PATH", help="The socket of the ledger to talk to.  [env: ZOSNET_LEDGER]"
    )(command)


def directory_of(given: Path | None) -> Path:
    """Where this user's keys, trust and ledger are."""
    return given or ledger_directory()


def socket_of(ledger: str | None) -> str:
    """The path of the ledger's socket."""
    return ledger or str(ledger_socket())


def embedded(directory: Path, label: str = "local", parameters: Parameters | None = None) -> Embedded:
    """The embedded ledger of a directory; made, with a key of its own, where there is none."""
    operator = Signer.derive(
        load_or_create_key(directory / "operator.key", os.urandom(32)).raw, "operator v1"
    )
    try:
        return Embedded(directory, operator)
    except HostError as error:
        if "no ledger here" not in error.message:
            raise
    genesis = Genesis(label, time.time_ns() // 1_000_000, (operator.public,), parameters or Parameters())
    return Embedded(directory, operator, genesis=genesis)


@contextmanager
def transport(ledger: str | None, ledger_dir: Path | None, *, make: bool = True) -> Iterator[Transport]:
    """A way to the ledger. Raises NoLedger where a socket was named, or may not be done without."""
    path = socket_of(ledger)
    remote = HttpTransport(path)
    try:
        remote.status()
    except NoLedger:
        directory = directory_of(ledger_dir)
        if ledger is not None or not (make or (directory / "ledger.sqlite").exists()):
            raise
        engine = embedded(directory).start()
        try:
            yield LocalTransport(engine)
        finally:
            engine.close()
        return
    yield remote


@contextmanager
def follower(ledger: str | None, ledger_dir: Path | None, *, make: bool = True) -> Iterator[Follower]:
    """A follower that starts where this user's last one ended, and remembers where it ends."""
    trust = directory_of(ledger_dir) / "trust.json"
    with transport(ledger, ledger_dir, make=make) as way:
        chain, pin = _load_trust(trust)
        found = Follower(way, chain, pin=pin)
        found.catch_up()
        yield found
        if found.newest is not None:
            document = {
                "chain": found.genesis.chain.hex(), "height": found.newest.height,
                "hash": found.newest.hash.hex(), "schema": "zosnet.ledger-trust/1",
            }  # fmt: skip
            write_private(trust, json.dumps(document).encode(), replace=True)


def _load_trust(path: Path) -> tuple[bytes | None, Pin | None]:
    try:
        found = json.loads(path.read_text())
        return bytes.fromhex(found["chain"]), Pin(int(found["height"]), bytes.fromhex(found["hash"]))
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, KeyError, TypeError):
        raise HostError(f"{path} can't be read", remedy="remove it to trust the ledger anew") from None


@contextmanager
def desk(ledger: str | None, ledger_dir: Path | None) -> Iterator[Desk]:
    """This user's account, whose key is made at first use."""
    secret = load_or_create_key(directory_of(ledger_dir) / "account.key", os.urandom(32)).raw
    with follower(ledger, ledger_dir) as found:
        try:
            yield Desk(found, secret, tell=_tell)
        except NotDone as no:
            raise Refused(no.message, remedy=no.remedy) from None
        finally:
            if is_terminal(sys.stderr):
                click.echo("\r\x1b[K", err=True, nl=False)


def _tell(stage: str, tries: int) -> None:
    """Progress, for people only."""
    texts = {"work": f"opening the account: {tries:,} tries", "commit": "committing", "reveal": "revealing"}
    if is_terminal(sys.stderr):
        click.echo(f"\r\x1b[K{texts.get(stage, stage)} …", err=True, nl=False)


def account_id(text: str) -> bytes:
    """An account's id as it is typed."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise UsageError(
            f"{text!r} is not an account",
            remedy="an account is 64 hexadecimal digits; `zosnet name ls` shows yours",
        )
    return found


def at(time_ms: int) -> str:
    """A block's time for programs and people: UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms // 1000))


def day(time_ms: int) -> str:
    """A day for people."""
    return time.strftime("%Y-%m-%d", time.gmtime(time_ms // 1000))


def done(receipt: Receipt) -> dict[str, Any]:
    """A receipt for programs."""
    return {"transaction": receipt.id.hex(), "height": receipt.height, "epoch": receipt.epoch}
