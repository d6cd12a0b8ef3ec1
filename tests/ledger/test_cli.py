"""The commands, on a ledger of this process, and on one that runs as its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from zosnet.api.schema import validate
from zosnet.cli.ledger_access import embedded
from zosnet.cli.main import main
from zosnet.ledger.client.desk import Desk
from zosnet.ledger.client.follower import Follower
from zosnet.ledger.client.transport import HttpTransport, NoLedger
from zosnet.ledger.genesis import Parameters
from zosnet.ledger.records import name_key
from zosnet.model.errors import HostError, UsageError


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Here:
    """Commands on a directory or a socket."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *where: str) -> None:
        self._capsys, self._where = capsys, where

    def __call__(self, *words: str) -> Outcome:
        self._capsys.readouterr()
        code = main([*words, *self._where])
        return Outcome(code, *self._capsys.readouterr())


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setenv("ZOSNET_LEDGER", str(tmp_path / "none.sock"))
    directory = tmp_path / "ledger"
    embedded(directory, parameters=Parameters(stamp_bits=4)).start().close()
    return Here(capsys, "--ledger-dir", str(directory))


def test_a_newcomer_reserves_a_name_in_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOSNET_LEDGER", str(tmp_path / "none.sock"))
    monkeypatch.setattr("zosnet.cli.ledger_access.Parameters", lambda: Parameters(stamp_bits=8))
    run = Here(capsys, "--ledger-dir", str(tmp_path / "fresh"))
    done = run("name", "reserve", "shop")
    assert done.code == 0 and done.out.startswith("shop is yours, until ") and not done.err
    assert run("name", "show", "shop").code == 0


def test_a_name_from_reserve_to_release(
    run: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = run("name", "show", "shop", "--json")
    assert free.code == 1 and free.document["state"] == "free"
    reserved = run("name", "reserve", "shop", "--json").document
    assert reserved["schema"] == "zosnet.name-reserve/1" and reserved["height"] > 0 and reserved["expires"]
    again = run("name", "reserve", "shop")
    assert again.code == 1 and "is yours already" in again.err and "remedy: " in again.err
    shown = run("name", "show", "x.shop", "--json").document
    assert (shown["state"], shown["holder"]) == ("live", reserved["account"])
    assert run("name", "ls", "--json").document["names"][0]["name"] == "shop"
    assert run("name", "ls").out.splitlines()[1].startswith("shop\tlive\t")
    assert run("name", "renew", "shop", "--wait", "final").code == 0
    other = "ab" * 32
    unknown = run("name", "transfer", "shop", other)
    assert unknown.code == 1 and "not open" in unknown.err
    assert run("name", "transfer", "shop", "--cancel").code == 0
    assert run("name", "accept", "shop").code == 1
    assert run("name", "release", "shop", "--json").document["schema"] == "zosnet.name-release/1"
    assert run("name", "release", "shop").code == 1
    assert run("name", "ls").code == 0
    assert run("name", "ls", "--account", other, "--json").document["names"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("reserve", "Shop"), ("reserve", "sh"), ("reserve", "shop."), ("reserve", "a" * 64),
        ("reserve", "a.shop"),
        ("show", "xn--a"), ("transfer", "shop"), ("transfer", "shop", "me"), ("ls", "--account", "me"),
    ],
)  # fmt: skip
def test_a_wrong_command_is_2(run: Here, words: tuple[str, ...]) -> None:
    failed = run("name", *words)
    assert failed.code == 2 and failed.err.startswith("error: ") and "remedy: " in failed.err


def test_the_ledger_is_checked(run: Here, tmp_path: Path) -> None:
    reserved = run("name", "reserve", "shop", "--json").document
    status = run("ledger", "status", "--json").document
    assert status["schema"] == "zosnet.ledger-status/1" and not status["is_stale"]
    assert run("ledger", "status").out.startswith("engine\tembedded")
    tx = run("ledger", "tx", reserved["transaction"], "--json").document
    assert tx["operation"] == "RevealName" and tx["content"]["name"] == "shop"
    assert run("ledger", "tx", reserved["transaction"]).code == 0
    assert run("ledger", "tx", "00" * 32).code == 1 and run("ledger", "tx", "zz").code == 2
    found = run("ledger", "verify", "--replay", "--json").document
    assert found["replayed"] and found["chain"] == status["chain"]
    assert run("ledger", "verify", "--chain", "00" * 32).code == 4
    assert run("ledger", "verify", "--height", "1").code == 2
    assert run("ledger", "verify", "--height", "1", "--hash", "00" * 32).code == 4
    trust = json.loads((tmp_path / "ledger" / "trust.json").read_text())
    pinned = run("ledger", "verify", "--height", str(trust["height"]), "--hash", trust["hash"], "--json")
    assert pinned.code == 0 and pinned.document["height"] >= trust["height"]


def test_a_proof_is_checked_without_the_ledger(run: Here, tmp_path: Path) -> None:
    run("name", "reserve", "shop")
    for name, holds in (("shop", True), ("blog", False)):
        file = tmp_path / "proof.json"
        file.write_text(run("ledger", "proof", name).out)
        checked = run("ledger", "verify", "--proof", str(file), "--json")
        assert checked.code == 0 and (checked.document["record"] is not None) is holds
    document = json.loads(file.read_text())
    for part, bent in [
        ("proof", "00" * 3), ("value", "00"), ("header", "00"), ("key", name_key("shop").hex()),
        ("genesis", "zz"),
    ]:  # fmt: skip
        file.write_text(json.dumps(document | {part: bent}))
        assert run("ledger", "verify", "--proof", str(file)).code == 4


