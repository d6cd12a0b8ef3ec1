"""What the demo prints: tables and a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from zosnet.lab.node import Node

_PICTURE = """\
      ┌──── r1 ────┐    as fast as this machine
  a ──┤            ├── b
      └──── r2 ────┘    {delay:g} ms a link, {rate:g} Mbit/s"""


class View:
    """The demo's face. Nothing here decides anything."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal and console is None:
            self._console = Console(highlight=False, width=100)

    def step(self, text: str) -> None:
        self._console.print(f"[bold]·[/] {text}")

    def map(
        self, nodes: Sequence[Node], links: Mapping[str, Sequence[str]], delay_ms: float, rate_mbit: float
    ) -> None:
        self._console.print("\n" + _PICTURE.format(delay=delay_ms, rate=rate_mbit) + "\n")
        table = Table("node", "overlay address", "links (and what they cost)")
        for node in nodes:
            table.add_row(node.name, str(node.address), ", ".join(links[node.name]))
        self._console.print(table)

    def pings(self, rows: Sequence[tuple[str, str, float, float]]) -> None:
        table = Table("from", "to", title="ten pings through the overlay")
        for heading in ("median ms", "worst ms"):
            table.add_column(heading, justify="right")
        for one, other, median, worst in rows:
            table.add_row(one, other, f"{median:.2f}", f"{worst:.2f}")
        self._console.print(table)

    def file(self, size: int, digest: str, where: str) -> None:
        self.step(f"a file of {size >> 20} MiB in {where}, SHA-256 {digest[:16]}…, leaves a for b")

    @contextmanager
    def progress(self, size: int) -> Iterator[Callable[[int, str], None]]:
        """Gives what to call with the bytes so far, and a remark when something has happened."""
        if not self._console.is_terminal:
            yield self._lines(size)
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(40),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
        )
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task("a → b over r1", total=size)

            def show(done: int, remark: str) -> None:
                bar.update(task, completed=done)
                if remark:
                    bar.console.print(f"  [red]✂[/] {remark}, silently, at {done * 100 // size} %")
                    bar.update(task, description="a → b over r2")

            yield show

    def _lines(self, size: int) -> Callable[[int, str], None]:
        began, shown = time.monotonic(), -1

        def show(done: int, remark: str) -> None:
            nonlocal shown
            tenth = done * 10 // size
            if tenth > shown or remark:
                shown = max(shown, tenth)
                self._console.print(
                    f"  {time.monotonic() - began:5.1f} s  {done >> 20:5d} MiB  {remark}".rstrip()
                )

        return show

    def story(
        self,
        rows: Sequence[tuple[str, str, float]],
        *,
        outage_ms: float,
        later_ms: float,
        beat_ms: float,
        port: int,
    ) -> None:
        table = Table("", "path", title="one file, one TCP connection")
        table.add_column("Mbit/s", justify="right")
        for what, path, mbit in rows:
            table.add_row(what, path, f"{mbit:,.0f}")
        table.add_row("outage: no byte of the file", "r1 → r2", f"{outage_ms:.0f} ms")
        table.add_row("outage: a datagram every 5 ms", "r1 → r2", f"{beat_ms:.0f} ms")
        table.add_row("longest silence after it", "a–r2–b", f"{later_ms:.0f} ms")
        table.add_row("connection", f"port {port} from first byte to last", "the same")
        table.add_row("file", "SHA-256 of both sides", "equal")
        self._console.print(table)

    def failed(self, why: str, remedy: str, notes: str) -> None:
        for text in (notes, f"remedy: {remedy}" if remedy else "", f"demo: FAILED: {why}"):
            if text:
                self._console.print(text, markup=False, soft_wrap=True)

    def ok(self) -> None:
        self._console.print("demo: OK")
