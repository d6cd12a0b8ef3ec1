"""A route: what one neighbour says about a prefix. An entry: all routes of one prefix, and the choice."""

from typing import TYPE_CHECKING

from zosnet.babel.metric import INFINITY, plus
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Update

if TYPE_CHECKING:
    from zosnet.babel.neighbour import Neighbour


IN_USE = 15.0
"""Seconds for which a route counts as in use after the last word of it, which comes every 5 s."""


class Route:
    """One neighbour's finite route. A retracted one isn't kept: the entry remembers that there was one."""

    __slots__ = ("entry", "expires", "metric", "neighbour", "router_id", "seqno", "timer")

    def __init__(
        self, entry: "Entry", neighbour: "Neighbour", router_id: RouterId, update: Update, expires: float
    ) -> None:
        self.entry = entry
        self.neighbour = neighbour
        self.router_id = router_id
        self.seqno = update.seqno
        self.metric = update.metric
        """As the neighbour advertised it, without the cost of the link to it."""
        self.expires = expires
        self.timer = float("inf")

    @property
    def is_originated(self) -> bool:
        """Whether the neighbour announces the prefix as its own: others add the cost of a link, never 0."""
        return self.metric == 0

    @property
    def total(self) -> int:
        """The metric with the cost of the link."""
        return plus(self.metric, self.neighbour.cost)


class Entry:
    """All that is known about one prefix.

    `router_id` is that of the selected route, or of the last one there was while its loss is held; `former`
    are the router ids which it succeeded: nobody goes back to them as long as this entry lasts.
    `announced` is the metric that all neighbours were told last, INFINITY if none or a retraction.
    """

    __slots__ = (
        "announced",
        "announced_id",
        "attempts",
        "backup",
        "dirty",
        "flood",
        "former",
        "hold_until",
        "installed",
        "prefix",
        "refreshed_at",
        "retry_at",
        "router_id",
        "routes",
        "selected",
        "spread",
        "timer",
        "used_at",
    )

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix
        self.routes: dict[int, Route] = {}
        self.selected: Route | None = None
        self.backup: Route | None = None
        self.router_id: RouterId | None = None
        self.former: tuple[bytes, ...] = ()
        self.spread = False
        """Whether flows are spread over the selected route and the backup."""
        self.installed: tuple[int, int | None, bytes, bool, bool, bool] | None = None
        """What the data plane was told: (next hop, backup, router id, spread, originates, backup originates);
        next hop 0: `Unreachable`."""
        self.announced = INFINITY
        self.announced_id: bytes = b""
        self.dirty = self.flood = False
        """Whether it waits to be decided again; to be announced to all."""
        self.hold_until = 0.0
        self.attempts = 0
        """How often a newer seqno was asked for since it was last needed; 0 if it isn't."""
        self.retry_at = float("inf")
        self.refreshed_at = float("-inf")
        """When its routes were last asked for again because they are used."""
        self.used_at = float("-inf")
        """When packets were last known to have taken its route."""
        self.timer = float("inf")

    def is_in_use(self, now: float) -> bool:
        """Whether packets take its route, so that they wait while there is none."""
        return now - self.used_at <= IN_USE
