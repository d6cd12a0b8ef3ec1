"""What a lab has left behind, if anything: processes, namespaces, interfaces, files.

A lab leaves nothing by construction (see `namespace`). This is how that is checked, not how it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from zosnet.lab.process import MARK


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine outside of any lab: what a lab must not change."""

    interfaces: frozenset[str]
    named_namespaces: frozenset[str]
    mounts: frozenset[str]
    temporary: frozenset[str]

    @classmethod
    def now(cls) -> Surroundings:
        return cls(
            _names("/sys/class/net"),
            _names("/run/netns"),
            frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
            _names("/dev/shm") | _names("/run/zosnet"),
        )

    def added(self, later: Surroundings) -> list[str]:
        """What is there later and was not before, in words."""
        found = []
        for what in ("interfaces", "named_namespaces", "mounts", "temporary"):
            new = getattr(later, what) - getattr(self, what)
            found += [f"{what.replace('_', ' ')}: {name}" for name in sorted(new)]
        return found


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


def _names(directory: str) -> frozenset[str]:
    try:
        return frozenset(path.name for path in Path(directory).iterdir())
    except FileNotFoundError:
        return frozenset()
