"""What a node's own clients have submitted, from its arrival to its receipt.

    submit ─→ [small | large: turns] ─ portion ─→ judged ─→ sent: in CometBFT's mempool ─ settle ─→ receipts

Submissions of a few transactions, for which somebody waits, and those of many have turns of their own, and so
few of the many are in the mempool at a time that a block is soon carried out: what waits here costs the other
operators nothing. Where somebody waits for a short block (`is_hurried`) they are fewer still, and after a
portion with refusals the many rest for a while: a flood of wrong signatures takes a part of a core, not all.

No I/O and no locks: for one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable

from zosnet.ledger.comet.envelope import MOST_AWAITED
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.engine.turns import Envelope, Turns, Waiting
from zosnet.model.errors import ZosnetError

__all__ = ["Front"]

#: In the mempool at a time: of the small ones; of the large ones, and while somebody waits. Measured, see
#: docs/benchmarks.md: more of the large ones makes blocks longer, fewer makes blocks emptier.
MOST_SMALL, MOST_LARGE, MOST_HURRIED = 200, 400, 24
#: Judged at a time, so that a look at who else has come is never far, and the largest fit into an envelope.
PORTION, PORTION_HURRIED = 60, 8
#: So many times as long as a portion has taken the large ones rest, while somebody waits, where not all of it
#: was good.
REST = 3.0

BUSY = Receipt(bytes(32), "busy", "too many transactions are pending: send it again, a little later")


class Front:
    """Submissions under way. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lanes = Turns(), Turns()  # small, large
        self._lane = 0
        self._sent: dict[bytes, list[Waiting]] = {}
        self._sent_large: set[bytes] = set()
        self._since: dict[Envelope, float] = {}
        self._rest_until = 0.0

    def __len__(self) -> int:
        """Transactions that have no receipt yet."""
        return len(self._lanes[0]) + len(self._lanes[1]) + len(self._sent)

    def submit(self, raws: list[bytes]) -> tuple[Envelope, list[Waiting]]:
        """One more submission, and whoever had to make room for it: theirs is `BUSY`."""
        envelope = Envelope(len(raws))
        self._since[envelope] = self._clock()
        return envelope, self._lanes[len(raws) > MOST_AWAITED].add(envelope, raws)

    def portion(self, is_hurried: bool) -> list[Waiting]:
        """Whose turn it is to be judged; empty where nobody's is. All of them are small, or all large."""
        for _ in self._lanes:
            self._lane = 1 - self._lane
            room = self._room(is_hurried)
            found = [one for _ in range(room) if (one := self._lanes[self._lane].take()) is not None]
            if found:
                return found
        return []

    def _room(self, is_hurried: bool) -> int:
        if self._lane == 0:
            return min(MOST_AWAITED, MOST_SMALL - len(self._sent) + len(self._sent_large))
        if is_hurried and self._clock() < self._rest_until:
            return 0
        most, portion = (MOST_HURRIED, PORTION_HURRIED) if is_hurried else (MOST_LARGE, PORTION)
        return min(portion, most - len(self._sent_large))

    def rest(self) -> float:
        """Seconds until the large ones' turn may come again though nothing else happens."""
        return max(0.0, self._rest_until - self._clock()) if self._lanes[1] else 0.0

    def judged(self, portion: list[Waiting], early: list[Waiting], refused: int, took_s: float) -> None:
        """A portion was judged, and so many of it refused. What was `early` waits for another turn."""
        lane = self._lanes[self._lane]
        later = set(map(id, early))
        for one in portion:
            if id(one) not in later:
                lane.decided(one)
        for one in reversed(early):
            lane.put_back(one)
        if (refused or early) and self._lane == 1:
            self._rest_until = self._clock() + REST * took_s

    @property
    def is_awaited(self) -> bool:
        """Whether the portion under way is of small submissions."""
        return self._lane == 0

    def is_first(self, one: Waiting) -> bool:
        """Whether nothing that came before it, and names the same account, waits to be judged."""
        return self._lanes[self._lane].is_first(one)

    def send(self, copy: bytes, one: Waiting) -> bool:
        """It is to wait for a block, known by all its bytes; False where the same bytes do already."""
        found = self._sent.setdefault(copy, [])
        found.append(one)
        if self._lane == 1:
            self._sent_large.add(copy)
        return len(found) == 1

    def unsend(self, copy: bytes) -> bool:
        """It is not to wait for a block yet. False where it is settled by now: another operator had it."""
        self._sent_large.discard(copy)
        return self._sent.pop(copy, None) is not None

    def settle(self, copy: bytes, receipt: Receipt) -> None:
        """A block has it, or it is refused."""
        self._sent_large.discard(copy)
        for one in self._sent.pop(copy, ()):
            one.envelope.settle(one.index, receipt)

    def give_up(self, error: ZosnetError, older_than_s: float = 0.0) -> None:
        """Nobody knows what becomes of what has waited for so long."""
        limit = self._clock() - older_than_s
        for envelope in [each for each, since in self._since.items() if since <= limit or each.future.done()]:
            envelope.fail(error)
            del self._since[envelope]
        for copy, waiting in list(self._sent.items()):
            if all(one.envelope.future.done() for one in waiting):
                del self._sent[copy]
                self._sent_large.discard(copy)
