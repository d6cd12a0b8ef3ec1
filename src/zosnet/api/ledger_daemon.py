"""A ledger as a program: an engine, its API on a unix socket, and an orderly end at SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from zosnet.api.ledger import OPERATIONS
from zosnet.api.server import HttpServer, application
from zosnet.api.sockets import listen_unix, remove_unix
from zosnet.ledger.engine.interface import Engine

__all__ = ["SWITCH_S", "serve"]

#: How long a thread may hold the interpreter when another wants it. Measured: see docs/benchmarks.md.
SWITCH_S = 0.00002
#: What the garbage collector looks at again and again is what is new; all of it once in so many seconds.
COLLECT_S = 60.0


def _inode(path: Path) -> int:
    return path.stat().st_ino


async def _collect() -> None:
    while True:
        await asyncio.sleep(COLLECT_S)
        gc.collect()


async def serve(engine: Engine, path: Path, ready: Callable[[], None] = lambda: None) -> None:
    """Serve the engine's API at `path` until a signal comes."""
    # The loop and the threads that make blocks share one interpreter: waiting 5 ms for a turn, Python's usual
    # interval, would be most of what a client waits for.
    sys.setswitchinterval(SWITCH_S)
    # A full collection looks at everything that is cached, which takes as long as several blocks do.
    gc.freeze()
    gc.set_threshold(5000, 20, 1_000_000)
    listener = listen_unix(path)
    inode = _inode(path)
    server = HttpServer(application(OPERATIONS, engine), listener)
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, server.stop)
    try:
        serving = asyncio.create_task(server.serve_until_stopped(), name="api")
        collecting = asyncio.create_task(_collect(), name="garbage")
        await server.accepting.wait()
        ready()
        await serving
        collecting.cancel()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        remove_unix(path, inode)
        listener.close()
