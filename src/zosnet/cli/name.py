"""`zosnet name`: reserve a name, keep it, hand it on, give it up, look it up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from zosnet.cli.client import Refused
from zosnet.cli.common import json_option
from zosnet.cli.ledger_access import account_id, at, day, desk, done, follower, ledger_options
from zosnet.cli.output import fields, say, show_json, table
from zosnet.ledger.client.desk import Desk
from zosnet.ledger.client.follower import Follower
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.records import NameRecord, delegation_key, holdings_key, name_key, route_key
from zosnet.model.errors import PeerError, UsageError
from zosnet.model.name import Name

__all__ = ["name"]

wait_option = click.option(
    "--wait", type=click.Choice(["final", "proof"]), default="proof", show_default=True,
    help="Until it is committed, or until a proof of it has been checked.",
)  # fmt: skip


@click.group()
def name() -> None:
    """Names: reserve one, keep it, hand it on, look it up."""


def _leased(text: str) -> str:
    found = Name.parse(text)
    if found.is_sub:
        raise UsageError(f"{text} is a sub-name", remedy=f"reserve {found.top}; its sub-names come with it")
    return found.text


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of one name, as it was typed."""

    text: str
    ledger: str | None
    ledger_dir: Path | None
    wait: str
    as_json: bool

    def make(
        self,
        what: str,
        work: Callable[[Desk, str], Receipt],
        holds: Callable[[NameRecord | None, bytes], bool],
    ) -> None:
        """Do the work, check that what should hold then is proven, and say so."""
        wanted = _leased(self.text)
        with desk(self.ledger, self.ledger_dir) as mine:
            receipt = work(mine, wanted)
            record = mine.name(wanted) if self.wait == "proof" else None
            account = mine.account
        # A later epoch is somebody's next change, not a lie.
        is_older = record is None or record.epoch <= receipt.epoch
        if self.wait == "proof" and is_older and not holds(record, account):
            raise PeerError(f"the ledger acknowledged it, and proves another state of {wanted}")
        if self.as_json:
            expires = at(record.expires_ms) if record else None
            document = {"name": wanted, "account": account.hex(), "wait": self.wait, "expires": expires}
            show_json(document | done(receipt) | {"schema": f"zosnet.name-{what}/1"})
            return
        until = f", until {day(record.expires_ms)}" if record and what in _WITH_DAY else ""
        say(f"{wanted} {_SAID[what]}{until} (block {receipt.height})")


_WITH_DAY = {"reserve", "renew", "accept"}
_SAID = {
    "reserve": "is yours",
    "renew": "is renewed",
    "transfer": "is offered",
    "accept": "is yours",
    "release": "is released",
}


def _is_ours(record: NameRecord | None, account: bytes) -> bool:
    return record is not None and record.holder == account


@name.command()
@click.argument("text", metavar="NAME")
@wait_option
@ledger_options
@json_option
def reserve(text: str, ledger: str | None, ledger_dir: Path | None, wait: str, as_json: bool) -> None:
    """Take NAME for a lease. The account that holds it is opened at first use."""

    def work(mine: Desk, wanted: str) -> Receipt:
        _refuse_held(mine, wanted)
        return mine.reserve(wanted)

    _Change(text, ledger, ledger_dir, wait, as_json).make("reserve", work, _is_ours)


def _refuse_held(mine: Desk, wanted: str) -> None:
    record = mine.name(wanted)
    if record is None:
        return
    until = day(record.expires_ms + mine.follower.genesis.parameters.grace_ms)
    me = mine.account.hex()
    if record.holder == mine.account:
        raise Refused(
            f"{wanted} is yours already, until {day(record.expires_ms)}",
            remedy=f"`zosnet name renew {wanted}` makes that later",
        )
    raise Refused(
        f"{wanted} is held by {record.holder.hex()}, until {day(record.expires_ms)}",
        remedy=f"wait until {until}, or ask the holder to run `zosnet name transfer {wanted} {me}`",
    )


@name.command()
@click.argument("text", metavar="NAME")
@wait_option
@ledger_options
@json_option
def renew(text: str, ledger: str | None, ledger_dir: Path | None, wait: str, as_json: bool) -> None:
    """A whole lease of NAME from now on; also in its grace."""
    _Change(text, ledger, ledger_dir, wait, as_json).make("renew", lambda mine, it: mine.renew(it), _is_ours)


