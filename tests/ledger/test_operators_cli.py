"""`zosnet ledger init|join|start` where something is wrong: one clear error, and nothing changed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.ledger.test_cli import Here
from tests.ledger.test_comet_bytes import word

from zosnet.cli.ledger_access import embedded
from zosnet.cli.ledger_operators import home_of
from zosnet.cli.main import main
from zosnet.ledger.comet.founding import Introduction
from zosnet.ledger.engine.cometbft.engine import Comet
from zosnet.ledger.engine.cometbft.process import Supervisor, find_program
from zosnet.ledger.engine.embedded import now_ms
from zosnet.ledger.genesis import Parameters
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import ClaimDomain
from zosnet.ledger.wallet import Wallet
from zosnet.model.errors import HostError, UsageError


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys, "--ledger-dir", str(tmp_path / "mine"))


def join(run: Here, tmp_path: Path, *words: Introduction, label: str = "ours") -> int:
    """Join with those of others beside one's own; the exit code."""
    files = [str(tmp_path / "mine" / "operator.json")]
    for number, each in enumerate(words):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(each.document))
        files.append(str(path))
    return run("ledger", "join", *files, "--label", label).code


def test_an_operator_introduces_itself_and_joins(run: Here, tmp_path: Path) -> None:
    made = run("ledger", "init", "--address", "127.0.0.1:1000", "--json").document
    mine = tmp_path / "mine"
    assert made["schema"] == "zosnet.ledger-operator/1" and made["address"] == "127.0.0.1:1000"
    assert (mine / "operator.key").stat().st_mode & 0o77 == 0
    others = [word(number, f"127.0.0.1:{number}") for number in (1, 2, 3)]
    assert join(run, tmp_path, *others) == 0
    membership = (mine / "membership.json").read_bytes()
    assert join(run, tmp_path, *others[::-1]) == 0  # again, in another order
    assert (mine / "membership.json").read_bytes() == membership
    assert join(run, tmp_path, *others, label="theirs") == 3
    assert join(run, tmp_path, *others[:2]) == 3
    assert (mine / "membership.json").read_bytes() == membership
    home = home_of(mine, "0.0.0.0:1000")
    assert home.listen == "0.0.0.0:1000" and len(home.peers) == 3
    home.write()
    home.write()
    assert all(each.stat().st_mode & 0o77 == 0 for each in home.directory.rglob("*") if each.is_file())


@pytest.mark.parametrize("address", ["here", "127.0.0.1:0", "1.2.3.4"])
def test_an_address_that_is_none_makes_no_key(run: Here, tmp_path: Path, address: str) -> None:
    found = run("ledger", "init", "--address", address)
    assert found.code == 2 and found.err.startswith("error: ") and "remedy: " in found.err
    assert not (tmp_path / "mine").exists()


def test_joining_needs_ones_own_introduction_and_good_files(run: Here, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(word(1).document))
    assert run("ledger", "join", str(other)).code == 3  # no key yet
    assert run("ledger", "init", "--address", "127.0.0.1:1").code == 0
    for path, text in (
        (other, None),
        (tmp_path / "none", None),
        (tmp_path / "bad", "{"),
        (tmp_path / "odd", "7"),
    ):
        if text is not None:
            path.write_text(text)
        found = run("ledger", "join", str(path))
        assert found.code == 2 and found.err.count("\n") <= 2 and "Traceback" not in found.err
    assert not (tmp_path / "mine" / "membership.json").exists()


