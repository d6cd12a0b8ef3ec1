"""CometBFT's process: started, started again when it ends, and never left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from zosnet.model.errors import HostError

__all__ = ["Supervisor", "find_program"]

#: Pauses before it is started again, doubled each time; one that ran for long starts with the first again.
FIRST_PAUSE_S, LONGEST_PAUSE_S, LONG_S = 0.25, 5.0, 30.0
#: So long it may take to end in order.
PATIENCE_S = 5.0
LARGEST_LOG = 10 << 20
CHECK_S = 0.05
#: Go's collector lets the heap grow by this many percent, where its own default is 100.
GOGC = "50"
#: It says so when it can't go on, on a full disk for one, and then waits for somebody to start it anew.
GAVE_UP = b"CONSENSUS FAILURE"
_PROGRAM_VARIABLE = "ZOSNET_COMETBFT"
#: The kernel kills it when the thread that started it ends, which ends with this process. Without setpriv
#: it ends by itself a moment later, when it finds its application gone.
_MORTAL = ("setpriv", "--pdeathsig", "KILL", "--")


def find_program(given: str | None = None) -> Path:
    """The program: as named, or by ZOSNET_COMETBFT, or on the PATH, or where `make cometbft` puts it."""
    named = given or os.environ.get(_PROGRAM_VARIABLE)
    here = Path.cwd() / ".make" / "bin" / "cometbft"
    found = shutil.which(named or "cometbft") or (str(here) if not named and here.exists() else None)
    if found is None:
        raise HostError(
            f"there is no program {named or 'cometbft'}",
            remedy=f"run `make cometbft` in a checkout, and name what it made by {_PROGRAM_VARIABLE}",
        )
    return Path(found)


class Supervisor:
    """Keeps one node running, in a thread, from `start` to `close`."""

    def __init__(self, program: Path, home: Path, rpc: Path, on_end: Callable[[str], None]) -> None:
        mortal = _MORTAL if shutil.which(_MORTAL[0]) else ()
        self._command = [*mortal, str(program), "start", "--home", str(home)]
        self._log, self._rpc = home / "cometbft.log", rpc
        self._on_end = on_end
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cometbft", daemon=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self._last = ""

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def close(self) -> None:
        """End it in order, or else at once."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                text = self._once()
            except OSError as error:
                self._on_end(f"CometBFT can't be started: {error.strerror}")
            else:
                if not self._stopping.is_set():
                    self._on_end(f"{text}: {self._last}" if self._last else text)
            if time.monotonic() - started > LONG_S:
                pause = FIRST_PAUSE_S
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _once(self) -> str:
        """One run of it, and how it ended. Raises OSError where it can't be started."""
        self._rpc.unlink(missing_ok=True)  # one that was killed leaves its socket, and can't use it again
        process = self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"GOGC": GOGC} | os.environ,
            start_new_session=True,  # an interrupt at a terminal is for us, and we end it in order
        )
        self.starts += 1
        given_up = threading.Event()
        reader = threading.Thread(
            target=self._read, args=[process, given_up], name="cometbft log", daemon=True
        )
        reader.start()
        while process.poll() is None:
            if given_up.wait(CHECK_S):
                process.kill()
            elif self._stopping.is_set():
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE_S)
                process.kill()
            else:
                continue
            process.wait()
        reader.join()
        code = process.returncode
        return "CometBFT gave up" if given_up.is_set() else f"CometBFT ended with code {code}"

    def _read(self, process: subprocess.Popen[bytes], given_up: threading.Event) -> None:
        """Keep what it says. A full disk keeps nothing, and must neither stop it nor us."""
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line[:1] == b"E":  # of its levels only errors are written, and its own last words
                    self._last = line[:200].decode(errors="replace").strip()
                if GAVE_UP in line:
                    given_up.set()
                with contextlib.suppress(OSError):
                    if self._log.exists() and self._log.stat().st_size > LARGEST_LOG:
                        self._log.replace(self._log.with_suffix(".log.1"))
                    with self._log.open("ab") as log:
                        log.write(line)
