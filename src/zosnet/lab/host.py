"""A lab host: a namespace with a name, and what one does in it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zosnet.lab.errors import LabError
from zosnet.lab.namespace import INSIDE, Namespace
from zosnet.lab.process import Process, environment, start

if TYPE_CHECKING:
    from zosnet.lab.link import End

_TOOLS = Path(__file__).parent / "tools"


class Host:
    """One machine of the lab. Its interfaces are loopback and one per link; there is no way out of the
    lab.
    """

    def __init__(self, name: str, lab: str) -> None:
        self.name = name
        self.ends: list[End] = []
        """This host's side of each of its links, in the order they were made."""
        self.processes: list[Process] = []
        """All that were ever started here; a lab that fails shows what they said."""
        self.namespace = Namespace(lab)
        self._started = 0

    @property
    def files(self) -> Path:
        """The host's directory, from outside. Programs inside see it as `inside`."""
        return self.namespace.files

    def inside(self, name: str) -> str:
        """The path under which a program in this host finds the file `files / name`."""
        return f"{INSIDE}/{name}"

    def run(
        self,
        *argv: object,
        within: float = 30.0,
        check: bool = True,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end. Raises LabError when it fails (unless `check` is off) or takes too
        long.
        """
        command = [str(word) for word in argv]
        with start(
            self.namespace.entered(command),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(self.namespace.lab, env),
        ) as process:
            try:
                out, err = process.communicate(None if stdin is None else stdin.encode(), within)
            except subprocess.TimeoutExpired:
                process.kill()
                raise LabError(
                    f"{self.name}: {' '.join(command)}: still running after {within:g} s"
                ) from None
        done = subprocess.CompletedProcess(
            command, process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
        )
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip()[-800:]
            raise LabError(f"{self.name}: {' '.join(command)}: status {done.returncode}: {said}")
        return done

    def spawn(
        self,
        name: str,
        *argv: object,
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
        split: bool = False,
    ) -> Process:
        """Start a program that goes on. `split` keeps stdout apart from the log (the lab's own tools)."""
        self._started += 1
        stem = f"{self._started:03d}-{name}"
        log, out = self.files / f"{stem}.log", self.files / f"{stem}.out"
        with log.open("wb") as said, (out if split else log).open("ab") as printed:
            popen = start(
                self.namespace.entered([str(word) for word in argv]),
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=printed,
                stderr=said if split else printed,
                env=environment(self.namespace.lab, env),
                start_new_session=True,
            )
        process = Process(f"{self.name}/{name}", popen, out if split else log, log)
        self.processes.append(process)
        return process

    def tool(self, name: str, *argv: object, stdin: bool = False) -> Process:
        """Start one of the lab's own small programs (`lab/tools`), which speak JSON lines."""
        return self.spawn(name, sys.executable, _TOOLS / f"{name}.py", *argv, stdin=stdin, split=True)

    def knows(self, names: Mapping[str, Sequence[str] | str]) -> None:
        """Give this host's programs an /etc/hosts of its own with these names (a later call replaces
        them).
        """
        lines = [(self.files / "hosts.base").read_text()]
        for name, addresses in names.items():
            lines += [f"{each} {name}" for each in ([addresses] if isinstance(addresses, str) else addresses)]
        (self.files / "hosts").write_text("\n".join(lines) + "\n")

    def pings(self, address: object, *, within: float = 1.0) -> bool:
        """Whether one echo request is answered in time."""
        argv = ("ping", "-n", "-q", "-c", 1, "-W", f"{within:g}", address)
        return self.run(*argv, check=False, within=within + 10).returncode == 0

    def interfaces(self) -> list[str]:
        """The names of the interfaces there are now."""
        return sorted(path.name for path in Path(f"/proc/{self.namespace.pid}/root/sys/class/net").iterdir())

    def inhabitants(self) -> list[int]:
        """The pids of all processes in this network namespace, the holder apart."""
        return [pid for pid in living_in(self.namespace.inode) if pid != self.namespace.pid]

    def close(self) -> None:
        """End everything that runs here, whoever started it, and let the namespace go."""
        for process in self.processes:
            process.kill()
        for pid in self.inhabitants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.namespace.close()


def living_in(inode: int) -> list[int]:
    """The pids of the processes whose network namespace has this inode number."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/net").stat().st_ino == inode:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
