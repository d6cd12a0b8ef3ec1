"""What goes to the terminal: tables for people, tab-separated lines for pipes, JSON for programs.

rich is imported only where a terminal shows it, so that a simple command starts fast.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["duration", "fields", "is_terminal", "progress", "say", "show_json", "size", "table", "waiting"]

_BYTES = ("B", "kB", "MB", "GB", "TB")


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at what goes there."""
    return stream.isatty()


def say(text: str = "") -> None:
    """One line to standard output, at once: whoever pipes us sees it when it is so."""
    print(text, flush=True)


def show_json(document: Any) -> None:
    """A document for programs; pretty on a terminal."""
    say(json.dumps(document, ensure_ascii=False, indent=2 if is_terminal(sys.stdout) else None))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Rows under a heading; `empty` is said on a terminal where there are none."""
    if not is_terminal(sys.stdout):
        for row in [columns, *rows]:
            say("\t".join(row))
    elif not rows:
        say(empty)
    else:
        _rich_table(columns, rows)


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console().print(shown)


_STYLES = {"alive": "green", "dead": "red", "connecting": "yellow", "error": "red", "warning": "yellow"}


def fields(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and values, one a line."""
    if not is_terminal(sys.stdout):
        for name, value in pairs:
            say(f"{name}\t{value}")
        return
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        say(f"{name:<{width}}  {value}")


@contextmanager
def progress(text: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal's standard error, nothing elsewhere. The yielded function takes how far it is."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=max(total, 1))
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A spinner for what takes an unknown time."""
    if not is_terminal(sys.stderr):
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def size(count: float) -> str:
    """A number of bytes, short."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_BYTES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_BYTES[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {_BYTES[unit]}"


def duration(seconds: float | None) -> str:
    """A number of seconds, short; `-` when unknown."""
    if seconds is None:
        return "-"
    for length, unit, next_length, next_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= length:
            return f"{int(seconds // length)}{unit} {int(seconds % length // next_length)}{next_unit}"
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