@name.command()
@click.argument("text", metavar="NAME")
@click.argument("account", required=False)
@click.option("--cancel", is_flag=True, help="Take an offer back.")
@wait_option
@ledger_options
@json_option
def transfer(
    *, text: str, account: str | None, cancel: bool, ledger: str | None, ledger_dir: Path | None, wait: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Offer NAME to ACCOUNT, which takes it with `zosnet name accept`. Its routes go when it does."""
    if cancel == (account is not None):
        raise UsageError("name an account, or --cancel", remedy="`zosnet name transfer NAME ACCOUNT`")
    to = None if account is None else account_id(account)
    change = _Change(text, ledger, ledger_dir, wait, as_json)
    change.make("transfer", lambda mine, it: mine.offer(it, to), _is_ours)


@name.command()
@click.argument("text", metavar="NAME")
@wait_option
@ledger_options
@json_option
def accept(text: str, ledger: str | None, ledger_dir: Path | None, wait: str, as_json: bool) -> None:
    """Take NAME, which was offered to this account."""
    _Change(text, ledger, ledger_dir, wait, as_json).make(
        "accept", lambda mine, it: mine.accept(it), _is_ours
    )


@name.command()
@click.argument("text", metavar="NAME")
@wait_option
@ledger_options
@json_option
def release(text: str, ledger: str | None, ledger_dir: Path | None, wait: str, as_json: bool) -> None:
    """Give NAME up. It is free at once, for anybody."""

    def gone(record: NameRecord | None, account: bytes) -> bool:
        return not _is_ours(record, account)

    _Change(text, ledger, ledger_dir, wait, as_json).make("release", lambda mine, it: mine.release(it), gone)


@name.command()
@click.argument("text", metavar="NAME")
@ledger_options
@json_option
def show(text: str, ledger: str | None, ledger_dir: Path | None, as_json: bool) -> int:
    """Who holds NAME, or a sub-name, until when, and where it leads. Exit code 1 where nobody does."""
    wanted = Name.parse(text)
    with follower(ledger, ledger_dir) as found:
        document = _shown(found, wanted)
    if as_json:
        show_json(document | {"schema": "zosnet.name/1"})
    elif document["state"] == "free":
        say(f"{wanted.top} is free")
    else:
        fields([(key, str(value)) for key, value in document.items() if value not in (None, [])])
    return 1 if document["state"] == "free" else 0


def _shown(found: Follower, wanted: Name) -> dict[str, Any]:
    keys = [name_key(wanted.top), route_key(wanted.text)]
    if wanted.is_sub:
        keys.append(delegation_key(wanted.text))
    answer = found.ask(keys)
    record: NameRecord | None = answer[keys[0]]
    newest, parameters = found.newest, found.genesis.parameters
    assert newest is not None
    proven = {"height": newest.height, "time": at(newest.time_ms)}
    if record is None or not record.is_served(newest.time_ms, parameters):
        return {"name": wanted.text, "state": "free", "proven": proven}
    route, given = answer[keys[1]], answer[keys[2]] if wanted.is_sub else None
    return {
        "name": wanted.text,
        "state": "live" if record.is_live(newest.time_ms) else "grace",
        "holder": record.holder.hex(),
        "expires": at(record.expires_ms),
        "free_from": at(record.expires_ms + parameters.grace_ms),
        "epoch": record.epoch,
        "offered_to": record.offered_to.hex() if record.offered_to else None,
        "delegated_to": given.to.hex() if given else None,
        "route": _route(route.route) if route else None,
        "sub_names": list(record.children) if not wanted.is_sub else [],
        "proven": proven,
    }


def _route(route: Any) -> dict[str, Any]:
    return {
        "network": route.network.hex(), "service": route.service, "port": route.port,
        "protocol": ["http", "tcp"][route.protocol], "tls": ["terminate", "passthrough", "none"][route.tls],
        "cluster": route.cluster.hex(),
    }  # fmt: skip


@name.command("ls")
@click.option("--account", help="Of another account than this user's.")
@ledger_options
@json_option
def list_names(account: str | None, ledger: str | None, ledger_dir: Path | None, as_json: bool) -> None:
    """The names of an account, this user's unless another is named."""
    with desk(ledger, ledger_dir) as mine:
        owner = mine.account if account is None else account_id(account)
        holdings = mine.follower.ask([holdings_key(owner)])[holdings_key(owner)]
        names = holdings.names if holdings else ()
        records = mine.follower.ask([name_key(each) for each in names])
        newest, parameters = mine.follower.newest, mine.follower.genesis.parameters
        assert newest is not None
        rows = [
            {"name": each, "state": "live" if record.is_live(newest.time_ms) else "grace",
             "expires": at(record.expires_ms), "epoch": record.epoch}
            for each in names
            if (record := records[name_key(each)]) and record.is_served(newest.time_ms, parameters)
        ]  # fmt: skip
    if as_json:
        show_json({"account": owner.hex(), "names": rows, "schema": "zosnet.names/1"})
        return
    columns = ["name", "state", "expires"]
    shown = [[str(row[column]) for column in columns] for row in rows]
    table(columns, shown, empty=f"account {owner.hex()} holds no name")
