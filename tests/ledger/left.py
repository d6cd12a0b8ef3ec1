"""What an engine that can't be opened leaves behind, and ways to make it fail."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zosnet.model.errors import HostError

__all__ = ["Left", "descriptors", "fail_at", "refuse_at_each_step"]


def descriptors(prefix: str) -> list[str]:
    """What this process has open whose name begins so."""
    found = []
    for each in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            target = os.readlink(f"/proc/self/fd/{each}")  # noqa: PTH115
        except OSError:  # that of the listing itself
            continue
        if target.startswith(prefix):
            found.append(target)
    return found


class Left:
    """What is there now that wasn't when this was made."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._threads = directory, set(threading.enumerate())

    def __call__(self) -> tuple[list[str], list[str]]:
        threads = [each.name for each in threading.enumerate() if each not in self._threads]
        return threads, descriptors(f"{self._directory}/")


class Disk:
    """SQLite's connections, of which the `number`-th call fails."""

    def __init__(self, number: int) -> None:
        self.left = number

    def call(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise sqlite3.OperationalError("database or disk is full")

    def connect(self, real: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, *args: Any) -> sqlite3.Cursor:
                disk.call()
                return super().execute(*args)

            def executescript(self, *args: Any) -> sqlite3.Cursor:
                disk.call()
                return super().executescript(*args)

        def connect(*args: Any, **named: Any) -> sqlite3.Connection:
            disk.call()
            return real(*args, factory=Connection, **named)

        return connect


def refuse_at_each_step(
    directory: Path,
    kept: Path | None,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[Path], None],
    watch: type[Left],
) -> None:
    """Use an engine, a new one or a copy of `kept`, on a disk whose first call fails, or second, and so on.

    Each failure is a HostError with a remedy, and leaves nothing, until there are no more calls to fail.
    """
    real, failures, passed = sqlite3.connect, 0, 0
    for number in itertools.count(1):
        place = directory / str(number)
        if kept:
            shutil.copytree(kept, place)
        left, disk = watch(place), Disk(number)
        with monkeypatch.context() as broken:
            broken.setattr(sqlite3, "connect", disk.connect(real))
            try:
                use(place)
            except HostError as error:  # held: what it refers to isn't collected
                failures += 1
                assert error.remedy and left() == ([], []), f"call {number}: {error}"
            else:
                assert left() == ([], []), f"call {number}"
                passed += 1
        if passed and disk.left > 0:
            break
    assert failures > 20


def fail_at(
    step: tuple[Any, str],
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    open_: Callable[[], Any],
    left: Left,
) -> None:
    """Open an engine while a step raises: the error comes out as it is, and nothing is left."""

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(*step, fail)
        with pytest.raises(type(error)) as held:
            open_()
    assert held.value is error and left() == ([], [])
