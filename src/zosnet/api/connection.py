"""One HTTP connection that its client can't hold for ever.

uvicorn closes connections that idle between two requests. It has no limit for a request that comes in
slowly or never, nor for an answer that nobody reads, and beyond its number of connections it refuses
everybody: a few hundred silent ones would shut all others out. Here each of those has its time, and in a full
house the connection that waits for its client, and whose time is up first, makes room for a new one.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from zosnet.api.sockets import program_of

__all__ = ["Connection", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may keep waiting, in seconds, and how many connections there are. All are guesses."""

    header_s: float = 10.0
    """From the connection, or the first byte of a further request, to the end of the request's header."""
    body_s: float = 60.0
    """From there to the end of its body, of at most 16 MiB."""
    reading_s: float = 60.0
    """Until the client has read what was sent to it."""
    idle_s: int = 30
    """Between two requests."""
    connections: int = 256
    """Open at once, for each listening socket."""

    @property
    def waiting(self) -> int:
        """Requests at once that wait for something to happen: a quarter of the connections is for others."""
        return self.connections * 3 // 4

    @property
    def waiting_each(self) -> int:
        """Of one remote address, or of one local program."""
        return self.waiting * 3 // 4


class Connection(H11Protocol):
    """See the module. `limits` are those of its server."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits = limits
        self._stage: Any = None
        self._request_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None
        self._is_cut = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's, which knows clients by their address. The first request's time begins."""
        super().connection_made(transport)
        ours = transport.get_extra_info("socket")
        if self.client is None and ours.family == socket.AF_UNIX and (program := program_of(ours)):
            self.client = program, 0
        # So that `pause_writing` tells of every byte that isn't read.
        transport.set_write_buffer_limits(high=0)
        self._follow()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """As uvicorn's."""
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        """As uvicorn's, which times the pause until the next request.

        Of that one, all or some may be there already.
        """
        super().on_response_complete()
        if self.conn.their_state is not h11.IDLE:
            self._follow()

    def pause_writing(self) -> None:
        """The client doesn't read fast enough."""
        super().pause_writing()
        self._reading_timer = self.loop.call_later(self.limits.reading_s, self.cut)

    def resume_writing(self) -> None:
        """It has read everything."""
        super().resume_writing()
        _cancel(self._reading_timer)
        self._reading_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's. Nothing is due any more."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        _cancel(self._request_timer, self._reading_timer)
        self._request_timer = self._reading_timer = None

    def cut(self) -> None:
        """End the connection, whatever is still to be sent."""
        self._is_cut = True
        self.transport.abort()

    def ends(self) -> float | None:
        """When it is closed if the client does nothing; None while the client waits for this node."""
        timers = (self._request_timer, self._reading_timer, self.timeout_keep_alive_task)
        return min((timer.when() for timer in timers if timer is not None), default=None)

    def _follow(self) -> None:
        """Time what the client is about to send: a header, a body, or nothing before it has its answer."""
        stage = self.conn.their_state
        if stage is self._stage:
            return
        self._stage = stage
        _cancel(self._request_timer)
        self._request_timer = None
        limit = {h11.IDLE: self.limits.header_s, h11.SEND_BODY: self.limits.body_s}.get(stage)
        if limit is not None:
            self._request_timer = self.loop.call_later(limit, self.cut)

    def _make_room(self) -> None:
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        open_now = [other for other in others if not other._is_cut]
        if len(open_now) < self.limits.connections:
            return
        waiting = [(ends, other) for other in open_now if (ends := other.ends()) is not None]
        _, victim = min(waiting, key=lambda each: each[0], default=(0.0, self))
        victim.cut()


def _cancel(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()
