"""Following a ledger: believe what its operators signed and what a proof shows, and know how old it is.

A follower starts from the genesis (whose hash is the chain's id), or from a height and hash that its owner
trusts. It takes header after header, each naming the one before; where it was away for long it leaps, as a
light client does, to a later header that more than 2/3 of the same operators signed. Two headers of one
height mean that an operator lies: from then on nothing is believed.

An engine makes a block at least every 5 s. A newest header older than 15 s is stale, which `is_stale` tells;
what was proven is still served for a day, but a name never past its own grace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from zosnet.ledger.client.transport import Transport
from zosnet.ledger.comet.signed import trouble_after, trouble_of
from zosnet.ledger.encoding import Malformed, decode
from zosnet.ledger.engine.interface import Answer, Event
from zosnet.ledger.genesis import DAY_MS, Genesis
from zosnet.ledger.header import Header, SignedHeader
from zosnet.ledger.records import NameRecord, kind_of, name_key
from zosnet.ledger.tree import verify
from zosnet.model.errors import HostError, PeerError

__all__ = ["Follower", "Known", "Pin", "TooOld", "at_pin"]

STALE_MS = 15_000
LONGEST_MS = DAY_MS
#: While roots change, what was proven is proven anew this often, lest a change be kept from us.
PROVE_AGAIN_MS = 10_000
#: A follower that is further behind leaps. 1000 headers take about 0.2 s to check.
LONGEST_WALK = 1000
MOST_ASKED = 500


class TooOld(HostError):
    """What is known is too old to be served."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A header that its owner trusts."""

    height: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """A record (None: there is none), and the time of the header that it was proven by."""

    record: Any
    time_ms: int


def at_pin(way: Transport, pin: Pin) -> SignedHeader:
    """The trusted header, as the ledger there has it.

    Raises:
        PeerError: it has another one of that height, or isn't there yet: one operator may be behind another.
    """
    found = next(iter(way.headers(pin.height, 1)), None)
    if found is None or found.header.height != pin.height:
        raise PeerError(
            f"the ledger there has no block {pin.height} yet",
            remedy="ask again in some seconds, or another operator",
        )
    if found.header.hash != pin.hash:
        raise PeerError(
            f"block {pin.height} there is not the one that is trusted", remedy="don't trust this ledger"
        )
    return found


