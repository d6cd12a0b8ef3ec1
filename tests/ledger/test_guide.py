"""The page on names does what it says: its commands are run, in order, by somebody who has nothing yet."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from zosnet.cli.main import main
from zosnet.ledger.genesis import Parameters

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "names.md"


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_the_page_on_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zosnet.store.places.is_root", lambda: False)
    monkeypatch.setattr("zosnet.cli.ledger_access.Parameters", lambda: Parameters(stamp_bits=8))
    for name in ("ZOSNET_LEDGER", "ZOSNET_SOCKET", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert len(commands()) > 10
    for line in commands():
        words = shlex.split(line)
        assert words[0] == "zosnet"
        if words[1:3] == ["ledger", "dev"]:
            continue  # it runs until it is stopped: test_cli has it
        into = words.index(">") if ">" in words else len(words)
        code = main(words[1:into])
        found = capsys.readouterr()
        assert code == 0, (line, found.err)
        if into < len(words):
            Path(words[into + 1]).write_text(found.out)
