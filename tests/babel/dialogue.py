"""A protocol test written as the dialogue it is: `>>` happens to the speaker, `<<` is what it must then do.

What is expected must come in that order; what comes in between is passed over, except by `Silent`, after
which nothing may be left but Hellos and IHUs. A mismatch shows what was said instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from zosnet.babel import Action, Limits, Send, Speaker
from zosnet.model.keys import PublicKey
from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import INFINITY, Hello, Ihu, SeqnoRequest, Tlv, Update

KEYS = {
    "A": PublicKey.parse("07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"),
    "B": PublicKey.parse("5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b"),
    "C": PublicKey.parse("64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466"),
    "D": PublicKey(Random(4).randbytes(32)),
    "E": PublicKey(Random(5).randbytes(32)),
}
"""The identities of the reference, section 11.1, and two more."""

B, C, D, E = 2, 3, 4, 5
"""Neighbours of the same names."""


def rid(name: str, random: str = "aabbccddeeff", zone: int = 0) -> RouterId:
    return RouterId.of(KEYS[name], zone, bytes.fromhex(random))


def originators(count: int, seed: int, zone: int = 1) -> list[RouterId]:
    """So many more nodes."""
    random = Random(seed)
    return [RouterId.of(PublicKey(random.randbytes(32)), zone, bytes(6)) for _ in range(count)]


def net(name: str) -> Prefix:
    return KEYS[name].subnet()


def address(name: str) -> int:
    return int(KEYS[name].address())


def update(name: str, seqno: int, metric: int, router_id: RouterId | None = None) -> Update:
    return Update(net(name), router_id or rid(name), seqno, metric)


def wanted(name: str, seqno: int, hops: int = 64) -> SeqnoRequest:
    return SeqnoRequest(net(name), rid(name), seqno, hops)


OUR_ID = rid("A", "b9ed9151f2e3")


def retraction(name: str, seqno: int = 0) -> Update:
    """A retraction as A sends it."""
    return Update(net(name), OUR_ID, seqno, INFINITY)


@dataclass(frozen=True)
class Heard:
    peer: int
    tlv: Tlv
    rtt: float | None = None

    def happen(self, speaker: Speaker, now: float) -> None:
        speaker.receive(self.peer, self.tlv, now, self.rtt)


@dataclass(frozen=True)
class Happens:
    """Anything else: a call with the speaker and the time."""

    what: Callable[[Speaker, float], None]

    def happen(self, speaker: Speaker, now: float) -> None:
        self.what(speaker, now)


def up(peer: int, static: int = 1) -> Happens:
    return Happens(lambda speaker, now: speaker.neighbour_up(peer, static, now))


def down(peer: int) -> Happens:
    return Happens(lambda speaker, now: speaker.neighbour_down(peer, now))


@dataclass(frozen=True)
class Silence:
    """Time passes. With `answering`, every neighbour named answers each Hello within `rtt` seconds."""

    seconds: float
    answering: tuple[int, ...] = ()
    rtt: float = 0.001


@dataclass(frozen=True)
class Silent:
    """Nothing is left to say, Hellos and IHUs apart."""


class Dialogue:
    """A speaker, the time, and what it said that nobody has asked about yet."""

    def __init__(
        self,
        *neighbours: int,
        limits: Limits | None = None,
        static: int = 1,
        epoch_at_zero: float = float("inf"),
    ) -> None:
        """A talks; with `neighbours`, their links are up and have spoken, and what was said is forgotten."""
        self.speaker = Speaker(OUR_ID, net("A"), limits=limits, rng=Random(1), epoch_at_zero=epoch_at_zero)
        self.now = 100.0
        self.said: list[Action] = []
        for peer in neighbours:
            self.speaker.neighbour_up(peer, static, self.now)
            self.speaker.receive(peer, Hello(0), self.now)
        self.drain()
        self.said.clear()

    def __rshift__(self, event: Heard | Happens | Silence) -> "Dialogue":
        self.said.clear()
        if isinstance(event, Silence):
            self.wait(event)
        else:
            event.happen(self.speaker, self.now)
            self.drain()
        return self

    def __lshift__(self, expected: Action | Silent) -> "Dialogue":
        if isinstance(expected, Silent):
            rest = [said for said in self.said if not is_greeting(said)]
            assert not rest, f"nothing was expected, but:\n{lines(rest)}"
            return self
        assert expected in self.said, f"expected {expected}\nbut only heard\n{lines(self.said)}"
        del self.said[: self.said.index(expected) + 1]
        return self

    def drain(self) -> None:
        while (due := self.speaker.deadline()) is not None and due <= self.now:
            self.speaker.wake(self.now)
            self.said += self.speaker.poll()

    def wait(self, silence: Silence) -> None:
        end = self.now + silence.seconds
        answers: list[tuple[float, int]] = []
        while True:
            due = self.speaker.deadline()
            times = [end, *(when for when, _ in answers), *([] if due is None else [due])]
            self.now = max(self.now, min(times))
            before = len(self.said)
            for when, peer in [answer for answer in answers if answer[0] <= self.now]:
                answers.remove((when, peer))
                self.speaker.receive(peer, Ihu(10), self.now, silence.rtt)
            self.drain()
            answers += [
                (self.now + silence.rtt, said.peer)
                for said in self.said[before:]
                if isinstance(said, Send) and isinstance(said.tlv, Hello) and said.peer in silence.answering
            ]
            if self.now >= end:
                return


def is_greeting(action: Action) -> bool:
    return isinstance(action, Send) and isinstance(action.tlv, Hello | Ihu)


def lines(actions: list[Action]) -> str:
    return "\n".join(f"    {action}" for action in actions) or "    nothing"
