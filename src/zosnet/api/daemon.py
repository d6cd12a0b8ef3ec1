"""The running daemon: one node and its servers in one task group, signals, and the order of the end.

    listen ─ data plane ─ node ─ servers accept ─ READY=1 ... signal ─ servers stop ─ node finishes

SIGTERM and SIGINT stop it cleanly, a second one at once; SIGHUP reads the settings again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from zosnet.api.local import OPERATIONS
from zosnet.api.mycelium import MYCELIUM_OPERATIONS
from zosnet.api.operation import Operation
from zosnet.api.server import HttpServer, application, guarded
from zosnet.api.sockets import listen_tcp, listen_unix, remove_unix
from zosnet.model.errors import ZosnetError
from zosnet.service.node import Node
from zosnet.service.notify import notify, watchdog_interval
from zosnet.store.settings import Settings

__all__ = ["EXIT_FORCED", "Listeners", "run"]

log = logging.getLogger("zosnet.daemon")

# 128 + SIGTERM: what a shell reports for a process that the signal killed.
EXIT_FORCED = 143


class Listeners:
    """The sockets of the daemon, opened first, so that a second daemon fails before it does harm."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.socket
        self.unix = listen_unix(settings.socket)
        self._inode = settings.socket.stat().st_ino
        self.mycelium: socket.socket | None = None
        self.metrics: socket.socket | None = None
        try:
            if settings.api_addr is not None:
                self.mycelium = listen_tcp(settings.api_addr.host, settings.api_addr.port, "--api-addr")
            if settings.metrics_api_address is not None:
                address = settings.metrics_api_address
                self.metrics = listen_tcp(address.host, address.port, "--metrics-api-address")
        except ZosnetError:
            self.close()
            raise

    def close(self) -> None:
        """Give the sockets back. May be called twice."""
        remove_unix(self.path, self._inode)
        for listener in (self.unix, self.mycelium, self.metrics):
            if listener is not None:
                listener.close()


def _servers(node: Node, listeners: Listeners) -> list[HttpServer]:
    found = [HttpServer(application(OPERATIONS, node), listeners.unix)]
    if listeners.mycelium is not None:
        found.append(HttpServer(guarded(application(MYCELIUM_OPERATIONS, node)), listeners.mycelium))
    if listeners.metrics is not None:
        found.append(HttpServer(guarded(application(_only("/metrics"), node)), listeners.metrics))
    return found


def _only(path: str) -> tuple[Operation, ...]:
    return tuple(operation for operation in OPERATIONS if operation.path == path)


async def run(make_node: Callable[[], Node], listeners: Listeners) -> None:
    """Run the node until it is stopped. Raises what `make_node` does, and the node's own failure."""
    try:
        node = make_node()
        async with asyncio.TaskGroup() as group, _signals(node, group, listeners):
            servers = _servers(node, listeners)
            node.start(group)
            serving = [group.create_task(server.serve_until_stopped(), name="api") for server in servers]
            for server in servers:
                await server.accepting.wait()
            watchdog = group.create_task(_watch(), name="watchdog")
            notify("READY=1")
            log.info("ready socket=%s address=%s", listeners.path, node.key().address)
            await node.stopping.wait()
            notify("STOPPING=1")
            watchdog.cancel()
            node.messages.close()
            for server in servers:
                server.stop()
            await asyncio.wait(serving, timeout=3.0)
            await node.finish()
    finally:
        listeners.close()
    if node.failure is not None:
        raise node.failure


async def _watch() -> None:
    """Tell the service manager's watchdog that the loop turns."""
    interval = watchdog_interval()
    while interval is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)


@contextlib.asynccontextmanager
async def _signals(node: Node, group: asyncio.TaskGroup, listeners: Listeners) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        if node.stopping.is_set():
            log.warning("forced signal=%s", name)
            remove_socket_and_exit(listeners)
        node.stop(name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    loop.add_signal_handler(signal.SIGHUP, lambda: group.create_task(_reload(node), name="reload"))
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


def remove_socket_and_exit(listeners: Listeners) -> None:
    """End at once. The kernel takes device and links away; the socket's name we take ourselves.

    Ours, not that of the settings: after a reload those may name another node's.
    """
    listeners.close()
    os._exit(EXIT_FORCED)


async def _reload(node: Node) -> None:
    notify("RELOADING=1")
    # The node has logged what is wrong, and `status` shows it.
    with contextlib.suppress(ZosnetError):
        await node.reload()
    notify("READY=1")


def serve(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` in an event loop of its own; a single failure comes out of its group as itself."""
    try:
        asyncio.run(main)
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
