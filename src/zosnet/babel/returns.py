"""Links that were lost, remembered by where they led, so that one that comes back isn't taken for a new one.

A link is known by the key of its node, its kind, and whether this node wanted it. The last because anybody
may open a link and call himself what he likes: going and coming again he makes this node wary of links that
others open, never of those that it opens itself.
"""

from zosnet.babel.hold import Hold
from zosnet.babel.neighbour import Neighbour

REMEMBERED, REMEMBERED_FOR = 1024, 600.0
"""How many lost links are remembered, and for how many seconds."""

_Name = tuple[bytes, str, bool]


class Returns:
    """The patience with links that are not there just now."""

    def __init__(self) -> None:
        self._lost: dict[_Name, tuple[Hold, float]] = {}

    def left(self, neighbour: Neighbour, now: float) -> None:
        """The neighbour is gone."""
        if neighbour.node is None:
            return
        name = (neighbour.node, neighbour.kind, neighbour.is_wanted)
        self._lost.pop(name, None)
        while len(self._lost) >= REMEMBERED:
            del self._lost[next(iter(self._lost))]
        self._lost[name] = (neighbour.hold, now)

    def named(self, neighbour: Neighbour, now: float) -> None:
        """The neighbour said who it is: a link to it that was lost lately is back."""
        if neighbour.node is None:
            return
        hold, lost_at = self._lost.pop((neighbour.node, neighbour.kind, neighbour.is_wanted), (None, now))
        if hold is not None and now - lost_at < REMEMBERED_FOR:
            neighbour.be_fresh(hold, now)
