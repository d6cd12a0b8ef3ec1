"""Which routes carried packets: told from the data plane to the Speaker, now and then, and before a loss."""

from __future__ import annotations

from zosnet.babel import Speaker
from zosnet.dataplane.protocol import Dataplane
from zosnet.model.prefix import Prefix

__all__ = ["UsedRoutes"]

# How often the routes that carried packets are told to the Speaker, which refreshes them before they expire.
USED_EVERY = 5.0
# Before routes are lost this is told as well, if the last time is so many seconds ago: those in use are
# decided first. Reading it takes 10 ms at 250,000 routes.
USED_AGAIN = 1.0
_RECORD_BYTES = 17


class UsedRoutes:
    """Tells a Speaker of the routes that its data plane used. Seconds are those of the driver's clock."""

    def __init__(self, dataplane: Dataplane, speaker: Speaker) -> None:
        self.deadline = 0.0
        """When `wake` has something to tell."""
        self._dataplane = dataplane
        self._speaker = speaker

    def wake(self, now: float) -> None:
        """Tell of them, if it is time."""
        if now >= self.deadline:
            self._tell(now)

    def prepare_loss(self, now: float) -> None:
        """Routes are about to be lost: tell of those in use, if that was not done just now."""
        if now >= self.deadline - USED_EVERY + USED_AGAIN:
            self._tell(now)

    def _tell(self, now: float) -> None:
        self.deadline = now + USED_EVERY
        packed = self._dataplane.used_routes()
        used = [
            Prefix(int.from_bytes(packed[at : at + 16], "big"), packed[at + 16])
            for at in range(0, len(packed), _RECORD_BYTES)
        ]
        if used:
            self._speaker.route_used(used, now)
