"""The demo does what it says, and says so when it can't."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zosnet.lab import Grid, LabError, demo, until
from zosnet.lab.leftovers import Surroundings
from zosnet.lab.two_paths import TwoPaths

pytestmark = [pytest.mark.privileged, pytest.mark.slow]


def test_a_small_demo_is_ok(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--mib", "256"]) == 0
    said = capsys.readouterr().out
    assert said.rstrip().endswith("demo: OK")
    assert "r1 → r2" in said


def test_a_demo_that_fails_says_what(
    grid: Grid, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: TwoPaths, within: float = 0.0) -> None:
        raise LabError("no path is better")

    monkeypatch.setattr(TwoPaths, "prefer_better", refuse)
    assert demo.main(["--mib", "64"]) == 1
    assert capsys.readouterr().out.rstrip().endswith("demo: FAILED: no path is better")
    assert demo.main(["--mib", "1"]) == 2


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that still run."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and f"PPid:\t{pid}\n" in (process / "status").read_text():
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_killed_in_the_middle_leaves_nothing(grid: Grid, how: int) -> None:
    before = Surroundings.now()
    with subprocess.Popen(
        [sys.executable, "-m", "zosnet.lab.demo", "--mib", "512"], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "leaves a for b" in line:
                break
        until("the file is on its way", lambda: len(children(running.pid)) > 10)
        started = children(running.pid)
        running.send_signal(how)
        assert running.wait(15) != 0
    until("all it started is gone", lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))
    assert before.added(Surroundings.now()) == []
