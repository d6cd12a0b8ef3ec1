"""What a lab has left behind, if anything: processes, namespaces, interfaces, mounts, files.

A lab leaves nothing by construction (see `namespace`). This is how that is checked, not how it is done. Only
what could be a lab's own is looked at, as others may be at work on the same machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from zosnet.lab.namespace import INSIDE
from zosnet.lab.process import MARK

_INTERFACE = re.compile(r"[a-z][a-z0-9]{0,9}-\d{1,3}")
_MOUNTED = (INSIDE, "/sys", "/etc/hosts", "/etc/resolv.conf")
_FILES = ("hosts", "hosts.base", "resolv.conf")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine outside of any lab: what a lab must not change."""

    interfaces: Counter[str]
    """Those named as a link's ends are."""
    mounts: Counter[str]
    """Over what a host mounts something of its own."""
    files: Counter[str]
    """In the directory that each host has to itself."""

    @classmethod
    def now(cls) -> Surroundings:
        mounted = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return cls(
            Counter(
                path.name for path in Path("/sys/class/net").iterdir() if _INTERFACE.fullmatch(path.name)
            ),
            Counter(point for point in mounted if point in _MOUNTED),
            Counter(name for name in _FILES if Path(INSIDE, name).exists()),
        )

    def added(self, later: Surroundings) -> list[str]:
        """What is there later and was not before, in words."""
        return [
            f"{what[:-1]} {name}"
            for what in ("interfaces", "mounts", "files")
            for name in sorted(getattr(later, what) - getattr(self, what))
        ]


def processes_of(lab: str) -> list[int]:
    """The processes that carry that lab's mark in their environment."""
    mark = f"{MARK}={lab}".encode()
    return _where(lambda process: mark in (process / "environ").read_bytes().split(b"\0"))


def processes_in(namespaces: Iterable[int]) -> list[int]:
    """The processes in one of these network namespaces, by inode number."""
    wanted = set(namespaces)
    return _where(lambda process: (process / "ns/net").stat().st_ino in wanted)


def _where(condition: Callable[[Path], bool]) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if condition(process):
                    found.append(int(process.name))
            except OSError:
                continue  # it ended meanwhile
    return found
