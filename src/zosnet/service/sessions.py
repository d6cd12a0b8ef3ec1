"""Sessions with other nodes: what is shown of them, the pins and their file, and who refuses our suite.

Owns the pins: the data plane reports new ones and is told of forgotten ones, the file follows within a
second. One that can't be written is tried again, and shows among the findings meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from zosnet.babel import Install
from zosnet.babel.rate import Bucket
from zosnet.dataplane.protocol import Dataplane, SessionStats
from zosnet.model.errors import HostError
from zosnet.model.keys import KEY_BYTES, PublicKey
from zosnet.service.spawn import Spawn
from zosnet.service.views import Finding, Pins, PinView, Sessions, SessionView
from zosnet.store.pins import MOST_PINS, save_pins

__all__ = ["SessionKeeper"]

log = logging.getLogger("zosnet.sessions")

SAVE_AFTER, SAVE_AGAIN = 1.0, 60.0
"""Seconds from a new pin to the file, so that many come together; and from a failure to the next try."""

MOST_DOWNGRADED = 256
"""Nodes that refuse our suite are remembered up to this number: only their owners can make more."""

MOST_STARTS = 16_384
"""Of how many nodes the last start is remembered. A guess."""

RENEWALS_PER_SECOND = 20.0
"""After a burst of five seconds' worth. Starts aren't signed, so a neighbour can claim any number of them."""


class SessionKeeper:
    """The sessions of one node. `pins` are those that the file had; without a `path` nothing is written."""

    def __init__(
        self,
        dataplane: Dataplane,
        *,
        pins: dict[bytes, int] | None = None,
        path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = {"pins_refused": 0, "downgraded": 0, "renewed": 0, "renewals_refused": 0}
        self._dataplane = dataplane
        self._pins = dict(pins or {})
        self._path = path
        self._downgraded: dict[bytes, float] = {}
        self._starts: dict[bytes, bytes] = {}
        self._renewals = Bucket(RENEWALS_PER_SECOND, clock())
        self._spawn: Spawn | None = None
        self._is_saving = self._is_dirty = False
        self._trouble: HostError | None = None

    def attach(self, *, spawn: Spawn) -> None:
        """From now on tasks are run by `spawn`."""
        self._spawn = spawn

    # --- what the data plane reports

    def pinned(self, key: bytes) -> None:
        """The node with this key speaks our suite."""
        self._downgraded.pop(key, None)
        if key in self._pins:
            return
        if len(self._pins) >= MOST_PINS:
            self.counters["pins_refused"] += 1
            return
        self._pins[key] = int(time.time())
        log.info("pinned key=%s", key.hex())
        self._save_soon()

    def downgraded(self, key: bytes) -> None:
        """A pinned node speaks only Mycelium's suite."""
        self.counters["downgraded"] += 1
        if key not in self._downgraded:
            log.warning("downgraded key=%s", key.hex())
            if len(self._downgraded) >= MOST_DOWNGRADED:
                del self._downgraded[next(iter(self._downgraded))]
        self._downgraded[key] = time.time()

    def routed(self, routes: Iterable[Install], now: float) -> None:
        """Routes were installed. Where one shows another start of its node, hands are shaken again."""
        for route in routes:
            raw = route.router_id.raw
            key = raw[:KEY_BYTES]
            known = self._starts.get(key)
            if known == raw:
                continue
            if known is None and len(self._starts) >= MOST_STARTS:
                del self._starts[next(iter(self._starts))]
            self._starts[key] = raw
            if known is not None:
                self._renew(key, now)

    def _renew(self, key: bytes, now: float) -> None:
        if self._renewals.take(now):
            self.counters["renewed"] += 1
            self._dataplane.renew_session(key)
        else:
            self.counters["renewals_refused"] += 1

    # --- the pins

    async def forget(self, text: str) -> bool:
        """Hold a node to our suite no longer. False when it was not. Raises UsageError for what is no key.

        Raises HostError when the file can't be written: then the pin is back at the next start.
        """
        key = PublicKey.parse(text).raw
        was_held = self._dataplane.forget_pin(key)
        was_kept = self._pins.pop(key, None) is not None
        self._downgraded.pop(key, None)
        if was_held or was_kept:
            log.info("pin_forgotten key=%s", key.hex())
        if was_kept:
            self._is_dirty = True
            await self._save()
            if self._trouble is not None:
                raise self._trouble
        return was_held or was_kept

    async def close(self) -> None:
        """Write what isn't written yet."""
        if self._is_dirty:
            await self._save()

    def _save_soon(self) -> None:
        self._is_dirty = True
        if self._spawn is not None and not self._is_saving and self._path is not None:
            self._is_saving = True
            self._spawn(self._save_later(), "pins")

    async def _save_later(self) -> None:
        try:
            await asyncio.sleep(SAVE_AFTER)
            while self._is_dirty:
                await self._save()
                if self._is_dirty:
                    await asyncio.sleep(SAVE_AFTER if self._trouble is None else SAVE_AGAIN)
        finally:
            self._is_saving = False

    async def _save(self) -> None:
        if self._path is None:
            self._is_dirty = False
            return
        self._is_dirty = False
        try:
            await asyncio.to_thread(save_pins, self._path, dict(self._pins))
        except HostError as error:
            self._is_dirty = True
            if self._trouble is None:
                log.warning("pins_not_saved reason=%r", error.message)
            self._trouble = error
        else:
            self._trouble = None

    # --- what can be asked

    def stats(self) -> list[SessionStats]:
        """All sessions, as the data plane counts them."""
        return self._dataplane.sessions()

    def sessions(self) -> Sessions:
        """All sessions, those with the most traffic first."""
        found = sorted(self.stats(), key=lambda each: (-each.tx_frames - each.rx_frames, each.key))
        return Sessions([self._view(each) for each in found])

    def _view(self, session: SessionStats) -> SessionView:
        return SessionView(
            public_key=session.key.hex(),
            address=str(PublicKey(session.key).address()),
            suite=session.suite,
            cipher=session.cipher,
            state=session.state,
            age=round(session.age, 3),
            tx_frames=session.tx_frames,
            rx_frames=session.rx_frames,
            via=session.via,
            max_frame=session.max_frame,
            pinned=session.key in self._pins,
        )

    def pins(self) -> Pins:
        """All pins, the oldest first."""
        return Pins(
            [
                PinView(key.hex(), str(PublicKey(key).address()), since, key in self._downgraded)
                for key, since in self._pins.items()
            ]
        )

    @property
    def pin_count(self) -> int:
        """How many nodes are held to our suite."""
        return len(self._pins)

    def _reconsider(self) -> None:
        """A node that made a session of our suite after it was refused is as it was."""
        now = time.time()
        for session in self.stats() if self._downgraded else ():
            refused = self._downgraded.get(session.key)
            ours = session.suite == "zosnet" and session.state == "established"
            if refused is not None and ours and now - session.age > refused:
                del self._downgraded[session.key]

    def findings(self) -> list[Finding]:
        """What an operator should know of sessions."""
        self._reconsider()
        found = [_about_downgrade(key) for key in self._downgraded]
        if self._trouble is not None:
            found.append(Finding("pins.not_saved", "warning", self._trouble.message, self._trouble.remedy))
        if self.counters["pins_refused"]:
            text = f"{MOST_PINS} nodes are pinned, and no more are kept"
            found.append(
                Finding("pins.full", "warning", text, "zosnet key forget those that are gone for good")
            )
        return found


def _about_downgrade(key: bytes) -> Finding:
    public = PublicKey(key)
    return Finding(
        "session.downgraded",
        "warning",
        f"{public.address()} speaks only Mycelium's sessions, though it could do better: it is not heard",
        f"if its operator went back to Mycelium on purpose: zosnet key forget {public.hex}; else ask him",
    )