class Follower:
    """A verified copy of the records that are watched. Not for several threads at once."""

    def __init__(
        self,
        transport: Transport,
        chain: bytes | None = None,
        *,
        pin: Pin | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        stale_ms: int = STALE_MS,
        longest_ms: int = LONGEST_MS,
    ) -> None:
        self.transport = transport
        self.genesis: Genesis = transport.genesis()
        if chain is not None and self.genesis.chain != chain:
            raise PeerError("the ledger there is another one", remedy="ask the right one, or trust this one")
        self._clock = clock
        self._stale_ms, self._longest_ms = stale_ms, longest_ms
        self._pin = pin
        self._lie = ""
        self.newest: Header | None = None
        self._known: dict[bytes, Known] = {}
        self._watched: dict[bytes, None] = {}
        self._proven_root = b""
        self._proven_ms = 0
        self.leaps = 0

    # Headers.

    def catch_up(self) -> Header:
        """Take all headers there are. Raises PeerError for one that can't be right."""
        if self.newest is None and self._pin is not None:
            self._start_from(self._pin)
        while True:
            start = 1 if self.newest is None else self.newest.height + 1
            found = self.transport.headers(start, LONGEST_WALK)
            for each in found:
                self.take(each)
            if len(found) < LONGEST_WALK:
                break
            self._leap()
        if self.newest is None:
            raise PeerError("the ledger has no block yet")
        if self.newest.time_ms > self._clock() + self._stale_ms:
            raise PeerError("the newest header is from the future", remedy="compare the clocks")
        return self.newest

    def take(self, signed: SignedHeader) -> None:
        """Take a header: the next one, or one that is known already."""
        self._stay_honest()
        header, newest = signed.header, self.newest
        if newest is not None and header.height <= newest.height:
            if header.height == newest.height and header != newest and not trouble_of(self.genesis, signed):
                self._lie = f"there are two signed headers of height {header.height}"
                self._stay_honest()
            return
        if trouble := trouble_after(self.genesis, newest, signed):
            raise PeerError(f"header {header.height} is wrong: {trouble}", remedy="don't trust this ledger")
        self.newest = header

    def _stay_honest(self) -> None:
        if self._lie:
            raise PeerError(f"the ledger's operator lies: {self._lie}", remedy="don't trust this ledger")

    def _start_from(self, pin: Pin) -> None:
        found = at_pin(self.transport, pin)
        if trouble := trouble_of(self.genesis, found):
            raise PeerError(f"header {pin.height} is wrong: {trouble}")
        self.newest = found.header

    def _leap(self) -> None:
        """Skip what is between: the operators never change, so their word for a later header is as good."""
        answer = self.transport.query([])
        signed, newest = answer.header, self.newest
        assert newest is not None
        if signed.header.height <= newest.height + LONGEST_WALK:
            return
        if signed.header.time_ms <= newest.time_ms:
            raise PeerError("the newest header is older than an earlier one")
        if trouble := trouble_of(self.genesis, signed):
            raise PeerError(f"header {signed.header.height} is wrong: {trouble}")
        self.newest = signed.header
        self.leaps += 1

    @property
    def age_ms(self) -> int:
        """The age of the newest header."""
        return self._clock() - self.newest.time_ms if self.newest else self._clock()

    @property
    def is_stale(self) -> bool:
        """Whether a block should have come since: the ledger is frozen, or out of reach."""
        return self.age_ms > self._stale_ms

    # Records.

    def ask(self, keys: Iterable[bytes]) -> dict[bytes, Any]:
        """Records as of now, verified. Raises PeerError where a proof fails."""
        wanted, found = list(keys), {}
        for start in range(0, len(wanted), MOST_ASKED):
            part = wanted[start : start + MOST_ASKED]
            answer = self.transport.query(part)
            found.update(self._believe(part, answer))
        return found

    def _believe(self, keys: list[bytes], answer: Answer) -> dict[bytes, Any]:
        header = answer.header.header
        if self.newest is None or header.height > self.newest.height:
            self.catch_up()
        newest = self.newest
        assert newest is not None
        if header != newest:
            if trouble := trouble_of(self.genesis, answer.header):
                raise PeerError(f"header {header.height} is wrong: {trouble}")
            self.take(answer.header)
        if self._clock() - header.time_ms > self._stale_ms and header.height < newest.height:
            raise PeerError("the answer is older than what is known")
        if [item.key for item in answer.items] != keys:
            raise PeerError("the answer is to another question")
        found: dict[bytes, Any] = {}
        for item in answer.items:
            if not verify(header.root, item.key, item.value, item.proof):
                raise PeerError("a proof is wrong", remedy="don't trust this ledger")
            found[item.key] = _record(item.key, item.value)
        return found

    # A copy of what is watched.

    def watch(self, keys: Iterable[bytes]) -> None:
        """Keep these records from now on."""
        new = [key for key in keys if key not in self._watched]
        self._watched.update(dict.fromkeys(new))
        if self.newest is not None:
            self._learn(new)

    def hear(self, event: Event) -> None:
        """A block came: take its header, and what changed of what is watched."""
        newest = self.newest
        if newest is None or event.header.header.height > newest.height + 1:
            self.catch_up()
        self.take(event.header)
        assert self.newest is not None
        if self.newest.root == self._proven_root:
            self._proven_ms = self.newest.time_ms  # the same root proves the same records
            return
        if self.newest.time_ms - self._proven_ms >= PROVE_AGAIN_MS or not self._proven_root:
            self._learn(list(self._watched))
            self._proven_root, self._proven_ms = self.newest.root, self.newest.time_ms
        else:
            self._learn([key for key in event.changed if key in self._watched])

    def _learn(self, keys: list[bytes]) -> None:
        if keys:
            found = self.ask(keys)
            assert self.newest is not None
            self._known.update({key: Known(record, self.newest.time_ms) for key, record in found.items()})

    def known(self, key: bytes) -> Any:
        """A watched record. Raises TooOld where the ledger has been silent for too long."""
        self._stay_honest()
        if self.age_ms > self._longest_ms:
            raise TooOld(f"the ledger has been silent for {self.age_ms // 3_600_000} hours")
        if key not in self._known:
            raise TooOld("the record has not been proven yet")
        return self._known[key].record

    def name(self, name: str) -> NameRecord | None:
        """A watched name, while it is served: never past its own grace, whatever the ledger said last."""
        record: NameRecord | None = self.known(name_key(name))
        newest = self.newest.time_ms if self.newest else 0
        now = max(self._clock(), newest)
        if record is None or not record.is_served(now, self.genesis.parameters):
            return None
        return record

    def follow(self, until: Callable[[], bool]) -> None:
        """Hear of blocks until `until` says so, asked at each, or the other side is gone (NoLedger)."""
        self.catch_up()
        self._learn(list(self._watched))
        assert self.newest is not None
        self._proven_root, self._proven_ms = self.newest.root, self.newest.time_ms
        for event in self.transport.events(self._stale_ms / 1000):
            if event is not None:
                self.hear(event)
            if until():
                return


def _record(key: bytes, value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return decode(kind_of(key), value)
    except (KeyError, Malformed):
        raise PeerError("a record is malformed", remedy="use a newer zosnet") from None
