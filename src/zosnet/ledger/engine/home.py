"""A ledger's directory: one process at a time, one operator, one genesis for ever."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from zosnet.ledger.encoding import decode, encode
from zosnet.ledger.engine.database import Database
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.signature import Signer
from zosnet.model.errors import HostError

__all__ = ["LockFile", "kept_genesis", "lock"]


class LockFile:
    """Held by whoever runs the ledger; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise HostError(
                f"a ledger is running in {path.parent} already", remedy="talk to it through its socket"
            ) from None

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def lock(directory: Path) -> LockFile:
    """Make the directory where there is none, and take it. Raises HostError where another process has it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LockFile(directory / "lock")
    except OSError as error:
        raise HostError(f"{directory} can't be used: {error.strerror}") from None


def kept_genesis(database: Database, given: Genesis | None, operator: Signer) -> Genesis:
    """What the ledger there starts from: what is given, where it is new. Raises HostError for another."""
    raw = database.meta("genesis")
    if raw is None:
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
