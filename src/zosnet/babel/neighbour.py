"""A neighbour: one link to another node, how far away it is, and whether it still answers.

Its life:
    up ── 43 s without IHU, or the link's end ──> gone
    stalled: the data plane sends and hears nothing. No route uses it; what has no other route is retracted.
    fresh: it was stalled or gone, and is back. It is a backup and the only route's link at once, but routes
        that work don't return to it before it was well for a while (`Hold`).
    suspect: busy, and a Hello stays unanswered. Its routes cost PENALTY more, so they are the last resort.
    doubted: it is quiet, and a link beside it, on the same path, has stalled. What was lost with that one
        doesn't move here if there is another way.
The data plane ends a stall; an IHU ends suspicion and doubt. Suspicion is mild on purpose: a stock node that
waits in its own queues answers late without being gone.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zosnet.babel.cost import LONGEST_HOLD, SHORTEST_HOLD, LinkCost
from zosnet.babel.hold import Hold
from zosnet.babel.metric import INFINITY, LARGEST
from zosnet.babel.rate import Bucket
from zosnet.babel.seqno import next_after
from zosnet.model.endpoint import MOST_WEIGHT
from zosnet.model.prefix import Prefix
from zosnet.wire.babel import Hello, Ihu

if TYPE_CHECKING:
    from zosnet.babel.route import Entry, Route

IDLE_INTERVAL, BUSY_INTERVAL = 20.0, 0.5
"""Seconds between Hellos. 20 is Mycelium's; faster ones are answered all the same, 16 bytes each way."""

FIRST_HELLOS = (0.1, 0.4, 1.0, 1.8)
"""Seconds after the first Hello at which more follow, so that the median is one after two seconds."""

DEAD_AFTER = 43.0
"""Seconds without IHU after which a neighbour is gone. As Mycelium's."""

MISSED_HELLOS = 4
"""Busy intervals, and multiples of the slowest answer yet, for which an unanswered Hello is no suspicion."""

PENALTY = 0x2000
"""What being suspect costs.

More than any path across the planet, little enough that two of them still add up.
"""

METERED = 0x1000
"""What a metered link costs beside everything else: more than most paths that aren't, and less than PENALTY.

So other nodes go round it where they can, and 15 such links still add up to a finite metric. An IHU with a
cost from here to PENALTY, from a node of our own kind, says that its end is metered: then so is ours.

That is believed at once, its end when it was said for as long as a lower cost must last (`LinkCost`). Each
change has all routes over the link decided again: who says both by turns is believed less and less often.
"""

SHORTEST_RETURN, LONGEST_RETURN = 5.0, 300.0
"""Seconds for which a link that failed must be well before routes return to it, at first and at most.

Guesses: a TCP connection that was moved has recovered within some round trips, and what fails every few
seconds for minutes is better left alone.
"""

OUTSTANDING = 5.0
"""Seconds for which no further Hello follows one that is unanswered.

An answer must belong to the last Hello.
"""


