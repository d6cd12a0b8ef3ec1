"""A ledger as a program: an engine, its API on a unix socket, and an orderly end at SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from zosnet.api.ledger import OPERATIONS
from zosnet.api.server import HttpServer, application
from zosnet.api.sockets import listen_unix, remove_unix
from zosnet.ledger.engine.interface import Engine

__all__ = ["SWITCH_S", "serve"]

SWITCH_S = 0.0001


def _inode(path: Path) -> int:
    return path.stat().st_ino


async def serve(engine: Engine, path: Path, ready: Callable[[], None] = lambda: None) -> None:
    """Serve the engine's API at `path` until a signal comes."""
    # The loop and the thread that makes blocks share one interpreter: waiting 5 ms for a turn, Python's usual
    # interval, would be most of what a client waits for.
    sys.setswitchinterval(SWITCH_S)
    listener = listen_unix(path)
    inode = _inode(path)
    server = HttpServer(application(OPERATIONS, engine), listener)
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, server.stop)
    try:
        serving = asyncio.create_task(server.serve_until_stopped(), name="api")
        await server.accepting.wait()
        ready()
        await serving
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        remove_unix(path, inode)
        listener.close()
