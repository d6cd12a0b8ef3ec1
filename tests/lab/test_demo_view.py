"""What the demo prints, on a terminal and into a file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from zosnet.lab.demo_view import View


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_the_cut_and_the_end(terminal: bool) -> None:
    said = io.StringIO()
    view = View(Console(file=said, force_terminal=terminal, width=100))
    with view.progress(1000) as show:
        show(0, "")
        show(400, "a–r1 cut")
        show(1000, "")
    assert "a–r1 cut" in said.getvalue()
    assert "\x1b[" in said.getvalue() if terminal else "\x1b[" not in said.getvalue()


def test_the_story_is_a_table_of_figures() -> None:
    said = io.StringIO()
    view = View(Console(file=said, width=100))
    view.file(1 << 30, "ab" * 32, "memory")
    view.pings([("a", "b", 0.5, 1.25)])
    view.story([("before the cut", "a–r1–b", 1234.5)], outage_ms=210.4, later_ms=40, beat_ms=150, port=5)
    view.ok()
    for word in ("1024 MiB", "1.25", "1,234", "210 ms", "the same", "equal", "demo: OK"):
        assert word in said.getvalue()


def test_a_failure_ends_with_its_reason() -> None:
    said = io.StringIO()
    View(Console(file=said, width=100)).failed("no [path]", "look there", "logs")
    assert said.getvalue().splitlines() == ["logs", "remedy: look there", "demo: FAILED: no [path]"]
