"""What joins the fake data planes of one test: links in memory, and who listens where."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zosnet.dataplane.events import Busy, DialFailed, Event, Idle, LinkUp, Measured, Resumed, Stalled

if TYPE_CHECKING:
    from zosnet.lab.fake_dataplane import FakeDataplane

__all__ = ["Ether", "FakeLink"]


@dataclass(slots=True, eq=False)
class FakeLink:
    """One link: its number, its end at each of two data planes, and what is wrong with it."""

    proto: str
    ends: tuple[tuple[FakeDataplane, int], tuple[FakeDataplane, int]]
    since: float
    cut: bool = False
    """Whatever is sent is lost, and nobody is told."""
    stats: dict[FakeDataplane, list[int]] = field(default_factory=dict)

    def other(self, plane: FakeDataplane, number: int) -> tuple[FakeDataplane, int]:
        """The far end as seen from `plane`, where this is link `number`, and its number there."""
        near, far = self.ends
        return far if near == (plane, number) else near

    def break_down(self, reason: str = "connection reset") -> None:
        """Both ends lose the link and hear of it."""
        for plane, number in self.ends:
            plane.lose(number, reason)

    def stall(self) -> None:
        """Both ends notice that nothing comes through."""
        self._tell(Stalled)

    def resume(self) -> None:
        """Both ends notice that it works again."""
        self._tell(Resumed)

    def busy(self, is_busy: bool) -> None:
        """Both ends notice that data flows, or no longer does."""
        self._tell(Busy if is_busy else Idle)

    def measure(self, rtt: float | None, loss: float | None) -> None:
        """Both ends measured it."""
        for plane, number in self.ends:
            plane.report(Measured(number, rtt, loss, plane.now()))

    def _tell(self, event: Callable[[int, float], Event]) -> None:
        for plane, number in self.ends:
            plane.report(event(number, plane.now()))


class Ether:
    """What joins the data planes of one test. `rtt` is what every link shows, in seconds."""

    def __init__(self, *, rtt: float = 0.001, clock: Callable[[], float] = time.monotonic) -> None:
        self.rtt = rtt
        self.clock = clock
        self.links: list[FakeLink] = []
        self._listeners: dict[tuple[str, str, int], FakeDataplane] = {}

    def listen(self, proto: str, ip: str, port: int, plane: FakeDataplane) -> None:
        """Make `plane` answer there. Raises OSError as the real one does for a port that is taken."""
        if (proto, ip, port) in self._listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._listeners[proto, ip, port] = plane

    def leave(self, plane: FakeDataplane) -> None:
        """Break every link of `plane` and forget where it listens."""
        for link in list(self.links):
            if any(end is plane for end, _ in link.ends):
                link.break_down("connection closed")
        self._listeners = {at: who for at, who in self._listeners.items() if who is not plane}

    def connect(  # noqa: PLR0917
        self, dialler: FakeDataplane, token: int, proto: str, ip: str, port: int, key: bytes | None = None
    ) -> None:
        """Make a link, or tell the dialler why not."""
        listener = self._listeners.get((proto, ip, port))
        if listener is None:
            dialler.report(DialFailed(token, errno.ECONNREFUSED, "connection refused"))
            return
        keys = (listener.key, dialler.key) if proto == "udp" else (None, None)
        if key is not None and key != keys[0]:
            dialler.report(DialFailed(token, 0, "the node there has another key"))
            return
        numbers = dialler.next_link(), listener.next_link()
        link = FakeLink(proto, ((dialler, numbers[0]), (listener, numbers[1])), self.clock())
        self.links.append(link)
        source = next(dialler.source_ports)
        dialler.gain(
            numbers[0], link, LinkUp(numbers[0], token, proto, dialler.ip, ip, port, self.clock(), keys[0])
        )
        listener.gain(
            numbers[1],
            link,
            LinkUp(numbers[1], None, proto, f"{ip}:{port}", dialler.ip, source, self.clock(), keys[1]),
        )

    def between(self, one: FakeDataplane, other: FakeDataplane) -> list[FakeLink]:
        """The links between two data planes."""
        return [link for link in self.links if {end for end, _ in link.ends} == {one, other}]