class Neighbour:
    """State of one link. `cost` is what routes are judged by; INFINITY while stalled or gone."""

    __slots__ = (
        "_asked_at",
        "_far_hold",
        "_first",
        "_free_at",
        "_next_hello",
        "_slowest",
        "answers",
        "cost",
        "dump",
        "dumped_at",
        "far_metered",
        "fresh_until",
        "gone",
        "has_spoken",
        "heard_at",
        "hello_due",
        "hidden",
        "hold",
        "ihu_due",
        "is_busy",
        "is_doubted",
        "is_fresh",
        "is_ours",
        "is_spared",
        "is_stalled",
        "is_suspect",
        "is_wanted",
        "kind",
        "link",
        "metered",
        "node",
        "peer",
        "place",
        "requests",
        "routes",
        "seqno",
        "seqno_requests",
        "since",
        "timer",
        "weight",
    )

    def __init__(
        self,
        peer: int,
        static_cost: int,
        requests: Bucket,
        seqno_requests: Bucket,
        now: float,
        *,
        wanted: bool = True,
        kind: str = "",
        place: str = "",
    ) -> None:
        self.peer = peer
        self.place = place
        """Where the other end is, such as its IP address: links to one place are taken to share a path."""
        self.hidden = 0
        """What losses add that this link doesn't show, but one beside it does: see `siblings`."""
        self.kind = kind
        """What carries the link, such as "udp"."""
        self.node: bytes | None = None
        """The key of the node at its other end, once it named itself."""
        self.is_wanted = wanted
        self.weight = 0
        """What the operator adds to its cost."""
        self.metered = self.far_metered = False
        """Whether the operator of this end, or of the other, pays for what it carries."""
        self.timer = float("inf")
        self.link = LinkCost(static_cost)
        self.cost = self.link.total
        self.routes: dict[Prefix, Route] = {}
        self.requests = requests
        self.seqno_requests = seqno_requests
        self.answers: dict[Prefix, None] = {}
        self.dump: Iterator[Entry] | None = None
        self.dumped_at = float("-inf")
        self.seqno = 0
        self.since = self.heard_at = now
        self.hello_due = self.ihu_due = False
        self.has_spoken = False
        """Whether it has said anything that shows it to speak Babel."""
        self.is_ours = self.is_busy = self.is_stalled = self.is_suspect = self.gone = False
        self.is_doubted = False
        """Whether a link beside it fell silent since it was heard: see `siblings`."""
        self.is_spared = False
        """Whether nothing goes over it that has another way: it is metered, or suspect."""
        self.is_fresh = False
        self.fresh_until = 0.0
        self.hold = Hold(SHORTEST_RETURN, LONGEST_RETURN)
        self._asked_at: float | None = None
        self._next_hello = now
        self._first = iter(FIRST_HELLOS)
        self._slowest = 0.0
        self._far_hold = Hold(SHORTEST_HOLD, LONGEST_HOLD)
        self._free_at = float("inf")
        """When `far_metered` ends, if the other end says nothing else until then."""

    # Hello out, IHU in

    def take_hello(self, now: float) -> Hello:
        """The Hello that is due; from now on its answer is awaited."""
        self.hello_due = False
        if self._asked_at is None:
            self._asked_at = now
        hello = Hello(self.seqno)
        self.seqno = next_after(self.seqno)
        return hello

    def take_ihu(self) -> Ihu:
        """The answer to its Hellos, with what this end thinks of the link; not what it heard of the other.

        The cost is cut below METERED, so that what is added to it is told apart.
        """
        self.ihu_due = False
        own = min(METERED - 1, self.link.total + self.weight)
        return Ihu(INFINITY if self.is_stalled else own + METERED if self.metered else own)

    def receive_ihu(self, rx_cost: int, rtt: float | None, now: float) -> bool:
        """It answers.

        Whether its routes must be decided again; `deadline` may have changed. An IHU that answers no Hello of
        ours is a sign of life, no sample.
        """
        self._hear_metered(self.is_ours and METERED <= rx_cost < PENALTY, now)
        self.heard_at = now
        asked_at, self._asked_at = self._asked_at, None
        if asked_at is not None:
            self._slowest = max(now - asked_at, 0.9 * self._slowest)
            self.link.sample(now - asked_at if rtt is None else rtt, now)
        trusted, self.is_doubted = self.is_doubted, False
        self.is_suspect = False
        return self._recost() or trusted

    def measure(self, rtt: float | None, loss: float | None, now: float) -> bool:
        """The data plane measured the link. Whether `cost` changed."""
        self.link.measure(rtt, loss, now)
        return self._recost()

    def hide(self, lost: int) -> bool:
        """What the losses on its path are worth, as another link there found out. Whether `cost` changed."""
        self.hidden = lost
        return self._recost()

    def weigh(self, weight: int, metered: bool) -> bool:
        """What the operator wants of it. Whether `cost` changed."""
        self.weight, self.metered = min(max(weight, 0), MOST_WEIGHT), metered
        return self._recost()

    # timers

    def wake(self, now: float) -> bool:
        """Time passed: a Hello may be due, or suspicion, or it is fresh no longer, or its end not metered.

        Whether its routes must be decided again.
        """
        settled = self.is_fresh and now >= self.fresh_until
        self.is_fresh = self.is_fresh and not settled
        if now >= self._free_at:
            self.far_metered, self._free_at = False, float("inf")
            self._far_hold.trust(now)
            settled = self._recost() or settled
        if now >= self._next_hello:
            waiting = self._asked_at is not None and now - self._asked_at < OUTSTANDING
            self.hello_due = self.hello_due or not waiting
            self._next_hello = self._after(now)
        if not self.is_suspect and now >= self._suspicion():
            self.is_suspect = True
            return self._recost() or settled
        return settled

    def is_dead(self, now: float) -> bool:
        """Whether it has been silent for too long to be there."""
        return now >= self.heard_at + DEAD_AFTER

    def deadline(self) -> float:
        """When `wake` or `is_dead` has something new to say."""
        suspicion = float("inf") if self.is_suspect else self._suspicion()
        settling = self.fresh_until if self.is_fresh else float("inf")
        return min(self._next_hello, self.heard_at + DEAD_AFTER, suspicion, settling, self._free_at)

    def _hear_metered(self, metered: bool, now: float) -> None:
        """What its end says of itself."""
        if metered:
            self._free_at = float("inf")
            if not self.far_metered:
                self.far_metered = True
                self._far_hold.fail(now)
        elif self.far_metered and self._free_at == float("inf"):
            self._free_at = now + self._far_hold.seconds

    def _after(self, now: float) -> float:
        first = next((self.since + offset for offset in self._first if self.since + offset > now), None)
        periodic = now + (BUSY_INTERVAL if self.is_busy else IDLE_INTERVAL)
        return periodic if first is None else min(first, periodic)

    def _suspicion(self) -> float:
        if self._asked_at is None or not self.is_busy:
            return float("inf")
        return self._asked_at + MISSED_HELLOS * max(BUSY_INTERVAL, self._slowest)

    # what the data plane says

    def set_busy(self, busy: bool, now: float) -> None:
        """Data flows over the link, or no longer: sample often while it does."""
        self.is_busy = self.link.is_busy = busy
        if busy:
            self._next_hello = min(self._next_hello, now + BUSY_INTERVAL)
            if self._asked_at is not None:  # an idle link's lost Hello is no evidence about a busy one
                self._asked_at = None

    def set_stalled(self, stalled: bool, now: float) -> bool:
        """The link is silent though data is sent, or no longer so. Whether `cost` changed."""
        if self.is_stalled == stalled:
            return False
        self.is_stalled = stalled
        if stalled:
            self.hold.fail(now)
            self.is_fresh = False
        else:
            self.be_fresh(self.hold, now)
        return self._recost()

    def doubt(self) -> bool:
        """A link beside it fell silent: ask at once, whatever it was asked before. Whether that is news.

        Not if it is busy: then the data plane notices its silence by itself, and as soon.
        """
        if self.gone or self.is_stalled or self.is_busy or self.is_doubted:
            return False
        self.is_doubted = self.hello_due = True
        return True

    def be_fresh(self, hold: Hold, now: float) -> None:
        """It is back after a failure; `hold` knows how often that happened."""
        self.hold = hold
        self.hold.trust(now)
        self.is_fresh = True
        self.fresh_until = now + hold.seconds

    def leave(self, now: float) -> None:
        """It is gone: nothing may use its routes."""
        self.gone = True
        if not self.is_stalled:
            self.hold.fail(now)
        self._recost()

    def _recost(self) -> bool:
        before = self.cost, self.is_spared
        self.is_spared = self.metered or self.far_metered or self.is_suspect
        if self.gone or self.is_stalled:
            self.cost = INFINITY
        else:
            extra = self.weight + self.hidden
            if self.metered or self.far_metered:
                extra += METERED
            if self.is_suspect:
                extra += PENALTY
            self.cost = min(LARGEST, self.link.total + extra)
        return (self.cost, self.is_spared) != before
