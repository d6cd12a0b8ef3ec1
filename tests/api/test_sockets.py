"""The API's sockets: a dead one is replaced, a living one is left alone."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from zosnet.api.sockets import LONGEST_PATH, listen_tcp, listen_unix, remove_unix
from zosnet.model.errors import HostError, UsageError


def test_only_the_owner_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "run" / "api.sock"
    with listen_unix(path) as listener:
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
        remove_unix(path, path.stat().st_ino + 1)
        assert path.exists() and listener.fileno() > 0
        remove_unix(path, path.stat().st_ino)
        assert not path.exists()


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listen_unix(path).close()


def test_a_living_socket_means_that_a_node_runs(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with listen_unix(path), pytest.raises(HostError, match="already running") as caught:
        listen_unix(path)
    assert "zosnet down" in caught.value.remedy


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("mine")
    with pytest.raises(HostError, match="not a socket"):
        listen_unix(path)
    assert path.read_text() == "mine"


def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="longer"):
        listen_unix(tmp_path / ("x" * LONGEST_PATH))
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="can't be made"):
        listen_unix(tmp_path / "file" / "api.sock")
    with pytest.raises(HostError, match="can't be made"):
        listen_unix(Path("/proc/nowhere/api.sock"))


def test_a_tcp_address_that_is_taken_or_foreign_is_named() -> None:
    with listen_tcp("127.0.0.1", 0, "--api-addr") as first:
        port = first.getsockname()[1]
        with pytest.raises(HostError, match=r"--api-addr 127\.0\.0\.1:\d+ is taken"):
            listen_tcp("127.0.0.1", port, "--api-addr")
    with pytest.raises(HostError, match="not an address of this machine"):
        listen_tcp("2001:db8::1", 80, "--api-addr")


def test_a_port_without_permission_is_named() -> None:
    nobody = 65534
    became = os.geteuid() == 0
    if became:
        os.seteuid(nobody)  # root may bind any port, and loses that with its effective user id
    try:
        with pytest.raises(HostError, match="can't be used"):
            listen_tcp("127.0.0.1", 1, "--api-addr")
    finally:
        if became:
            os.seteuid(0)
