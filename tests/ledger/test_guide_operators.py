"""The page for operators does what it says: four of them found a ledger with its commands, and use it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.ledger.comet import PATIENCE_S, PROGRAM, PROJECT, free_ports, wait_for

from zosnet.cli.main import main
from zosnet.ledger.client.transport import HttpTransport

PAGE = PROJECT / "docs" / "guide" / "ledger-operators.md"
NAMES = "abcd"

pytestmark = pytest.mark.slow


def commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.S)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line) for line in lines]


class Operators:
    """Four directories, and the page's commands in each."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory, self._capsys = directory, capsys
        self.ports = dict(zip(NAMES, free_ports(4), strict=True))
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    def of(self, who: str) -> list[str]:
        return ["--ledger-dir", str(self.directory / who)]

    def socket(self, who: str) -> str:
        return str(self.directory / f"{who}.sock")

    def run(self, *words: str) -> str:
        self._capsys.readouterr()
        code = main(list(words))
        out, err = self._capsys.readouterr()
        assert code == 0, (words, err)
        return out

    def start(self, who: str, words: list[str]) -> None:
        with (self.directory / f"{who}.log").open("wb") as log:
            self.nodes[who] = subprocess.Popen(
                [sys.executable, "-m", "zosnet", *words, *self.of(who), "--ledger", self.socket(who)],
                stdout=log,
                stderr=log,
                env=os.environ | {"ZOSNET_COMETBFT": str(PROGRAM)},
            )

    def wait_for_all(self) -> None:
        """Until each has the newest header: one may be a moment behind, and the user goes round."""
        ways = [HttpTransport(self.socket(who)) for who in NAMES]
        newest = max(way.status()["height"] for way in ways)
        for way in ways:
            wait_for("the newest header", lambda way=way: way.status()["height"] >= newest)  # type: ignore[misc]

    def stop(self) -> list[int]:
        for each in self.nodes.values():
            each.send_signal(signal.SIGTERM)
        return [each.wait(PATIENCE_S) for each in self.nodes.values()]


def test_four_operators_follow_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zosnet.cli.ledger_operators.Parameters", lambda: _easy())
    monkeypatch.chdir(tmp_path)
    operators = Operators(tmp_path, capsys)
    ids: set[str] = set()
    ran = 0
    try:
        for words in commands():
            match words[:3]:
                case ["make", "cometbft"] | ["export", *_]:
                    assert PROGRAM.exists(), "run `make cometbft`"
                case ["zosnet", "ledger", "init"]:
                    for who in NAMES:
                        address = f"[::1]:{operators.ports[who]}"  # as an overlay's
                        shown = [address if "example" in word else word for word in words[1:]]
                        said = operators.run(*shown, *operators.of(who))
                        file = Path(said.split()[1])
                        (tmp_path / f"{who}.json").write_bytes(file.read_bytes())
                case ["zosnet", "ledger", "join"]:
                    for who in NAMES:
                        said = operators.run(*words[1:], *operators.of(who), "--json")
                        document = json.loads(said)
                        ids.add(document["chain"])
                        assert document["may_fail"] == 1
                    assert len(ids) == 1
                case ["zosnet", "ledger", "start"]:
                    for who in NAMES:
                        operators.start(who, words[1:])
                    for who in NAMES:
                        way = HttpTransport(operators.socket(who))
                        wait_for("the first block", lambda way=way: way.status()["height"])  # type: ignore[misc]
                case _:
                    # A user, of each operator in turn.
                    who = NAMES[ran % 4]
                    user = ["--ledger-dir", str(tmp_path / "user"), "--ledger", operators.socket(who)]
                    operators.wait_for_all()
                    operators.run(*words[1:], *user)
            ran += 1
        assert ran > 7
    finally:
        codes = operators.stop()
    assert codes == [0] * 4
    assert not _left_behind(tmp_path)


def _easy() -> object:
    from zosnet.ledger.genesis import Parameters

    return Parameters(stamp_bits=4)


def _left_behind(directory: Path) -> list[str]:
    """Programs that still run there."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in text and "cometbft" in text:
            found.append(text)
    return found
