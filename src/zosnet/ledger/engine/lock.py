"""A directory is one process's: two of one operator would sign two ledgers."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from zosnet.model.errors import HostError

__all__ = ["LockFile", "lock"]


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
    """Hold a ledger's directory, which is made where it is missing. Raises HostError where another does."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LockFile(directory / "lock")
    except OSError as error:
        raise HostError(f"{directory} can't be used: {error.strerror}") from None