def test_an_export_replays_and_a_bent_one_does_not(run: Here, tmp_path: Path) -> None:
    run("name", "reserve", "shop")
    file = tmp_path / "blocks.jsonl"
    assert run("ledger", "export", str(file), "--json").document["blocks"] > 2
    assert run("ledger", "export", str(file)).code == 3
    assert run("ledger", "verify", "--file", str(file), "--json").document["replayed"]
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], *lines[3:]]))
    assert run("ledger", "verify", "--file", str(file)).code == 4


def test_no_ledger_is_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = Here(capsys, "--ledger", str(tmp_path / "s"), "--ledger-dir", str(tmp_path))
    for words in (("ledger", "status"), ("name", "show", "shop")):
        failed = run(*words)
        assert failed.code == 3 and "no ledger answers" in failed.err


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A ledger as its own process; its directory, with the socket in it."""
    directory = tmp_path_factory.mktemp("l")
    words = ["ledger", "dev", "--ledger-dir", str(directory), "--ledger", str(directory / "s")]
    child = subprocess.Popen(
        [sys.executable, "-m", "zosnet", *words, "--stamp-bits", "4"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout and "is ready" in child.stdout.readline()
    yield directory
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=20) == 0
    child.stdout.close()
    assert not (directory / "s").exists()


def test_nothing_outlives_a_killed_ledger(tmp_path: Path) -> None:
    words = ["ledger", "dev", "--ledger-dir", str(tmp_path), "--ledger", str(tmp_path / "s")]
    for _ in range(2):  # the second finds no lock, and the socket is its own
        child = subprocess.Popen(
            [sys.executable, "-m", "zosnet", *words, "--stamp-bits", "4"], stdout=subprocess.PIPE, text=True
        )
        with child:
            assert child.stdout and "is ready" in child.stdout.readline()
            assert HttpTransport(str(tmp_path / "s")).status()["height"] >= 1
            # No helper processes: what it does beside its loop, it does in threads.
            children = list(Path(f"/proc/{child.pid}/task").glob("*/children"))
            assert children and not any(each.read_text() for each in children)
            child.kill()
            assert child.wait(timeout=20) == -signal.SIGKILL


def test_a_follower_learns_of_a_change_within_a_second(running: Path) -> None:
    way = HttpTransport(str(running / "s"))
    assert way.is_running() and not HttpTransport(str(running / "none")).is_running()
    follower = Follower(way)
    follower.watch([name_key("quick")])
    learnt = threading.Event()

    def until() -> bool:
        if follower.name("quick"):
            learnt.set()
        return learnt.is_set()

    thread = threading.Thread(target=follower.follow, args=[until])
    thread.start()
    other = Follower(HttpTransport(str(running / "s")))
    other.catch_up()
    Desk(other, os.urandom(32)).reserve("quick")
    done = time.monotonic()
    assert learnt.wait(timeout=20)
    assert time.monotonic() - done < 1.0
    thread.join(timeout=20)
    assert not follower.is_stale


def test_the_commands_talk_to_a_running_ledger(
    running: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = str(running / "s")
    ours = Here(capsys, "--ledger", socket, "--ledger-dir", str(tmp_path / "a"))
    theirs = Here(capsys, "--ledger", socket, "--ledger-dir", str(tmp_path / "b"))
    ours("name", "reserve", "shop")
    held = theirs("name", "reserve", "shop")
    assert held.code == 1 and "is held by" in held.err and "zosnet name transfer shop" in held.err
    account = theirs("name", "reserve", "other", "--json").document["account"]
    assert ours("name", "transfer", "shop", account).code == 0
    assert theirs("name", "accept", "shop").code == 0
    assert ours("name", "ls", "--json").document["names"] == []
    assert {row["name"] for row in theirs("name", "ls", "--json").document["names"]} == {"other", "shop"}
    assert ours("ledger", "verify", "--replay").code == 0
    assert ours("ledger", "status").code == 0
    with pytest.raises(HostError, match="running"):
        embedded(running)


def test_the_api_refuses_in_its_one_shape(running: Path) -> None:
    way = HttpTransport(str(running / "s"))
    document = way._ask("GET", "/openapi.json")
    schemas = document["components"]["schemas"]
    assert validate({"$ref": "#/components/schemas/StatusView"}, way.status(), schemas) == []
    assert way.block(10**9) is None and way.find(bytes(32)) is None and way.headers(10**9, 5) == []
    assert way.submit([]) == [] and way.submit([b"x"])[0].reason == "malformed"
    for method, path, body in [
        ("POST", "/v1/ledger/query", {"keys": ["zz"]}), ("POST", "/v1/ledger/query", {"keys": 1}),
        ("POST", "/v1/ledger/transactions", {"transactions": [""] * 5001}),
        ("GET", "/v1/ledger/headers?start=x", None), ("GET", "/v1/ledger/blocks/-1", None),
        ("POST", "/v1/ledger/query", {"keys": [], "height": 10**9}),
    ]:  # fmt: skip
        with pytest.raises(UsageError):
            way._ask(method, path, body)
    with pytest.raises(NoLedger):
        HttpTransport("/nowhere").genesis()
