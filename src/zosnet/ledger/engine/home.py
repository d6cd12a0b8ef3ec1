"""What a ledger's directory is for: one engine, one genesis for ever."""

from __future__ import annotations

from zosnet.ledger.encoding import decode, encode
from zosnet.ledger.engine.database import Database
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.signature import Signer
from zosnet.model.errors import HostError

__all__ = ["check_genesis", "kept_genesis"]


def kept_genesis(
    database: Database, given: Genesis | None, operator: Signer, newest: SignedHeader | None
) -> Genesis:
    """What the embedded ledger there starts from: what is given, where it is new; HostError for another.

    `newest` is the last block that is there: without a state it may still be that of what is given.
    """
    if database.meta("engine") is not None:
        raise HostError("the ledger here has several operators", remedy="start it with `zosnet ledger start`")
    raw = database.meta("genesis")
    if raw is None:
        if newest is not None and (given is None or given.chain != newest.header.chain):
            raise HostError(
                "there are blocks of a ledger here whose state is gone",
                remedy="restore its directory from a copy",
            )
        if given is None:
            raise HostError("there is no ledger here yet", remedy="make one with `zosnet ledger dev`")
        database.set_meta("genesis", encode(given))
        raw = encode(given)
    kept = decode(Genesis, raw)
    if given is not None and given != kept:
        raise HostError("the ledger here has another genesis", remedy="name another directory")
    if kept.operators != (operator.public,):
        raise HostError("the ledger here is of another operator", remedy="use the key that it was made with")
    return kept


def check_genesis(database: Database, genesis: Genesis, operator: Signer) -> None:
    """Keep what a ledger of several operators starts from. Raises HostError where there is another ledger."""
    if operator.public not in genesis.operators:
        raise HostError("this key is none of the ledger's operators'", remedy="use the key it was made for")
    kept = database.meta("genesis")
    if kept is None:
        database.set_meta("engine", b"cometbft")
        database.set_meta("genesis", encode(genesis))
    elif kept != encode(genesis) or database.meta("engine") != b"cometbft":
        raise HostError("there is another ledger here", remedy="name another directory")
