"""The pins on disk: keys of nodes that speak our session suite, and since when this node holds them to it.

    {"version": 1, "pins": {"07a3…1c7c": 1764264000, …}}      key → seconds since 1970

A pin that is lost lets a peer be talked down to the weaker suite once more, so a file that can't be
understood is an error and never taken for an empty one.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from zosnet.model import HostError, PublicKey, UsageError
from zosnet.store.files import write_private

VERSION = 1
MOST_PINS = 65_536
"""A guess: more peers than one node talks to. Each is 80 bytes on disk and about as many in memory."""

_MAX_BYTES = 8 * 1024 * 1024
_REMEDY = (
    "restore it from a copy, or remove it: then peers are held to the session suite "
    "only once they have shown again that they speak it"
)


def load_pins(path: Path) -> dict[bytes, int]:
    """Keys and when they were pinned, in that order. No file is no pins.

    Raises HostError for a file that can't be read, that others may write, or that makes no sense.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        with os.fdopen(descriptor, "rb") as stream:
            _refuse_unfit(path, os.fstat(descriptor).st_mode)
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        return _decode(data)
    except ValueError as reason:
        raise HostError(f"the pins in {path} can't be used: {reason}", remedy=_REMEDY) from None


def save_pins(path: Path, pins: Mapping[bytes, int]) -> None:
    """Write all pins, whole or not at all, for the owner's eyes only. Raises HostError where that fails."""
    document = {"version": VERSION, "pins": {key.hex(): since for key, since in pins.items()}}
    write_private(path, json.dumps(document, indent=0).encode() + b"\n", replace=True)


def _decode(data: bytes) -> dict[bytes, int]:
    """The pins in a file's bytes. Raises ValueError with the reason."""
    if len(data) > _MAX_BYTES:
        raise ValueError("the file is too large")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("version"), int):
        raise ValueError("it doesn't say its version")
    if document["version"] != VERSION:
        raise ValueError(f"its version is {document['version']}, this zosnet knows {VERSION}")
    pins = document.get("pins")
    if not isinstance(pins, dict):
        raise ValueError("it has no pins")
    if len(pins) > MOST_PINS:
        raise ValueError(f"there are more than {MOST_PINS}")
    return dict(sorted((_pin(key, since) for key, since in pins.items()), key=lambda pin: pin[1]))


def _pin(key: str, since: object) -> tuple[bytes, int]:
    try:
        raw = PublicKey.parse(key).raw
    except UsageError:
        raise ValueError(f"{key!r} is not a public key") from None
    if isinstance(since, bool) or not isinstance(since, int):
        raise ValueError(f"{since!r} is not a time")
    return raw, since


def _refuse_unfit(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise HostError(f"{path} is not a file", remedy="move it away; the node makes a new one")
    if mode & 0o022:
        raise HostError(
            f"the pins in {path} may be changed by others (mode {stat.S_IMODE(mode):04o})",
            remedy=f"chmod 600 {path}, after a look at what it says",
        )


def _unreadable(path: Path, error: OSError) -> HostError:
    return HostError(
        f"the pins in {path} cannot be read: {error.strerror}",
        remedy="run as their owner, or name another place with --state-dir",
    )
