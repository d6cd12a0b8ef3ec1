"""A large file for a transfer, the same on no two runs, and gone with the lab.

It lies in a host's own tmpfs where memory allows, else on disk under /var/tmp as a file that never had a
name, so that the kernel removes it in any case.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from zosnet.lab.host import Host
from zosnet.model.errors import HostError

_BLOCK = 4 << 20
_SPARE = 2 << 30
"""Memory that is left to everything else when a file goes to a tmpfs."""


class Payload:
    """A file that one host's programs find at `path`, and the lab at `outside`."""

    def __init__(self, host: Host, name: str, size: int, *, in_memory: bool) -> None:
        self._held: int | None = None
        if in_memory:
            self.outside = host.files / name
            self.path = host.inside(name)
            self.outside.touch()
            return
        room = os.statvfs("/var/tmp")
        if room.f_bavail * room.f_frsize < size + (256 << 20):
            raise HostError(
                f"neither memory nor /var/tmp has room for a file of {size >> 20} MiB",
                remedy="free some memory, or ask for a smaller file with --mib",
            )
        self._held = os.open("/var/tmp", os.O_RDWR | os.O_TMPFILE, 0o600)
        self.path = f"/proc/{os.getpid()}/fd/{self._held}"
        self.outside = Path(self.path)

    def fill(self, size: int) -> str:
        """Write `size` pseudo-random bytes. Returns their SHA-256."""
        stream = Cipher(
            algorithms.AES(secrets.token_bytes(32)), modes.CTR(secrets.token_bytes(16))
        ).encryptor()
        digest, zeros, left = hashlib.sha256(), bytes(_BLOCK), size
        with self.outside.open("wb") as file:
            while left:
                block = stream.update(zeros[: min(left, _BLOCK)])
                file.write(block)
                digest.update(block)
                left -= len(block)
        return digest.hexdigest()

    def digest(self) -> str:
        """The SHA-256 of what is in the file now."""
        with self.outside.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def close(self) -> None:
        """Give the space back, when the lab goes on."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
        else:
            with contextlib.suppress(FileNotFoundError):
                self.outside.unlink()


def fits_in_memory(size: int) -> bool:
    """Whether this machine has that much memory to spare."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 > size + _SPARE
    return False
