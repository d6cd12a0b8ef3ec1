"""When to look at what again: one heap of timers for everything that has a `timer`.

An item is on the agenda at most once. Asking for a later time than the one it has changes nothing: it is
taken at the earlier time, and whoever takes it looks at what it is due for and puts it back. So refreshing a
route costs no heap operation. Superseded heap slots are swept when they outnumber the live ones, so that
churn can't grow the heap.
"""

from heapq import heapify, heappop, heappush
from math import inf
from typing import Protocol

_SLACK = 1024


class Timed(Protocol):
    """Anything that can be on the agenda. `timer` is the agenda's: infinity while it is not on it."""

    timer: float


class Agenda:
    """A heap of (time, tie, item). Items at the same time come in the order in which they were put."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._tie = 0
        self._live = 0

    def __len__(self) -> int:
        return self._live

    @property
    def slots(self) -> int:
        """Heap slots in use, superseded ones included: at most twice the live ones and a constant."""
        return len(self._heap)

    def put(self, item: Timed, when: float) -> None:
        """Look at `item` at `when`, or earlier if it is already due earlier."""
        if item.timer <= when:
            return
        if item.timer == inf:
            self._live += 1
        item.timer = when
        self._tie += 1
        heappush(self._heap, (when, self._tie, item))
        self._sweep()

    def cancel(self, item: Timed) -> None:
        """Take `item` off."""
        if item.timer != inf:
            item.timer = inf
            self._live -= 1
            self._sweep()

    def take(self, now: float) -> Timed | None:
        """The next item that is due at `now`, off the agenda; None if there is none."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, item = heappop(heap)
            if item.timer == when:
                item.timer = inf
                self._live -= 1
                return item
        return None

    def deadline(self) -> float | None:
        """When the next item is due; None if nothing is."""
        heap = self._heap
        while heap and heap[0][2].timer != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def _sweep(self) -> None:
        if len(self._heap) > 2 * self._live + _SLACK:
            self._heap = [slot for slot in self._heap if slot[2].timer == slot[0]]
            heapify(self._heap)