def test_a_directory_has_one_kind_of_ledger(
    run: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    assert run("ledger", "start").code == 3  # belongs to no ledger yet
    assert run("ledger", "init", "--address", "127.0.0.1:1").code == 0
    assert join(run, tmp_path) == 0
    home = home_of(mine)
    Comet(mine, home, Path("/bin/true")).close()
    monkeypatch.setenv("ZOSNET_LEDGER", str(tmp_path / "none.sock"))
    found = run("name", "ls")
    assert found.code == 3 and "zosnet ledger start" in found.err
    assert run("ledger", "init", "--address", "127.0.0.1:1").code == 3
    other = tmp_path / "embedded"
    embedded(other, parameters=Parameters(stamp_bits=4)).start().close()
    with pytest.raises(HostError):
        Comet(other, home, Path("/bin/true"))
    (mine / "operator.key").write_bytes(b"x" * 32)
    assert run("ledger", "start").code == 3
    assert join(run, tmp_path) == 2


def test_a_node_that_cannot_read_its_disk_says_so_and_goes_on_when_it_can(
    run: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    assert run("ledger", "init", "--address", "127.0.0.1:1").code == 0
    assert join(run, tmp_path) == 0
    home = home_of(tmp_path / "mine")
    engine = Comet(tmp_path / "mine", home, Path("/bin/true"))
    try:
        engine._threads[0].start()  # the one that sends
        raw = Wallet(home.genesis, [Signer(bytes(32))]).transaction(ClaimDomain("a.example"), now_ms()).raw
        with monkeypatch.context() as broken:
            broken.setattr(engine.application.mempool, "foresee", refuse)
            with pytest.raises(HostError, match="disk I/O error"):
                engine.submit([raw]).result(timeout=10)
            assert "disk I/O error" in engine.status().trouble
        (receipt,) = engine.submit([raw]).result(timeout=10)
        assert receipt.reason == "account"
    finally:
        engine.close()


def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOSNET_COMETBFT", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as error:
        find_program()
    assert "make cometbft" in error.value.remedy
    program = tmp_path / ".make" / "bin" / "cometbft"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    assert find_program() == program
    monkeypatch.setenv("ZOSNET_COMETBFT", "/bin/true")
    assert find_program() == Path("/bin/true")
    with pytest.raises(HostError):
        find_program("/none")


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def supervised(tmp_path: Path, text: str, claim: str) -> list[str]:
    """What is heard of a program until something is heard that has `claim`."""
    heard: list[str] = []
    came = threading.Event()

    def hear(said: str) -> None:
        heard.append(said)
        if claim in said and len(heard) > 1:
            came.set()

    supervisor = Supervisor(script(tmp_path / "program", text), tmp_path, tmp_path / "rpc.sock", hear)
    supervisor.start()
    try:
        assert came.wait(30), heard
    finally:
        supervisor.close()
    return heard


def test_a_program_that_ends_is_started_again_and_its_last_words_are_told(tmp_path: Path) -> None:
    heard = supervised(tmp_path, "echo 'ERROR: the port is taken'; exit 7", "code 7")
    assert heard[0] == "CometBFT ended with code 7: ERROR: the port is taken"
    assert "the port is taken" in (tmp_path / "cometbft.log").read_text()


def test_a_program_that_gives_up_is_ended_and_started_again(tmp_path: Path) -> None:
    heard = supervised(tmp_path, "echo 'E[now] CONSENSUS FAILURE!!! err=none'; exec sleep 600", "gave up")
    assert heard[0].startswith("CometBFT gave up")


def test_a_program_that_cannot_be_started_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "program").mkdir()
    heard: list[str] = []
    supervisor = Supervisor(tmp_path / "none", tmp_path, tmp_path / "rpc.sock", heard.append)
    supervisor.start()
    ends = time.monotonic() + 30
    while not heard and time.monotonic() < ends:
        time.sleep(0.01)
    supervisor.close()
    assert heard


def test_the_engine_dies_with_whoever_is_killed(tmp_path: Path) -> None:
    child = (
        "import sys, time; from pathlib import Path\n"
        "from zosnet.ledger.engine.cometbft.process import Supervisor\n"
        "place = Path(sys.argv[1])\n"
        "s = Supervisor(place / 'program', place, place / 'rpc.sock', print); s.start()\n"
        "while s.process is None: time.sleep(0.01)\n"
        "print(s.process.pid, flush=True); time.sleep(600)\n"
    )
    script(tmp_path / "program", "exec sleep 600")
    process = subprocess.Popen(
        [sys.executable, "-c", child, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    ends = time.monotonic() + 30
    while _is_running(pid):
        assert time.monotonic() < ends
        time.sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_user_hears_nothing_of_the_inside(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main(["ledger", "start", "--ledger-dir", str(tmp_path), "--listen", "nowhere"])
    assert code == 3 and "Traceback" not in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
    with pytest.raises(UsageError):
        Introduction.parse({"schema": 1})
