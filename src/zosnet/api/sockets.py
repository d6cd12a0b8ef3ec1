"""The sockets that the API listens on.

A unix socket left behind by a dead process is replaced; one that somebody answers on means that a node runs
already, and stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from pathlib import Path

from zosnet.model.errors import HostError, UsageError

__all__ = ["listen_tcp", "listen_unix", "program_of", "remove_unix"]

# sun_path has 108 bytes with the final zero (unix(7)).
LONGEST_PATH = 107
BACKLOG = 64
# struct ucred (unix(7)): pid, uid, gid.
CREDENTIALS = struct.Struct("iII")


def listen_unix(path: Path) -> socket.socket:
    """A listening unix socket that only the owner (and for root its group) may use.

    Raises HostError when a node answers on it already, or the directory can't be written.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise UsageError(
            f"the socket's path is longer than {LONGEST_PATH} bytes: {path}",
            remedy="choose a shorter one with --socket or ZOSNET_SOCKET",
        )
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        _clear(path)
        return _bind(path)
    except OSError as error:
        raise HostError(
            f"the API's socket {path} can't be made: {error.strerror}",
            remedy="choose a directory you can write to with --socket or ZOSNET_SOCKET",
        ) from None


def _clear(path: Path) -> None:
    """Take away a dead socket. Raises HostError when it is alive, or no socket at all."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise HostError(
            f"{path} is there and is not a socket", remedy="remove it, or choose another with --socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass
    raise HostError(
        f"a node is already running: it answers on {path}",
        remedy="stop it with `zosnet down`, or give this one its own --socket",
    )


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The umask closes the moment between bind and chmod in which others could connect.
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    path.chmod(0o660 if os.geteuid() == 0 else 0o600)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def remove_unix(path: Path, inode: int) -> None:
    """Take the socket's name away, unless another process has put its own there."""
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()


def program_of(connection: socket.socket) -> str:
    """Who connected to a unix socket, as the kernel noted it then: "process 12", "" where it isn't known.

    Processes of another pid namespace have no number here, so there it is their user.
    """
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    except OSError:  # the client has left
        return ""
    pid, uid, _ = CREDENTIALS.unpack(raw)
    return f"process {pid}" if pid else f"user {uid}"


def listen_tcp(host: str, port: int, what: str) -> socket.socket:
    """A listening TCP socket. Raises HostError, naming `what` wanted it, when the address can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise HostError(
            _trouble(error, host, port, what), remedy=f"choose another address with {what}"
        ) from None
    listener.setblocking(False)
    return listener


def _trouble(error: OSError, host: str, port: int, what: str) -> str:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{what} {where} is taken by another program"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{what} {where} is not an address of this machine"
    return f"{what} {where} can't be used: {error.strerror}"
