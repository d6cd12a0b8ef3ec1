"""Files for transfers, in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from zosnet.lab import Grid, LabError
from zosnet.lab.payload import Payload, fits_in_memory
from zosnet.lab.transfer import Transfer
from zosnet.model.errors import HostError

pytestmark = [pytest.mark.privileged, pytest.mark.slow]

SIZE = 5 << 20


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_payload_goes_over_one_connection_and_arrives_whole(in_memory: bool) -> None:
    before = set(Path("/var/tmp").iterdir())
    with Grid(["a", "b"]) as grid:
        link = grid.link("a", "b")
        sent = Payload(grid["a"], "sent", SIZE, in_memory=in_memory)
        came = Payload(grid["b"], "came", SIZE, in_memory=in_memory)
        digest = sent.fill(SIZE)
        assert digest == sent.digest() != sent.fill(SIZE), "no two are equal"
        transfer = Transfer(grid["a"], sent.path, grid["b"], came.path, link.end("b").ipv6, mbit=200)
        arrived = transfer.finish()
        assert transfer.received() == arrived.size == SIZE
        assert came.digest() == sent.digest()
        assert 0 < arrived.mbit() < 260
        assert arrived.longest_silence(arrived.began) < 1000
        assert arrived.silences(arrived.began, longer_than=1.0) == []
        assert not transfer.is_running
        sent.close()
        came.close()
        sent.close()
    assert set(Path("/var/tmp").iterdir()) == before


def test_a_connection_that_breaks_is_an_error() -> None:
    with Grid(["a", "b"]) as grid:
        link = grid.link("a", "b", rate_mbit=20)
        sent = Payload(grid["a"], "sent", SIZE, in_memory=True)
        sent.fill(SIZE)
        transfer = Transfer(grid["a"], sent.path, grid["b"], "/dev/null", link.end("b").ipv4)
        grid["b"].processes[-1].kill()
        with pytest.raises(LabError, match="done"):
            transfer.finish(within=10)


def test_no_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fits_in_memory(0)
    assert not fits_in_memory(1 << 60)
    with Grid(["a"]) as grid, pytest.raises(HostError, match="room"):
        Payload(grid["a"], "huge", 1 << 60, in_memory=False)


def test_memory_that_nobody_tells_of_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: "MemTotal: 5 kB\n")
    assert not fits_in_memory(1)
