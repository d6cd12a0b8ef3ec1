"""The node's secret on disk: the raw 32 bytes, as Mycelium keeps them, but for the owner's eyes only.

Mycelium makes its file 0640. A key that others may read is refused, wherever its path came from, and never
tightened silently: another program may depend on the mode, and whoever could read the key may have done so
already.
"""

import os
import stat
from pathlib import Path

from zosnet.model import HostError, SecretKey
from zosnet.model.keys import KEY_BYTES
from zosnet.store.files import write_private


def load_key(path: Path) -> SecretKey | None:
    """The key at `path`, None where there is no file. Bytes behind the 32nd are ignored, as by Mycelium.

    Raises HostError for a file that cannot be read, is too short, or that others than its owner may open.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        _refuse_unfit(path, os.fstat(descriptor).st_mode)
        raw = os.read(descriptor, KEY_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)
    if len(raw) < KEY_BYTES:
        raise HostError(
            f"the key file {path} has {len(raw)} bytes, a key has {KEY_BYTES}",
            remedy="restore it from a copy, or remove it to get a new key and address",
        )
    return SecretKey(raw)


def create_key(path: Path, key: SecretKey, *, replace: bool = False) -> bool:
    """Write `key` to `path`, mode 0600. False where a file is there already, and `replace` is not wanted.

    Raises HostError where that fails; then no file is left behind.
    """
    return write_private(path, key.raw, replace=replace)


def load_or_create_key(path: Path, entropy: bytes) -> SecretKey:
    """The key at `path`, which is made of `entropy`, 32 random bytes, at the first start.

    Two processes that start at once agree on the key of the faster one. Raises HostError as the two above.
    """
    found = load_key(path)
    if found is not None:
        return found
    made = SecretKey.generate(entropy)
    if create_key(path, made):
        return made
    found = load_key(path)
    if found is None:
        raise HostError(
            f"the key file {path} is there, and leads nowhere", remedy="remove the dangling link, or mend it"
        )
    return found


def _refuse_unfit(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise HostError(
            f"the key file {path} is not a file", remedy="name a file of 32 bytes with --key-file"
        )
    if mode & 0o077:
        raise HostError(
            f"the key file {path} is open to others (mode {stat.S_IMODE(mode):04o})",
            remedy=f"chmod 600 {path}",
        )


def _unreadable(path: Path, error: OSError) -> HostError:
    return HostError(
        f"the key file {path} cannot be read: {error.strerror}",
        remedy="run as its owner, or name another with --key-file",
    )
