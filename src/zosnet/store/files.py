"""Writing a file whole or not at all."""

import os
import secrets
from pathlib import Path

from zosnet.model import HostError

_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700


def write_private(path: Path, data: bytes, *, replace: bool) -> bool:
    """Put `data` at `path` for the owner's eyes only (0600; directories that are missing are made 0700).

    A reader sees all of it or none, and so does whoever comes after a power cut. Without `replace` an
    existing file stays as it is, even one that appears at this very moment; then the answer is False.

    Raises HostError where the disk says no; nothing half-written is left.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        try:
            _write_new(draft, data)
            placed = _place(draft, path, replace=replace)
        finally:
            draft.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise HostError(
            f"{path} cannot be written: {error.strerror}",
            remedy=f"make room and check the permissions of {path.parent}, or name another place",
        ) from error
    return placed


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE_FILE
    )
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, _PRIVATE_FILE)  # whatever the umask took away
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)


def _place(draft: Path, path: Path, *, replace: bool) -> bool:
    """Give the draft its name. A hard link refuses what a rename would silently replace."""
    if replace:
        draft.replace(path)
        return True
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return False
    return True


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
