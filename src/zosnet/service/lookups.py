"""Peering asks for the addresses of a peer: they are looked up, and it is told the outcome."""

from __future__ import annotations

from collections.abc import Callable

from zosnet.model.endpoint import Endpoint
from zosnet.model.errors import PeerError
from zosnet.service.peer import Resolve
from zosnet.service.peering import Peering
from zosnet.service.resolver import literal, resolve
from zosnet.service.spawn import Spawn

__all__ = ["Lookups"]


class Lookups:
    """The lookups of one node. `nudge` is called after each outcome, `spawn` runs what takes time."""

    def __init__(
        self,
        peering: Peering,
        *,
        clock: Callable[[], float],
        nudge: Callable[[], None],
        spawn: Spawn,
    ) -> None:
        self._peering = peering
        self._clock = clock
        self._nudge = nudge
        self._spawn = spawn

    def start(self, wanted: Resolve) -> None:
        """Find the addresses; at once where the endpoint names one."""
        endpoint = wanted.endpoint
        address = literal(endpoint)
        if address is not None:
            self._peering.resolved(endpoint, (address,), self._clock())
            self._nudge()
        else:
            self._spawn(self._look_up(endpoint), f"resolve {endpoint.host}")

    async def _look_up(self, endpoint: Endpoint) -> None:
        try:
            addresses = await resolve(endpoint)
        except PeerError as error:
            self._peering.resolve_failed(endpoint, error.message, self._clock())
        else:
            self._peering.resolved(endpoint, addresses, self._clock())
        self._nudge()
