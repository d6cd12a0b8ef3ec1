"""How long good news must last before it is acted on: longer each time that it turned out false.

Bad news is acted on at once, good news only after it was true for `seconds`. If what was then relied on fails
within ten times as long, the next good news has to last twice as long, up to the longest; if it stood, half
as long. So what flaps is left alone more and more: a link that is bad only while we use it, or one with a
loose plug, is returned to a few times within the first minutes and then once in some minutes.
"""

STOOD = 10.0
"""Multiples of `seconds` for which good news must have been true to have been worth acting on. A guess."""


class Hold:
    """The patience with one link."""

    __slots__ = ("_longest", "_shortest", "_since", "seconds")

    def __init__(self, shortest: float, longest: float) -> None:
        self.seconds = shortest
        self._shortest = shortest
        self._longest = longest
        self._since: float | None = None

    def trust(self, now: float) -> None:
        """The news is good, and relied on from now on."""
        self._since = now

    def fail(self, now: float) -> None:
        """The news is bad again."""
        since, self._since = self._since, None
        if since is None:
            return
        if now - since < STOOD * self.seconds:
            self.seconds = min(self._longest, 2 * self.seconds)
        else:
            self.seconds = max(self._shortest, self.seconds / 2)
