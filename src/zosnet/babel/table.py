"""The route table: entries by prefix, routes by entry and by neighbour, within the limits."""

from collections.abc import Mapping
from itertools import islice

from zosnet.babel.agenda import Agenda
from zosnet.babel.limits import Limits
from zosnet.babel.neighbour import Neighbour
from zosnet.babel.route import Entry, Route
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Update

LIFETIME_INTERVALS = 3.5
"""A route lives for three and a half of the intervals at which it is announced (RFC 8966, appendix B)."""

SHORTEST_LIFETIME = 10.0
"""Seconds; for neighbours that promise an interval of nothing."""

_EVICTION_TRIES = 16


def lifetime(interval_cs: int) -> float:
    """Seconds that a route lives after an Update with this interval: 1050 for Mycelium's, 2294 at most."""
    return max(SHORTEST_LIFETIME, LIFETIME_INTERVALS * interval_cs / 100)


class RouteTable:
    """Entries and their routes. Decides nothing but who has room."""

    def __init__(self, limits: Limits, agenda: Agenda, neighbours: Mapping[int, Neighbour]) -> None:
        self.entries: dict[Prefix, Entry] = {}
        self.size = 0
        self._limits = limits
        self._agenda = agenda
        self._neighbours = neighbours

    def has_room(self, neighbour: Neighbour) -> bool:
        """Whether `neighbour` may add a route. Below its fair share it may take an unselected one's place."""
        held = len(neighbour.routes)
        if held >= self._limits.routes_per_neighbour:
            return False
        limits = self._limits
        if self.size < limits.routes * (1.0 if neighbour.is_wanted else limits.strangers):
            return True
        fair = held * len(self._neighbours) < self._limits.routes
        return fair and self._evict(neighbour)

    def add(self, neighbour: Neighbour, update: Update, now: float) -> Route:
        """Insert the neighbour's first route for a prefix; `has_room` said yes."""
        prefix = update.prefix
        entry = self.entries.get(prefix)
        if entry is None:
            entry = self.entries[prefix] = Entry(prefix)
        else:
            prefix = entry.prefix
        expires = now + lifetime(update.interval_cs)
        router_id = shared_id(entry, update.router_id)
        route = Route(entry, neighbour, router_id, update, expires)
        entry.routes[neighbour.peer] = route
        neighbour.routes[prefix] = route
        self.size += 1
        self._agenda.put(route, expires)
        return route

    def drop(self, route: Route) -> None:
        """Take a route out. The entry stays, even without routes."""
        self._agenda.cancel(route)
        del route.entry.routes[route.neighbour.peer]
        del route.neighbour.routes[route.entry.prefix]
        self.size -= 1

    def forget(self, entry: Entry) -> None:
        """Take out an entry that has no routes."""
        self._agenda.cancel(entry)
        self.entries.pop(entry.prefix, None)

    def _evict(self, newcomer: Neighbour) -> bool:
        greedy = max(self._neighbours.values(), key=lambda neighbour: len(neighbour.routes))
        if greedy is newcomer:
            return False
        for route in islice(greedy.routes.values(), _EVICTION_TRIES):
            if route is not route.entry.selected and route is not route.entry.backup:
                self.drop(route)
                return True
        return False


def shared_id(entry: Entry, router_id: RouterId) -> RouterId:
    """The same router id as an object that the entry already holds, so that its bytes are kept once."""
    known = entry.router_id
    if known is not None and known.raw == router_id.raw:
        return known
    for route in entry.routes.values():
        if route.router_id.raw == router_id.raw:
            return route.router_id
    return router_id
