"""Telling the service manager how the daemon fares (systemd's `sd_notify` protocol).

A datagram of `KEY=value` lines to the socket named in `NOTIFY_SOCKET`. Without that variable nothing
happens; a manager that doesn't listen is never a reason to fail.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

__all__ = ["notify", "watchdog_interval"]


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `state`, for example `READY=1`. True when a manager took it."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    # A leading @ names the abstract namespace, which the kernel spells with a zero byte.
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)
        manager.sendto(state.encode(), address)
        return True
    return False


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often, in seconds, to send `WATCHDOG=1`: half of what is allowed. None without."""
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 2_000_000 if microseconds > 0 else None
