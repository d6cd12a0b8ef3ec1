"""The pins on disk: whole or not at all, and never mistaken for none."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import HostError
from zosnet.store import pins
from zosnet.store.pins import load_pins, save_pins

KEYS = {bytes([number]) * 32: 1_764_264_000 + number for number in range(3)}
GOOD = {"version": 1, "pins": {key.hex(): since for key, since in KEYS.items()}}


def put(path: Path, document: object, mode: int = 0o600) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(mode)
    return path


def test_what_is_saved_is_loaded_oldest_first_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "pins.json"
    save_pins(path, dict(reversed(KEYS.items())))
    assert list(load_pins(path).items()) == list(KEYS.items())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    save_pins(path, {})
    assert load_pins(path) == {}
    assert list(path.parent.iterdir()) == [path], "no draft is left"


def test_no_file_is_no_pins(tmp_path: Path) -> None:
    assert load_pins(tmp_path / "pins.json") == {}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "not JSON"),
        (json.dumps(GOOD)[:-9], "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "version"),
        ({"pins": {}}, "version"),
        (GOOD | {"version": 2}, "its version is 2, this zosnet knows 1"),
        ({"version": 1}, "no pins"),
        (GOOD | {"pins": []}, "no pins"),
        (GOOD | {"pins": {"00": 1}}, "not a public key"),
        (GOOD | {"pins": {"00" * 32: "then"}}, "not a time"),
        (GOOD | {"pins": {"00" * 32: True}}, "not a time"),
    ],
)
def test_what_makes_no_sense_is_an_error_with_the_remedy_and_stays(
    tmp_path: Path, document: object, reason: str
) -> None:
    path = put(tmp_path / "pins.json", document)
    before = path.read_bytes()
    with pytest.raises(HostError, match=reason) as refused:
        load_pins(path)
    assert str(path) in refused.value.message and "remove it" in refused.value.remedy
    assert path.read_bytes() == before


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "pins.json", GOOD)
    monkeypatch.setattr(pins, "MOST_PINS", 2)
    with pytest.raises(HostError, match="more than 2"):
        load_pins(path)
    monkeypatch.setattr(pins, "_MAX_BYTES", 100)
    with pytest.raises(HostError, match="too large"):
        load_pins(path)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = put(tmp_path / "pins.json", GOOD, mode)
    with pytest.raises(HostError, match=f"{mode:04o}") as refused:
        load_pins(path)
    assert "chmod 600" in refused.value.remedy


def test_what_cannot_be_read_or_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(HostError):
        load_pins(tmp_path)
    file = put(tmp_path / "file", "")
    with pytest.raises(HostError, match="cannot be read"):
        load_pins(file / "pins.json")
    with pytest.raises(HostError, match="cannot be written"):
        save_pins(file / "pins.json", KEYS)


@given(st.binary(max_size=200))
def test_any_bytes_are_pins_or_a_host_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-pins.json"
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        load_pins(path)
    except HostError as error:
        assert error.remedy
