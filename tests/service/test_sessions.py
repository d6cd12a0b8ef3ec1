"""Sessions as a node sees them: pins that outlive it, refusals that show, starts that are followed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest
from tests.service.nodes import A, B, reaches

from zosnet.babel import ORDERED_ZONE, SESSION_ZONE, Install
from zosnet.dataplane.events import Downgraded, Pinned
from zosnet.dataplane.protocol import SessionStats
from zosnet.lab.fake_dataplane import Ether, FakeDataplane
from zosnet.lab.fake_node import FakeNode, fake_node, secret_of, until
from zosnet.model.errors import HostError, UsageError
from zosnet.model.router_id import RouterId
from zosnet.service import sessions
from zosnet.service.launch import launcher
from zosnet.service.sessions import SessionKeeper
from zosnet.service.views import PingRequest
from zosnet.store.pins import load_pins
from zosnet.store.settings import Settings

KEY_B = secret_of(B).public()


def at(ip: str) -> str:
    return f"udp://{ip}"


def udp(port: int = 9652) -> dict[str, int]:
    return {"tcp": 9651, "udp": port}


async def ping(node: FakeNode, other: FakeNode) -> str:
    (line,) = [line async for line in node.node.ping(PingRequest(other.address, count=1, timeout=0.2))]
    return line.outcome


def codes(node: FakeNode) -> set[str]:
    return {finding.code for finding in node.node.status().findings}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SAVE_AFTER", 0.01)
    monkeypatch.setattr(sessions, "SAVE_AGAIN", 0.01)


def test_a_session_and_its_suite_show_and_the_pin_is_on_disk_within_a_moment(tmp_path: Path) -> None:
    async def main() -> None:
        ether = Ether()
        async with (
            fake_node(ether, A, ports=udp(), state_dir=tmp_path, pins={}) as a,
            fake_node(ether, B, at(A), ports=udp()) as b,
        ):
            await until(lambda: reaches(a, b) and reaches(b, a))
            assert await ping(a, b) == "reply"
            (session,) = a.node.sessions.sessions().sessions
            assert (session.address, session.suite, session.via) == (b.address, "zosnet", "direct")
            await until(lambda: a.node.sessions.pins().pins)
            assert a.node.sessions.sessions().sessions[0].pinned
            status = a.node.status()
            assert (status.sessions, status.pins) == ({"zosnet": 1}, 1)
            assert a.node.peers().peers[0].suite == "zosnet"
            await until(lambda: KEY_B.raw in load_pins(tmp_path / "pins.json"))
            shown = a.node.metrics().decode()
            assert 'zosnet_sessions{state="established",suite="zosnet",via="direct"} 1.0' in shown
            assert "zosnet_pins 1.0" in shown

    asyncio.run(main())


def test_a_pin_that_came_just_before_the_end_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SAVE_AFTER", 3600.0)

    async def main() -> None:
        async with fake_node(Ether(), A, state_dir=tmp_path, pins={}) as a:
            a.plane.report(Pinned(KEY_B.raw, 0.0))
            await until(lambda: a.node.sessions.pin_count)

    asyncio.run(main())
    assert list(load_pins(tmp_path / "pins.json")) == [KEY_B.raw]


def test_a_node_that_went_back_to_mycelium_shows_until_it_is_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        ether = Ether()
        async with (
            fake_node(ether, A, state_dir=tmp_path, pins={KEY_B.raw: 7}) as a,
            fake_node(ether, B, f"tcp://{A}:9651", no_session_suite=True) as b,
        ):
            await until(lambda: reaches(a, b))
            assert await ping(a, b) == "timeout"
            await until(lambda: "session.downgraded" in codes(a))
            (finding,) = [f for f in a.node.status().findings if f.code == "session.downgraded"]
            assert b.address in finding.text and f"zosnet key forget {KEY_B.hex}" in finding.remedy
            assert "session.downgraded" in {f.code for f in (await a.node.doctor()).findings}
            assert [pin.downgraded for pin in a.node.sessions.pins().pins] == [True]
            assert await a.node.sessions.forget(KEY_B.hex)
            assert load_pins(tmp_path / "pins.json") == {}
            assert "session.downgraded" not in codes(a)
            assert await ping(a, b) == "reply"
            assert a.node.sessions.sessions().sessions[0].suite == "mycelium"
            assert not await a.node.sessions.forget(KEY_B.hex)
            with pytest.raises(UsageError):
                await a.node.sessions.forget("nonsense")

    asyncio.run(main())


def test_a_node_that_speaks_our_suite_again_is_no_finding_any_more() -> None:
    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            a.plane.report(Downgraded(KEY_B.raw, 0.0))
            await until(lambda: "session.downgraded" in codes(a))
            a.plane.report(Pinned(KEY_B.raw, 1.0))
            await until(lambda: "session.downgraded" not in codes(a))

    asyncio.run(main())


def test_a_session_made_after_a_refusal_ends_the_finding_and_one_made_before_does_not() -> None:
    class Plane(FakeDataplane):
        age = 100.0

        def sessions(self) -> list[SessionStats]:
            return [SessionStats(KEY_B.raw, "zosnet", "x", "established", self.age, 1, 1, "direct", None)]

    plane = Plane(Ether(), secret_of(A), A)
    keeper = SessionKeeper(plane)
    keeper.downgraded(KEY_B.raw)
    assert [finding.code for finding in keeper.findings()] == ["session.downgraded"]
    plane.age = -1.0
    assert keeper.findings() == []


def test_a_start_with_pins_that_make_no_sense_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text("{")
    settings = Settings(state_dir=tmp_path, no_tun=True)
    with pytest.raises(HostError, match="can't be used") as refused:
        launcher(settings, lambda: settings)()
    assert "remove it" in refused.value.remedy


def test_pins_that_cannot_be_written_are_a_finding_and_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        state = tmp_path / "state"
        state.write_text("no directory")
        async with fake_node(Ether(), A, state_dir=state, pins={}) as a:
            a.plane.report(Pinned(KEY_B.raw, 0.0))
            await until(lambda: "pins.not_saved" in codes(a))
            with pytest.raises(HostError, match="cannot be written"):
                await a.node.sessions.forget(KEY_B.hex)
            a.plane.report(Pinned(KEY_B.raw, 0.0))
            state.unlink()
            await until(lambda: (state / "pins.json").exists())
            await until(lambda: "pins.not_saved" not in codes(a))

    asyncio.run(main())


def test_the_number_of_pins_is_bounded_and_that_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(sessions, "MOST_PINS", 3)
        async with fake_node(Ether(), A) as a:
            for number in range(5):
                a.plane.report(Pinned(bytes([number]) * 32, 0.0))
            await until(lambda: "pins.full" in codes(a))
            held = [pin.public_key for pin in a.node.sessions.pins().pins]
            assert held == [f"{number:02x}" * 32 for number in range(3)], "new ones push out none"

    asyncio.run(main())


def test_refusals_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_DOWNGRADED", 3)
    keeper = SessionKeeper(FakeDataplane(Ether(), secret_of(A), A))
    for number in range(10):
        keeper.downgraded(bytes([number]) * 32)
    assert len(keeper.findings()) == 3
    assert keeper.counters["downgraded"] == 10


def test_hands_are_shaken_again_with_a_node_that_started_anew_but_not_at_any_rate() -> None:
    plane = FakeDataplane(Ether(), secret_of(A), A)
    keeper = SessionKeeper(plane, clock=lambda: 0.0)
    rng = Random(1)

    def route(zone: int = ORDERED_ZONE | SESSION_ZONE) -> Install:
        return Install(KEY_B.subnet(), RouterId.of(KEY_B, zone, rng.randbytes(6)), 1, None, 10)

    first = route()
    keeper.routed([first, first], 0.0)
    assert plane.renewed == []
    keeper.routed([route()], 0.0)
    assert plane.renewed == [KEY_B.raw]
    keeper.routed([route() for _ in range(1000)], 0.0)
    assert len(plane.renewed) == 100
    assert keeper.counters["renewals_refused"] == 901
    assert keeper.counters["renewed"] == 100


def test_a_peer_s_restart_reaches_the_data_plane() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a:
            for _ in range(2):
                async with fake_node(ether, B, f"tcp://{A}:9651") as b:
                    await until(lambda: reaches(a, b))
                await until(lambda: not reaches(a, b))
            assert a.plane.renewed == [KEY_B.raw]

    asyncio.run(main())


def test_memory_of_starts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_STARTS", 10)
    keeper = SessionKeeper(FakeDataplane(Ether(), secret_of(A), A))
    for number in range(100):
        key = secret_of(str(number)).public()
        keeper.routed([Install(key.subnet(), RouterId.of(key, 0, bytes(6)), 1, None, 1)], 0.0)
    assert len(keeper._starts) == 10
