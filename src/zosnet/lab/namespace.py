"""A network namespace without a name, held open by a process that dies with the lab.

Nothing is put into /run/netns and no file is made anywhere: a holder process stands in its own network and
mount namespaces and waits. Others join through /proc/PID/ns. The kernel sends the holder SIGKILL when the lab
ends, however it ends, and with the last process the namespaces go, and with them the interfaces, the veth's
other ends, the nftables rules, and the files, which lie on a tmpfs inside the mount namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from zosnet.lab.process import environment, guarded, start
from zosnet.model.errors import HostError

T = TypeVar("T")

INSIDE = "/dev/shm"
"""Where a host's own files are, seen from inside: a tmpfs of its own over a directory every Linux has, and
over which no source tree or virtual environment is likely to lie."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

# `devconf_inherit_init_net` lets IPv4 settings of the machine leak in, so forwarding is switched off, not
# assumed.
_SETUP = f"""
set -e
mount -t sysfs sysfs /sys
mount -t tmpfs -o size=90%,mode=0755 tmpfs {INSIDE}
cp /etc/hosts {INSIDE}/hosts.base
: > {INSIDE}/resolv.conf
cp {INSIDE}/hosts.base {INSIDE}/hosts
mount --bind {INSIDE}/hosts /etc/hosts
[ ! -e /etc/resolv.conf ] || mount --bind {INSIDE}/resolv.conf /etc/resolv.conf
echo 0 > /proc/sys/net/ipv4/ip_forward
if [ -d /proc/sys/net/ipv6 ]; then
    for each in all default; do
        cd /proc/sys/net/ipv6/conf/$each
        echo 0 > forwarding; echo 0 > accept_dad; echo 0 > accept_ra; echo 1 > keep_addr_on_down
    done
    cd /
fi
ip link set lo up
echo ready
exec cat
"""

_NEEDED = ("ip", "nft", "tc", "nsenter", "unshare", "setpriv")


def check_machine() -> None:
    """Whether this machine can hold a lab. Raises HostError with what is missing."""
    if os.geteuid() != 0:
        raise HostError(
            "a lab makes network namespaces, which needs root", remedy="run it as root, or with sudo"
        )
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        raise HostError(
            f"a lab needs {', '.join(missing)}", remedy="apt-get install iproute2 nftables util-linux"
        )


class Namespace:
    """One holder: its network namespace, its mount namespace and its files."""

    def __init__(self, lab: str) -> None:
        self.lab = lab
        self._holder = start(
            guarded(
                ["unshare", "--net", "--mount", "--propagation", "private", "--", "sh", "-c", _SETUP], "/"
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(lab),
            start_new_session=True,
        )
        assert self._holder.stdout is not None and self._holder.stderr is not None
        if self._holder.stdout.readline() != b"ready\n":
            said = self._holder.stderr.read().decode(errors="replace").strip()
            self.close()
            raise HostError(
                f"this machine does not give the lab a network namespace: {said}",
                remedy="run it as root outside of a restricted container (CAP_SYS_ADMIN and CAP_NET_ADMIN)",
            )
        self.inode = Path(f"/proc/{self.pid}/ns/net").stat().st_ino
        self.files = Path(f"/proc/{self.pid}/root{INSIDE}")
        """The host's own directory, seen from the lab; from inside it is `INSIDE`."""

    @property
    def pid(self) -> int:
        return self._holder.pid

    def entered(self, argv: Sequence[str], directory: str = INSIDE) -> list[str]:
        """`argv`, to be run inside."""
        at = f"/proc/{self.pid}/ns"
        return ["nsenter", f"--net={at}/net", f"--mount={at}/mnt", "--", *guarded(argv, directory)]

    def call(self, action: Callable[[], T]) -> T:
        """Run `action` in this process but on a thread inside the network namespace.

        Only the network namespace changes, and only for that thread. A socket made there stays in it.
        """
        result: list[T] = []
        failure: list[BaseException] = []

        def inside() -> None:
            try:
                _enter(self.pid)
                result.append(action())
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=inside, name="lab-inside")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return result[0]

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of the lab's own process that lives in this namespace."""
        return self.call(lambda: socket.socket(family, kind, protocol))

    def close(self) -> None:
        """Let the holder go. What the kernel keeps in the namespace goes with the last process inside."""
        self._holder.kill()
        self._holder.wait(10)
        for pipe in (self._holder.stdin, self._holder.stdout, self._holder.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _enter(pid: int) -> None:
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
