"""The commands, against nodes that run in the same process over an ether."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from zosnet.cli.main import main
from zosnet.lab.fake_daemon import served
from zosnet.lab.fake_dataplane import Ether
from zosnet.lab.fake_node import FakeNode, fake_node, secret_of, until
from zosnet.model.errors import ZosnetError
from zosnet.store.settings import Settings

A, B = "10.0.0.1", "10.0.0.2"


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


Command = Callable[..., Awaitable[Outcome]]
Work = Callable[[Command, Command, FakeNode, FakeNode], Awaitable[None]]


def with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str], work: Work) -> None:
    """Two linked nodes, and for each a function that runs a command on it."""

    def command(socket: Path) -> Command:
        async def run(*arguments: str) -> Outcome:
            code = await asyncio.to_thread(main, ["--socket", str(socket), *arguments])
            return Outcome(code, *capsys.readouterr())

        return run

    async def body() -> None:
        ether = Ether()
        async with (
            fake_node(
                ether, A, read_settings=lambda: Settings(no_tun=True, disable_peer_discovery=True)
            ) as a,
            fake_node(ether, B, f"tcp://{A}:9651") as b,
            served(a.node, tmp_path / "a.sock") as on_a,
            served(b.node, tmp_path / "b.sock") as on_b,
        ):
            await until(lambda: a.node.routes().selected and b.node.routes().selected)
            capsys.readouterr()
            await work(command(on_a.path), command(on_b.path), a, b)

    asyncio.run(body())


def test_status_is_for_people_pipes_and_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(run: Command, _: Command, a: FakeNode, __: FakeNode) -> None:
        shown = await run("status")
        assert shown.code == 0 and f"address\t{a.address}" in shown.out
        found = (await run("status", "--json")).document
        assert found["schema"] == "zosnet.status/1" and found["address"] == a.address

    with_two(tmp_path, capsys, work)


#: Command → the schema of its --json.
READERS = [
    (("status",), "zosnet.status/1"),
    (("peers",), "zosnet.peers/1"),
    (("peers", "list"), "zosnet.peers/1"),
    (("sessions",), "zosnet.sessions/1"),
    (("key", "pins"), "zosnet.pins/1"),
    (("routes",), "zosnet.routes/1"),
    (("routes", "selected"), "zosnet.routes/1"),
    (("routes", "fallback"), "zosnet.routes/1"),
    (("routes", "queried"), "zosnet.routes/1"),
    (("doors",), "zosnet.doors/1"),
    (("metrics",), "zosnet.metrics/1"),
    (("stats", "packets"), "zosnet.stats/1"),
    (("doctor",), "zosnet.doctor/1"),
    (("reload",), "zosnet.reload/1"),
]


@pytest.mark.parametrize(("command", "schema"), READERS)
def test_every_reading_command_has_both_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], schema: str
) -> None:
    async def work(run: Command, _: Command, __: FakeNode, ___: FakeNode) -> None:
        plain = await run(*command)
        assert plain.code in {0, 1} and plain.err == ""
        assert (await run(*command, "--json")).document["schema"] == schema

    with_two(tmp_path, capsys, work)


def test_peers_are_added_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(run: Command, _: Command, __: FakeNode, ___: FakeNode) -> None:
        new = "tcp://192.0.2.9:9651"
        assert (await run("peers", "add", new)).out == f"added {new}\n"
        again = await run("peers", "add", new)
        assert again.code == 1 and again.err.startswith("error: ")
        assert new in (await run("peers")).out
        assert (await run("peers", "remove", new)).code == 0
        assert (await run("peers", "remove", new)).code == 1
        wrong = await run("peers", "add", new, "nonsense")
        assert wrong.code == 2 and "remedy: " in wrong.err
        assert new not in (await run("peers")).out

    with_two(tmp_path, capsys, work)


def test_a_peer_is_changed_by_adding_it_with_other_wishes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(_: Command, run: Command, a: FakeNode, __: FakeNode) -> None:
        assert (await run("peers", "add", f"{a.endpoint}?weight=7&metered")).code == 0
        shown = (await run("peers")).out
        assert "metered, weight 7" in shown and "mycelium" not in shown
        (peer,) = (await run("peers", "--json")).document["peers"]
        assert (peer["endpoint"], peer["weight"], peer["metered"]) == (a.endpoint, 7, True)
        assert (await run("peers", "add", f"{a.endpoint}?weight=7&metered")).code == 1
        assert (await run("peers", "remove", a.endpoint)).code == 0

    with_two(tmp_path, capsys, work)


def test_sessions_and_pins_are_shown_and_pins_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(run: Command, _: Command, __: FakeNode, b: FakeNode) -> None:
        key = b.node.key().public_key
        assert (await run("key", "forget", key)).code == 1
        assert (await run("ping", "-c", "1", b.address)).code == 0
        shown = await run("sessions")
        assert f"{b.address}\tzosnet\t" in shown.out
        assert (await run("sessions", "--json")).document["sessions"][0]["via"] == "relayed"
        assert "sessions\t1 zosnet; 1 nodes pinned" in (await run("status")).out
        assert key in (await run("key", "pins")).out
        assert (await run("key", "forget", key)).out == f"forgotten {key}\n"
        assert (await run("key", "pins", "--json")).document["pins"] == []
        again = await run("key", "forget", key)
        assert again.code == 1 and "is not pinned" in again.err
        assert (await run("key", "forget", key, "nonsense")).code == 2

    with_two(tmp_path, capsys, work)


def test_ping_and_trace_find_the_other_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(run: Command, _: Command, __: FakeNode, b: FakeNode) -> None:
        shown = await run("ping", "-c", "2", "-i", "0.01", b.address)
        assert shown.code == 0 and "2 received, 0 % lost" in shown.out
        lines = (await run("ping", "-c", "1", "--json", b.node.key().public_key)).document
        assert lines["schema"] == "zosnet.probe/1"
        shown = await run("ping", "-c", "1", "-W", "0.02", "400::1")
        assert shown.code == 1 and "timeout" in shown.out
        assert (await run("ping", "192.0.2.1")).code == 2
        shown = await run("trace", b.address)
        assert shown.code == 0 and b.address in shown.out
        shown = await run("trace", "-m", "1", "-W", "0.02", "400::1")
        assert shown.code == 1 and "*" in shown.out

    with_two(tmp_path, capsys, work)


def test_messages_are_sent_received_and_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(on_a: Command, on_b: Command, a: FakeNode, b: FakeNode) -> None:
        assert (await on_b("message", "receive", "--timeout", "0")).code == 1
        sent = await on_a("message", "send", "-t", "news", b.address, "hello")
        got = await on_b("message", "receive", "--timeout", "5", "-t", "news")
        assert sent.out.strip() in got.out and "hello" in got.out and "topic: news" in got.out

        file, other = tmp_path / "in", tmp_path / "out"
        file.write_bytes(b"\x1b[31mred\x00")
        waiting = asyncio.ensure_future(
            on_a("message", "send", "--json", "-w", "--timeout", "9", "--msg-path", str(file), b.address)
        )
        got = await on_b("message", "receive", "--json", "--timeout", "5", "--msg-path", str(other))
        assert other.read_bytes() == file.read_bytes()
        identifier = json.loads(got.out.strip().splitlines()[-1])["id"]
        await on_b("message", "send", "--reply-to", identifier, a.node.key().public_key, "back")
        reply = await waiting
        assert reply.code == 0

        await on_a("message", "send", b.address, "raw")
        assert (await on_b("message", "receive", "--raw", "--timeout", "5")).out == "raw"
        await on_a("message", "send", "--msg-path", str(file), b.address)
        shown = await on_b("message", "receive", "--timeout", "5")
        assert "\x1b" not in shown.out and b"\x1b[31m".hex() in shown.out

    with_two(tmp_path, capsys, work)


def test_a_message_that_nobody_takes_is_the_other_side_s_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(run: Command, _: Command, __: FakeNode, b: FakeNode) -> None:
        lost = await run("message", "send", "--timeout", "0.05", "400::1", "x")
        assert lost.code == 4 and "not acknowledged" in lost.err and "remedy: " in lost.err
        silent = await run("message", "send", "-w", "--timeout", "0.2", b.address, "x")
        assert silent.code == 4 and "no reply" in silent.err
        assert (await run("message", "send", b.address)).code == 2
        missing = await run("message", "send", "--msg-path", str(tmp_path / "none"), b.address)
        assert missing.code == 3
        await run("message", "send", b.address, "for the other")

    with_two(tmp_path, capsys, work)


def test_down_stops_the_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(run: Command, _: Command, a: FakeNode, __: FakeNode) -> None:
        shown = await run("down", "--timeout", "0.1")
        # Nobody here takes the sockets away, as the daemon would.
        assert shown.code == 3 and a.node.stopping.is_set()

    with_two(tmp_path, capsys, work)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["staus"], 2, "did you mean `zosnet status`?"),
        (["xyzzy"], 2, "lists the commands"),
        (["status", "--jsn"], 2, "did you mean --json?"),
        (["--nope"], 2, "--help"),
        (["peers", "remove"], 2, "missing argument"),
        (["peers", "frobnicate"], 2, "no such command"),
        (["ping", "-c", "0", "400::1"], 2, "--count"),
        (["key", "address", "abc"], 2, "not a public key"),
        (["status"], 3, "no node is running"),
        (["ping", "400::1"], 3, "no node is running"),
        (["up", "--tcp-listen-port", "99999"], 2, "port"),
        (["up", "--peers", "http://x"], 2, "http"),
        (["up", "--config", "/nonexistent.toml"], 3, "nonexistent"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert main(["--socket", str(tmp_path / "none"), *arguments]) == code
    shown = capsys.readouterr()
    lines = shown.err.strip().splitlines()
    assert len(lines) == 2 and lines[0].startswith("error: ") and lines[1].startswith("remedy: ")
    assert words in shown.err


def test_a_bug_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("zosnet.cli.client.Client.get", broken)
    assert main(["--socket", "/nowhere", "status"]) == 70
    assert capsys.readouterr().err.splitlines()[0] == "error: this is a bug: RuntimeError: two lines"
    monkeypatch.setenv("ZOSNET_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        main(["--socket", "/nowhere", "status"])


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (ZosnetError("no"), 1)])
def test_other_ends_have_their_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("zosnet.cli.client.Client.get", broken)
    assert main(["status"]) == code


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for word in ("First steps", "doctor", "ZOSNET_SOCKET", "Exit codes", "generate-keys"):
        assert word in shown
    assert main(["up", "--help"]) == 0
    shown = capsys.readouterr().out
    for word in ("--key-file", "--no-tun", "ZOSNET_STATE_DIR", "--config-file"):
        assert word in shown
    assert main(["--version"]) == 0


def test_keys_are_made_shown_and_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "k" / "key"

    def run(*arguments: str) -> Outcome:
        code = main([*arguments, "--key-file", str(path)])
        return Outcome(code, *capsys.readouterr())

    assert run("key").code == 3
    made = run("key", "generate", "--json").document
    assert path.stat().st_mode & 0o777 == 0o600
    assert run("key", "show", "--json").document == made
    assert run("key", "--json").document == made
    assert made["address"] in run("key").out
    again = run("key", "generate")
    assert again.code == 3 and "--force" in again.err
    assert run("generate-keys", "--force").code == 0
    assert run("key", "--json").document["public_key"] != made["public_key"]
    shown = run("inspect", "--json").document
    assert set(shown) == {"publicKey", "address", "schema"}
    secret = path.read_bytes().hex()
    assert all(secret not in run(*command).out for command in (("key",), ("inspect",), ("key", "--json")))


def test_a_truncated_or_open_key_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    assert main(["key", "--key-file", str(path)]) == 3
    assert "5 bytes" in capsys.readouterr().err
    path.write_bytes(bytes(32))
    path.chmod(0o644)
    assert main(["key", "--key-file", str(path)]) == 3
    assert "chmod 600" in capsys.readouterr().err


def test_the_address_of_any_key_is_computed(capsys: pytest.CaptureFixture[str]) -> None:
    public = secret_of(A).public()
    assert main(["key", "address", public.hex]) == 0
    assert capsys.readouterr().out.strip() == str(public.address())
    assert main(["inspect", public.hex]) == 0
    assert str(public.address()) in capsys.readouterr().out
    assert main(["key", "address", "--json", public.hex]) == 0
    assert json.loads(capsys.readouterr().out)["address"] == str(public.address())


def test_without_a_node_the_doctor_looks_at_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "z.toml"
    file.write_text(f'state_dir = "{tmp_path}"\nno_tun = true\n')
    code = main(["--socket", str(tmp_path / "none"), "doctor", "-c", str(file)])
    shown = capsys.readouterr()
    assert code in {0, 1} and "node.not_running" in shown.out


def test_doors_say_what_was_refused_and_what_would_let_it_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(run: Command, on_b: Command, a: FakeNode, b: FakeNode) -> None:
        assert "everything, messages too" in (await run("doors")).out
        assert "doors\topen" in (await run("status")).out
        assert (await run("reload")).code == 0  # the settings of the reload say nothing about doors
        shown = (await run("doors")).out
        assert "nothing unasked, but pings" in shown and "replies only" in shown and "anyone" in shown
        await on_b("message", "send", "--timeout", "0.2", a.address, "hello")
        shown = (await run("doors")).out
        key = b.node.key().public_key
        assert f'{b.address}\tallow_messages = ["key:{key}"]' in shown
        assert "see `zosnet doors`" in (await run("status")).out
        found = (await run("doors", "--json", "--limit", "0")).document
        assert found["refusals"] == [] and found["refused"]["refused_message"] >= 1

    with_two(tmp_path, capsys, work)
