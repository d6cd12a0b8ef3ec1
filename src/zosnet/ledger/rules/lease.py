"""Leases of names: commit, reveal, renew, transfer, release.

A lease runs, then its grace, then the name is free. Nobody sweeps: a name whose grace has ended is taken away
by the next transaction that touches it, routes and delegations with it in the same step, and counts for
nothing until then.
"""

from __future__ import annotations

from dataclasses import replace

from zosnet.ledger.records import (
    Commit,
    CommitsRecord,
    NameRecord,
    account_key,
    by_length,
    commits_key,
    delegation_key,
    name_key,
    route_key,
)
from zosnet.ledger.rules.step import Refused, Step
from zosnet.ledger.transaction import (
    AcceptName,
    CommitName,
    ReleaseName,
    RenewName,
    RevealName,
    TransferName,
    commitment,
)


def touch(step: Step, name: str) -> NameRecord | None:
    """The record of a leased label, once what has lapsed is gone."""
    record: NameRecord | None = step.read(name_key(name))
    if record is not None and not record.is_served(step.now, step.parameters):
        drop(step, name, record)
        return None
    return record


def live(step: Step, name: str) -> NameRecord:
    """The record of a name whose lease runs. Refuses any other: in its grace it can only be renewed."""
    record = touch(step, name)
    if record is None:
        raise Refused("free", f"{name} is nobody's")
    if not record.is_live(step.now):
        raise Refused("grace", f"the lease of {name} has ended: it can only be renewed")
    return record


def held(step: Step, name: str) -> NameRecord:
    """The same, where it is the sender's."""
    record = live(step, name)
    _require_holder(step, name, record)
    return record


def _require_holder(step: Step, name: str, record: NameRecord) -> None:
    if record.holder != step.sender:
        raise Refused("holder", f"{name} is held by {record.holder.hex()}")


def clear(step: Step, name: str, record: NameRecord) -> None:
    """Take away all that hangs on a name: its route, and the routes and delegations of its sub-names."""
    for each in (name, *record.children):
        if step.read(route_key(each)) is not None:
            step.write(route_key(each), None)
    for child in record.children:
        if step.read(delegation_key(child)) is not None:
            step.write(delegation_key(child), None)


def drop(step: Step, name: str, record: NameRecord) -> None:
    """Take the name away from its holder, and all that hangs on it."""
    clear(step, name, record)
    step.write(name_key(name), None)
    names = step.holdings(record.holder).names
    step.hold(record.holder, names=tuple(each for each in names if each != name))


def _gain(step: Step, name: str) -> None:
    """Count the name as the sender's, within its quota. Names of the sender that have lapsed make room."""
    names = step.holdings(step.sender).names
    if len(names) >= step.parameters.names:
        for each in names:
            touch(step, each)
        names = step.holdings(step.sender).names
    if len(names) >= step.parameters.names:
        raise Refused("quota", f"an account may hold {step.parameters.names} names")
    step.hold(step.sender, names=tuple(sorted((*names, name), key=by_length)))


def _open_commits(step: Step) -> tuple[Commit, ...]:
    record: CommitsRecord | None = step.read(commits_key(step.sender))
    since = step.block.height - step.parameters.reveal_blocks
    return () if record is None else tuple(each for each in record.commits if each.height >= since)


def _keep_commits(step: Step, commits: tuple[Commit, ...]) -> None:
    step.write(commits_key(step.sender), CommitsRecord(commits) if commits else None)


def commit(step: Step, operation: CommitName) -> None:
    """Announce a name without naming it."""
    commits = _open_commits(step)
    if any(each.commitment == operation.commitment for each in commits):
        raise Refused("same", "the account has made this commit already")
    if len(commits) >= step.parameters.commits:
        raise Refused("quota", f"an account may have {step.parameters.commits} open commits")
    _keep_commits(step, (*commits, Commit(operation.commitment, step.block.height)))


def reveal(step: Step, operation: RevealName) -> None:
    """Take a name that is free. The first reveal in the order of the blocks wins."""
    name = operation.name
    if name in step.parameters.reserved:
        raise Refused("reserved", f"{name} is reserved")
    commits = _open_commits(step)
    wanted = commitment(step.world.chain, step.sender, name, operation.salt)
    found = next((each for each in commits if each.commitment == wanted), None)
    if found is None:
        raise Refused("commit", f"the account has no open commit for {name} with this salt")
    if found.height == step.block.height:
        raise Refused("early", "a commit is revealed in a later block than its own")
    if (record := touch(step, name)) is not None:
        raise Refused("held", f"{name} is held by {record.holder.hex()}")
    _gain(step, name)
    _keep_commits(step, tuple(each for each in commits if each is not found))
    step.write(name_key(name), NameRecord(step.epoch(), step.sender, step.now + step.parameters.lease_ms))


def renew(step: Step, operation: RenewName) -> None:
    """A whole lease from now on, also in the grace."""
    record = touch(step, operation.name)
    if record is None:
        raise Refused("free", f"{operation.name} is nobody's")
    _require_holder(step, operation.name, record)
    step.replaces(record, operation.replaces)
    expires = step.now + step.parameters.lease_ms
    step.write(name_key(operation.name), replace(record, epoch=step.epoch(), expires_ms=expires))


def transfer(step: Step, operation: TransferName) -> None:
    """Offer the name to an open account, or take the offer back. It stays the sender's until accepted."""
    record = held(step, operation.name)
    step.replaces(record, operation.replaces)
    if operation.to == step.sender:
        raise Refused("same", f"{operation.name} is the account's own already")
    if operation.to is not None and step.read(account_key(operation.to)) is None:
        raise Refused("account", "the receiving account is not open")
    step.write(name_key(operation.name), replace(record, epoch=step.epoch(), offered_to=operation.to))


def accept(step: Step, operation: AcceptName) -> None:
    """Take a name that was offered, with what is left of its lease and nothing that hung on it."""
    record = live(step, operation.name)
    if record.offered_to != step.sender:
        raise Refused("offer", f"{operation.name} was not offered to this account")
    step.replaces(record, operation.replaces)
    drop(step, operation.name, record)
    _gain(step, operation.name)
    step.write(name_key(operation.name), NameRecord(step.epoch(), step.sender, record.expires_ms))


def release(step: Step, operation: ReleaseName) -> None:
    """Give the name up. It is free at once."""
    record = held(step, operation.name)
    step.replaces(record, operation.replaces)
    drop(step, operation.name, record)
