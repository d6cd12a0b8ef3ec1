"""How fast to send, and when to send again: one clock and one window for each message.

Stock senders put every chunk on the wire at once and repeat what is unacknowledged after 100 ms, whatever
the path is like. Here the window grows by one chunk for each window acknowledged, and halves at a loss, as
TCP's does; the time-out follows the round trip (RFC 6298), but is never below the 100 ms that stock nodes
are used to.
"""

MIN_TIMEOUT = 0.1
MAX_TIMEOUT = 2.0

#: RFC 6928 lets TCP begin with ten segments; a chunk is about as long.
_FIRST_WINDOW = 10.0
_MIN_WINDOW = 2.0
#: The acknowledgement of something sent twice only bounds the round trip, and is believed up to here.
_MAX_GUESS = 1.0


class Pace:
    """The window, in chunks, and the time-out, in seconds, of one message."""

    def __init__(self, max_window: int) -> None:
        self._max_window = float(max_window)
        self._window = min(_FIRST_WINDOW, self._max_window)
        self._slow_start = True
        self._smoothed: float | None = None
        self._variance = 0.0
        self._doublings = 0
        self._cut_at = float("-inf")

    @property
    def window(self) -> int:
        """How many chunks may be unacknowledged."""
        return int(self._window)

    @property
    def timeout(self) -> float:
        """After how many seconds an unacknowledged packet is sent again."""
        rtt = MIN_TIMEOUT if self._smoothed is None else self._smoothed + 4 * self._variance
        patient = max(MIN_TIMEOUT, rtt) * 2.0**self._doublings
        return min(MAX_TIMEOUT, patient)

    def answered(self, round_trip: float, *, sent_once: bool) -> None:
        """Something was acknowledged `round_trip` seconds after it was (first) sent."""
        self._doublings = 0
        if sent_once:
            self._sample(round_trip)
        elif self._smoothed is None:
            self._sample(min(round_trip, _MAX_GUESS))

    def grow(self) -> None:
        """A chunk was acknowledged."""
        step = 1.0 if self._slow_start else 1.0 / self._window
        self._window = min(self._max_window, self._window + step)

    def lost(self, sent_at: float, now: float) -> None:
        """A packet that left at `sent_at` timed out. One halving for all that was under way at the time."""
        if sent_at <= self._cut_at:
            return
        self._cut_at = now
        self._slow_start = False
        self._window = max(_MIN_WINDOW, self._window / 2)
        self.silent()

    def silent(self) -> None:
        """Nothing came for a whole time-out: be twice as patient."""
        if self.timeout < MAX_TIMEOUT:
            self._doublings += 1

    def _sample(self, round_trip: float) -> None:
        """RFC 6298, section 2."""
        if self._smoothed is None:
            self._smoothed, self._variance = round_trip, round_trip / 2
            return
        self._variance += (abs(self._smoothed - round_trip) - self._variance) / 4
        self._smoothed += (round_trip - self._smoothed) / 8
