"""Peers of the local network: discovery kept as the settings want it, and what it finds told to Peering.

A node without discovery is still a node: what keeps it from working is a finding, and no more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from zosnet.dataplane.protocol import Dataplane
from zosnet.model.endpoint import Endpoint
from zosnet.model.errors import HostError
from zosnet.model.router_id import RouterId
from zosnet.service.discovery import Discovery
from zosnet.service.peering import Peering
from zosnet.service.spawn import Spawn
from zosnet.service.views import Finding
from zosnet.store.settings import Settings

__all__ = ["LocalPeers"]

log = logging.getLogger("zosnet.node")


class LocalPeers:
    """The discovery of one node. `nudge` is called where Peering has something to do, `spawn` runs tasks."""

    def __init__(
        self,
        router_id: RouterId,
        dataplane: Dataplane,
        peering: Peering,
        *,
        clock: Callable[[], float],
        nudge: Callable[[], None],
        spawn: Spawn,
    ) -> None:
        self._router_id = router_id
        self._dataplane = dataplane
        self._peering = peering
        self._clock = clock
        self._nudge = nudge
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None
        self._trouble: HostError | None = None

    def start(self, settings: Settings) -> None:
        """Begin, if these settings want it and there is a TCP port that others could dial."""
        self._trouble = None
        port = self._tcp_port()
        if settings.disable_peer_discovery or port is None:
            return
        try:
            discovery = Discovery(
                self._router_id,
                port,
                port=settings.peer_discovery_port,
                interfaces=settings.peer_discovery_interfaces,
                found=self.found,
            )
        except HostError as error:
            log.warning("discovery_off reason=%r", error.message)
            self._trouble = error
            return
        self._task = self._spawn(discovery.run(), "discovery")

    async def restart(self, settings: Settings) -> None:
        """Go on as these settings want it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self.start(settings)

    def found(self, endpoint: Endpoint, router_id: RouterId) -> None:
        """A beacon named this endpoint."""
        if self._peering.discovered(endpoint, router_id, self._clock()):
            log.info("peer_discovered peer=%s", endpoint)
            self._nudge()

    def findings(self) -> list[Finding]:
        """What keeps it from working."""
        if self._trouble is None:
            return []
        return [Finding("discovery.off", "warning", self._trouble.message, self._trouble.remedy)]

    def _tcp_port(self) -> int | None:
        """The TCP port in use, which may have been chosen by the kernel."""
        for text in self._dataplane.listen_addresses:
            if text.startswith("tcp://"):
                return int(text.rpartition(":")[2])
        return None
