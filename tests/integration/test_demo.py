"""The demo does what it says, and says so when it can't."""

from __future__ import annotations

import pytest

from zosnet.lab import Grid, LabError, demo
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
