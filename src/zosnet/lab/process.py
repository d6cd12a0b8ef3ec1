"""Processes that live inside a lab host and never outlive the lab.

Each is started through `nsenter` (into the host's network and mount namespaces), `setpriv --pdeathsig KILL`
(the kernel kills it when the lab dies, by whatever signal) and a shell line that closes the one gap in that:
a lab that died before the death signal was asked for. All three replace themselves by the next, so the pid
is the program's own and a signal reaches it.

The kernel sends the death signal when the *thread* that started the process ends, not only when its process
does. So one thread, which lives as long as the interpreter, starts them all.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from zosnet.lab.errors import LabError
from zosnet.lab.wait import until

_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lab-spawner")

MARK = "NETLAB_ID"
"""Environment variable that every process of a lab carries: how leftovers are found."""

_GUARD = '[ "$PPID" = "$1" ] || exit 125; cd "$2" || exit 125; shift 2; exec "$@"'


def guarded(argv: Sequence[str], directory: str) -> list[str]:
    """`argv` in `directory`, tied to the life of this process; replaces itself by the program."""
    return [
        "setpriv", "--pdeathsig", "KILL", "--",
        "sh", "-c", _GUARD, "lab", str(os.getpid()), directory, *argv,
    ]  # fmt: skip


def environment(lab: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a lab process: ours, less what would configure a node behind the lab's back."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ZOSNET_")}
    return kept | {MARK: lab, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"} | dict(extra or {})


def start(argv: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
    """`subprocess.Popen` on the thread that never ends (see the module)."""

    def opened() -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, **how)

    return _SPAWNER.submit(opened).result()


class Process:
    """A program running in a host, with its output in files of the host's own directory.

    `out` holds what it printed (JSON lines, for the lab's own tools), `log` what it said on stderr; a daemon
    has both in `log`.
    """

    def __init__(self, name: str, popen: subprocess.Popen[bytes], out: Path, log: Path) -> None:
        self.name = name
        self.out = out
        self.log = log
        self._popen = popen
        self._records: list[dict[str, object]] = []
        self._read = 0

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._popen.poll()

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the program's whole session; nothing happens when it is already gone."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel has taken it away."""
        self.signal(signal.SIGKILL)
        self._popen.wait(10)
        self._close()

    def stop(self, within: float = 5.0) -> int:
        """SIGTERM, then wait for the end. Returns the exit status. Raises LabError when it does not end."""
        self.signal(signal.SIGTERM)
        return self.wait(within)

    def wait(self, within: float = 10.0) -> int:
        """Wait for the end of the program. Raises LabError when it goes on longer than `within` seconds."""
        try:
            status = self._popen.wait(within)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} (pid {self.pid}) still runs after {within:g} s") from None
        self._close()
        return status

    def write(self, text: str) -> None:
        """A line for the program's stdin (only for programs started with one)."""
        if self._popen.stdin is not None:
            self._popen.stdin.write(text.encode())
            self._popen.stdin.flush()

    def text(self) -> str:
        """Everything it has said on stderr so far."""
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace")
        return ""

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.text().splitlines()[-lines:])

    def records(self) -> list[dict[str, object]]:
        """The JSON lines printed so far, whole lines only; each is read once, so ask as often as you like."""
        with contextlib.suppress(FileNotFoundError), self.out.open("rb") as file:
            file.seek(self._read)
            whole, end, _ = file.read().rpartition(b"\n")
            self._read += len(whole) + len(end)
            self._records += [json.loads(line) for line in whole.splitlines()]
        return self._records

    def record(self, event: str, within: float = 10.0) -> dict[str, object]:
        """The first record of that `event`, waited for. Raises LabError; a program that died says how."""

        def found() -> dict[str, object] | None:
            ended, record = not self.is_running, None
            for record in self.records():
                if record.get("event") == event:
                    return record
            if ended:
                last = json.dumps(record) if record else ""
                said = f"{last} {self.tail(10)}".strip()
                raise LabError(f"{self.name} ended ({self.returncode}) without {event!r}: {said}")
            return None

        return until(f"{self.name} says {event!r}", found, within=within, seen=lambda: self.tail(5))

    def _close(self) -> None:
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()
