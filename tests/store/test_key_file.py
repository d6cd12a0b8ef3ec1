"""The key on disk: made once, whole or not at all, never for others' eyes."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from zosnet.model import HostError, SecretKey
from zosnet.store import files
from zosnet.store.key_file import create_key, load_key, load_or_create_key

RAW = bytes(range(32))


def put(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_a_key_and_the_next_one_finds_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "zosnet" / "priv_key.bin"
    old = os.umask(0o777 & ~0o700)
    try:
        made = load_or_create_key(path, RAW)
    finally:
        os.umask(old)
    assert path.read_bytes() == made.raw == RAW
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
    assert load_or_create_key(path, bytes(32)).raw == RAW
    assert list(path.parent.iterdir()) == [path], "no draft is left"


def test_a_key_of_mycelium_s_with_more_bytes_is_read(tmp_path: Path) -> None:
    found = load_key(put(tmp_path / "key", RAW + b"more"))
    assert found is not None and found.raw == RAW


def test_no_file_is_no_key(tmp_path: Path) -> None:
    assert load_key(tmp_path / "key") is None


@pytest.mark.parametrize("size", [0, 31])
def test_a_key_cut_short_is_refused_and_kept(tmp_path: Path, size: int) -> None:
    path = put(tmp_path / "key", RAW[:size])
    with pytest.raises(HostError, match=f"{size} bytes") as refused:
        load_or_create_key(path, RAW)
    assert "restore" in refused.value.remedy
    assert path.read_bytes() == RAW[:size]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_may_open_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = put(tmp_path / "key", RAW, mode)
    with pytest.raises(HostError, match=f"{mode:04o}") as refused:
        load_key(path)
    assert refused.value.remedy == f"chmod 600 {path}"
    assert mode_of(path) == mode, "and left as it is"


def test_what_is_no_file_is_no_key_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(HostError):
            load_key(path)
    with pytest.raises(HostError, match="cannot be read"):
        load_key(put(tmp_path / "file", b"") / "key")


def test_a_key_is_only_replaced_when_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert create_key(path, SecretKey(RAW))
    assert not create_key(path, SecretKey(bytes(32)))
    assert path.read_bytes() == RAW
    assert create_key(path, SecretKey(bytes(32)), replace=True)
    assert path.read_bytes() == bytes(32)
    assert mode_of(path) == 0o600


def test_a_link_to_nowhere_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(HostError, match="leads nowhere"):
        load_or_create_key(path, RAW)


def test_starts_at_the_same_moment_agree(tmp_path: Path) -> None:
    found: list[bytes] = []
    starts = [
        threading.Thread(
            target=lambda n=n: found.append(load_or_create_key(tmp_path / "key", bytes([n]) * 32).raw)
        )
        for n in range(8)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert len(found) == 8 and len(set(found)) == 1


@pytest.mark.parametrize("step", ["write", "fsync", "hardlink_to"])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    match step:
        case "write":
            monkeypatch.setattr(files, "_write_new", full)
        case "fsync":
            monkeypatch.setattr(os, "fsync", full)
        case _:
            monkeypatch.setattr(Path, "hardlink_to", full)
    with pytest.raises(HostError, match="No space left") as refused:
        load_or_create_key(tmp_path / "key", RAW)
    assert "make room" in refused.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_read_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    path = put(tmp_path / "key", RAW)
    monkeypatch.setattr(os, "read", broken)
    with pytest.raises(HostError, match="Input/output error"):
        load_key(path)


def test_a_place_that_cannot_be_made_is_said_so() -> None:
    with pytest.raises(HostError):
        create_key(Path("/dev/null/key"), SecretKey(RAW))
