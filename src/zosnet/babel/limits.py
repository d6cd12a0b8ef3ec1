"""Bounds on everything that a neighbour could make grow. Defaults suit a public node of 256 MB."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a Speaker holds at most.

    What doesn't fit is refused and counted; nobody's selected route is evicted.
    """

    neighbours: int = 256
    """Links at once. One more is disconnected at once."""

    routes: int = 250_000
    """Routes of all neighbours together, about 400 bytes each.

    When it is reached, a neighbour below its fair share (routes / neighbours) takes the place of an
    unselected route of the neighbour that has most.
    """

    strangers: float = 0.75
    """The share of routes and sources beyond which only neighbours that this node wanted add more.

    Links are a stranger's for the asking, and so are keys: otherwise one could keep out all others.
    """

    routes_per_neighbour: int = 50_000
    """Routes of one neighbour: the size of the largest network we can follow through one link."""

    sources: int = 250_000
    """Feasibility distances.

    They outlive routes by 30 minutes, and idle ones by a minute when space is short.
    """

    sources_per_neighbour: int = 100_000
    """Feasibility distances that one neighbour's routes brought about."""

    sources_per_prefix: int = 8
    """Incarnations of one originator that are remembered; the one longest unused makes way for one more."""

    queries: int = 4096
    """Route requests in progress, our own included."""

    queries_per_neighbour: int = 512
    """Route requests in progress that one neighbour asked for."""

    requests_per_second: int = 200
    """Route requests a second that a neighbour may make, after a burst of five seconds' worth."""

    passed_requests_per_second: int = 200
    """Route requests a second that all neighbours together make this node pass on, each to all others.

    After a burst of five seconds' worth.
    """

    needs_per_second: int = 200
    """The same for routes that packets need, which may be packets of others on their way through."""

    seqno_requests: int = 32_768
    """Seqno requests on record, each for 15 s. One neighbour's are never more than are still free."""

    seqno_requests_per_second: int = 1000
    """Seqno requests a second that a neighbour may make, after a burst of five seconds' worth.

    A neighbour that loses a path with 10,000 routes needs one for each whose backup isn't feasible.
    """

    answers_per_neighbour: int = 4096
    """Updates promised to one neighbour alone and not yet sent. A dump of the whole table isn't counted."""

    slice: int = 1024
    """Prefixes decided, and Updates sent, in one `poll`: about 10 ms of one core."""
