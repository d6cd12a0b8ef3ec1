"""What people see on a terminal, and what pipes get."""

from __future__ import annotations

import pytest

from zosnet.cli import output


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> pytest.CaptureFixture[str]:
    monkeypatch.setattr(output, "is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "100")
    return capsys


def test_a_terminal_gets_a_table(terminal: pytest.CaptureFixture[str]) -> None:
    output.table(("peer", "state"), [["tcp://[::1]:1", "alive"]], empty="none")
    shown = terminal.readouterr().out
    assert "tcp://[::1]:1" in shown and "\t" not in shown
    output.table(("peer", "state"), [], empty="there are none")
    assert terminal.readouterr().out == "there are none\n"


def test_a_pipe_gets_lines_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("peer", "state"), [["a", "b"]], empty="none")
    assert capsys.readouterr().out == "peer\tstate\na\tb\n"
    output.fields([("a", "1")])
    assert capsys.readouterr().out == "a\t1\n"


def test_a_terminal_gets_aligned_fields_and_indented_json(terminal: pytest.CaptureFixture[str]) -> None:
    output.fields([("a", "1"), ("long", "2")])
    assert terminal.readouterr().out == "a     1\nlong  2\n"
    output.show_json({"a": 1})
    assert terminal.readouterr().out == '{\n  "a": 1\n}\n'


def test_progress_is_shown_on_a_terminal(terminal: pytest.CaptureFixture[str]) -> None:
    with output.progress("sending", 100) as show:
        show(50)
    with output.waiting("waiting"):
        pass


def test_progress_is_silent_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("sending", 100) as show, output.waiting("waiting"):
        show(50)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (150_000, "150 kB"),
        (2 * 10**9, "2.0 GB"),
        (10**16, "10000 TB"),
    ],
)
def test_sizes_are_short(count: int, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.5, "0.5s"), (42, "42s"), (62, "1m 2s"), (3720, "1h 2m"), (90000, "1d 1h")],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert output.duration(seconds) == text
