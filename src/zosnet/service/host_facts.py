"""What `doctor` looks at on this machine, gathered without judging it."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zosnet.model.errors import ZosnetError
from zosnet.store.key_file import load_key
from zosnet.store.pins import load_pins
from zosnet.store.settings import Settings

__all__ = ["HostFacts", "gather", "taken_ports"]

_CAP_NET_ADMIN = 12
_OVERLAY_ROUTE = "04" + "0" * 30 + " 07"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """This machine, as far as a node needs it."""

    tun_device: bool
    """/dev/net/tun is there and may be opened."""
    net_admin: bool
    """This process may make network devices."""
    ipv6: bool
    overlay_devices: tuple[str, ...]
    """Devices that 400::/7 is routed to."""
    taken: tuple[tuple[str, int], ...]
    """Ports of ours that another program has: option name and number."""
    descriptors: int
    unix_time: float
    key_trouble: tuple[str, str] | None
    """What is wrong with the key file, and the remedy."""
    state_free: int | None
    """Free bytes where the state is kept; None when the place doesn't exist yet."""
    state_writable: bool
    pin_trouble: tuple[str, str] | None = None
    """The same for the file of the pins."""


def gather(settings: Settings, *, running: bool) -> HostFacts:
    """Look around. With a node `running`, its own ports count as free."""
    state = _nearest(settings.state_dir)
    return HostFacts(
        tun_device=os.access("/dev/net/tun", os.R_OK | os.W_OK),
        net_admin=_has_capability(_CAP_NET_ADMIN),
        ipv6=_read(Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")) == "0",
        overlay_devices=_overlay_devices(),
        taken=() if running else taken_ports(settings),
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        unix_time=time.time(),
        key_trouble=_trouble(lambda: load_key(settings.key_path)),
        pin_trouble=_trouble(lambda: load_pins(settings.pins_path)),
        state_free=shutil.disk_usage(state).free if state else None,
        state_writable=state is not None and os.access(state, os.W_OK),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _has_capability(number: int) -> bool:
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _overlay_devices() -> tuple[str, ...]:
    routes = _read(Path("/proc/net/ipv6_route")).splitlines()
    return tuple(sorted({line.split()[-1] for line in routes if line.startswith(_OVERLAY_ROUTE)}))


def taken_ports(settings: Settings) -> tuple[tuple[str, int], ...]:
    """The ports of these settings that somebody else has."""
    wanted = [("tcp_listen_port", settings.tcp_listen_port, socket.SOCK_STREAM)]
    if not settings.disable_quic:
        wanted.append(("quic_listen_port", settings.quic_listen_port, socket.SOCK_DGRAM))
    if not settings.disable_udp:
        wanted.append(("udp_listen_port", settings.udp_listen_port, socket.SOCK_DGRAM))
    return tuple((name, port) for name, port, kind in wanted if port and _is_taken(port, kind))


def _is_taken(port: int, kind: socket.SocketKind) -> bool:
    try:
        with socket.socket(socket.AF_INET6, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("::", port))
    except OSError:
        return True
    return False


def _trouble(load: Callable[[], object]) -> tuple[str, str] | None:
    try:
        load()
    except ZosnetError as error:
        return error.message, error.remedy
    return None


def _nearest(path: Path) -> Path | None:
    """`path`, or the nearest directory above it that exists."""
    with suppress(OSError):
        return next((place for place in (path, *path.parents) if place.is_dir()), None)
    return None
