"""Routes that are decided and not yet in the data plane, which makes a new table of each batch."""

from __future__ import annotations

from collections.abc import Iterable

from zosnet.babel import Action, Install, Remove, Unreachable
from zosnet.dataplane.protocol import Dataplane
from zosnet.service import route_batch
from zosnet.service.sessions import SessionKeeper

__all__ = ["HeldRoutes"]

# Routes that are held back until all that one event changed are decided, so that they are one batch for the
# data plane, which makes a new table of each. One that packets wait for goes at once, with those before it.
# So many are 0.15 s of one core.
MOST_HELD = 16_384


class HeldRoutes:
    """Holds routes back while more of them are being decided, unless packets wait for one."""

    def __init__(self, dataplane: Dataplane, sessions: SessionKeeper) -> None:
        self._dataplane = dataplane
        self._sessions = sessions
        self._held: list[Install | Unreachable | Remove] = []
        self._is_awaited = False

    def __len__(self) -> int:
        """How many are held."""
        return len(self._held)

    def add(self, actions: Iterable[Action]) -> None:
        """Hold the routes among these actions."""
        routes = [action for action in actions if isinstance(action, Install | Unreachable | Remove)]
        self._held += routes
        self._is_awaited = self._is_awaited or any(map(_is_awaited, routes))

    @property
    def is_urgent(self) -> bool:
        """Whether they should go though others are still being decided."""
        return self._is_awaited or len(self._held) >= MOST_HELD

    def apply(self, now: float) -> None:
        """Hand them to the data plane, and tell the sessions of those that lead somewhere."""
        routes, self._held = self._held, []
        self._is_awaited = False
        if routes:
            self._dataplane.apply_routes(route_batch.pack(routes))
            self._sessions.routed((route for route in routes if isinstance(route, Install)), now)


def _is_awaited(action: Install | Unreachable | Remove) -> bool:
    return isinstance(action, Install) and action.awaited
