"""Accounts: opening one, at the price of work or somebody's word so that quotas count, and new keys."""

from __future__ import annotations

from dataclasses import replace

from zosnet.ledger.fields import account_of
from zosnet.ledger.records import ANCHORS, AccountRecord, AnchorsRecord, account_key
from zosnet.ledger.rules.step import Refused, Step
from zosnet.ledger.transaction import (
    Admission,
    OpenAccount,
    RotateKeys,
    Stamp,
    admission_message,
    stamp_value,
)


def open_account(step: Step, operation: OpenAccount) -> None:
    """The first transaction of an account. Its id must be the hash of its keys."""
    if step.read(account_key(step.sender)) is not None:
        raise Refused("open", "the account is open already")
    if account_of(operation.keys) != step.sender:
        raise Refused("account", "the account's id is not the hash of these keys")
    match operation.admission:
        case Stamp() as stamp:
            _check_stamp(step, stamp)
        case Admission() as admission:
            _check_admission(step, admission)
    step.write(account_key(step.sender), AccountRecord(step.epoch(), operation.keys, 0, 1))


def _check_stamp(step: Step, stamp: Stamp) -> None:
    anchors: AnchorsRecord = step.read(ANCHORS)
    if stamp.anchor not in anchors.hashes:
        raise Refused("stamp", "the stamp names no recent block")
    if stamp_value(step.world.chain, step.sender, stamp) >> (256 - step.parameters.stamp_bits):
        raise Refused("stamp", f"the stamp has fewer than {step.parameters.stamp_bits} zero bits")


def _check_admission(step: Step, admission: Admission) -> None:
    governors = step.parameters.governors
    if governors is None:
        raise Refused("admission", "this ledger has no governors")
    if step.now > admission.expires_ms:
        raise Refused("admission", "the admission has expired")
    message = admission_message(step.world.chain, step.sender, admission.expires_ms)
    if trouble := governors.trouble(message, admission.signatures, step.world.verify):
        raise Refused("admission", trouble)


def rotate_keys(step: Step, operation: RotateKeys) -> None:
    """New keys, which the old ones signed for. Whatever the old ones signed before is void from here on."""
    account: AccountRecord = step.read(account_key(step.sender))
    if account.keys == operation.keys:
        raise Refused("same", "these are the account's keys already")
    if account.key_epoch == 0xFFFF_FFFF:
        raise Refused("key-epoch", "the account's keys can't change any more")
    changed = replace(account, epoch=step.epoch(), keys=operation.keys, key_epoch=account.key_epoch + 1)
    step.write(account_key(step.sender), changed)
