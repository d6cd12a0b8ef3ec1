"""Ping and trace: echo requests of this node's own, and what came back.

The data plane carries the packets and says when an answer arrived, so that the interpreter's delays are not
in the round trip's end; they are in its beginning only by the time of one call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Literal

from zosnet.model.errors import HostError, PeerError, UsageError
from zosnet.model.keys import SUBNET_BITS, PublicKey
from zosnet.model.prefix import OVERLAY, Prefix
from zosnet.service.views import PingRequest, ProbeLine, TraceRequest
from zosnet.wire.echo import EchoFailed, EchoReply, EchoRequest, decode_answer

__all__ = ["Prober", "overlay_address"]

# Probes under way at once, over all clients: a guess that no person reaches.
MOST_AT_ONCE = 256
HOP_LIMIT = 64
MAGIC_BYTES = 8
# RFC 4443, section 3.1.
_UNREACHABLE = {
    0: "no route to the destination",
    1: "administratively prohibited",
    2: "beyond the scope of the source address",
    3: "address unreachable",
    4: "port unreachable",
    5: "source address refused by policy",
    6: "reject route",
}
Kind = Literal["reply", "hop", "unreachable", "too_big", "timeout"]


@dataclass(frozen=True, slots=True)
class _Outcome:
    kind: Kind
    source: str | None = None
    rtt: float | None = None
    reason: str = ""


def overlay_address(text: str) -> IPv6Address:
    """The overlay address that `text`, an address or a public key, names. Raises UsageError otherwise."""
    if len(text) == 64:
        return PublicKey.parse(text).address()
    try:
        address = IPv6Address(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is neither an address nor a public key",
            remedy="`zosnet key` on the other node shows both",
        ) from None
    if not OVERLAY.contains(int(address)):
        raise UsageError(f"{address} is outside of the overlay", remedy=f"overlay addresses lie in {OVERLAY}")
    return address


class Prober:
    """The echo requests of one node. `receive` takes what the data plane reports for `magic`."""

    def __init__(
        self,
        own: Prefix,
        address: IPv6Address,
        magic: bytes,
        *,
        inject: Callable[[bytes], None],
        clock: Callable[[], float],
    ) -> None:
        self._own = own
        self._address = address.packed
        self._magic = magic
        self._inject = inject
        self._clock = clock
        self._waiting: dict[tuple[int, int], tuple[float, asyncio.Future[_Outcome]]] = {}
        self._identifier = 0

    def receive(self, packet: bytes, at: float) -> None:
        """An answer arrived `at`. Answers that nobody waits for are dropped."""
        try:
            answer = decode_answer(packet)
        except PeerError:
            return
        if answer is None:
            return
        started, future = self._waiting.get((answer.identifier, answer.sequence), (0.0, None))
        if future is not None and not future.done():
            future.set_result(_outcome(answer, max(at - started, 0.0)))

    async def ping(self, request: PingRequest) -> AsyncIterator[ProbeLine]:
        """Send `count` echo requests, one after the other, and yield what became of each."""
        destination = overlay_address(request.destination)
        _check(1 <= request.count <= 100_000, "count must be from 1 to 100000")
        _check(0.01 <= request.interval <= 3600, "interval must be from 0.01 to 3600 seconds")
        _check(MAGIC_BYTES <= request.size <= 1200, "size must be from 8 to 1200 bytes")
        identifier = self._next_identifier()
        for sequence in range(1, request.count + 1):
            started = self._clock()
            outcome = await self._ask(
                destination,
                (identifier, sequence & 0xFFFF),
                hop=HOP_LIMIT,
                patience=request.timeout,
                size=request.size,
            )
            yield _line(sequence, HOP_LIMIT, outcome)
            if sequence < request.count:
                await asyncio.sleep(max(started + request.interval - self._clock(), 0.0))

    async def trace(self, request: TraceRequest) -> AsyncIterator[ProbeLine]:
        """Probe with growing hop limits until the destination answers; a line for each node."""
        destination = overlay_address(request.destination)
        _check(1 <= request.max_hops <= 64, "max_hops must be from 1 to 64")
        _check(1 <= request.attempts <= 10, "attempts must be from 1 to 10")
        identifier = self._next_identifier()
        sequence = 0
        far = Prefix.of(destination, SUBNET_BITS)
        shown = 0
        # All nodes count down, the first and the last included (reference, section 5.4): what these two say
        # of a hop limit that ends with them is no hop.
        for hop in range(1, request.max_hops + 3):
            outcome = _Outcome("timeout")
            for _ in range(request.attempts):
                sequence += 1
                outcome = await self._ask(
                    destination, (identifier, sequence), hop=hop, patience=request.timeout, size=56
                )
                if outcome.kind != "timeout":
                    break
            if outcome.kind == "hop" and outcome.source is not None:
                source = int(IPv6Address(outcome.source))
                if self._own.contains(source) or far.contains(source):
                    continue
            shown += 1
            yield _line(sequence, shown, outcome)
            if outcome.kind in {"reply", "unreachable"} or shown == request.max_hops:
                return

    async def _ask(
        self, destination: IPv6Address, key: tuple[int, int], *, hop: int, patience: float, size: int
    ) -> _Outcome:
        _check(0.01 <= patience <= 60, "timeout must be from 0.01 to 60 seconds")
        if self._own.contains(int(destination)):
            return _Outcome("reply", str(destination), 0.0)
        if len(self._waiting) >= MOST_AT_ONCE:
            raise HostError("too many probes are under way", remedy="wait until others have ended")
        data = self._magic + bytes(size - MAGIC_BYTES)
        packet = EchoRequest(self._address, destination.packed, *key, data, hop).encode()
        future: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[key] = (self._clock(), future)
        try:
            self._inject(packet)
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            return _Outcome("timeout", reason="no answer")
        finally:
            del self._waiting[key]

    def _next_identifier(self) -> int:
        self._identifier = self._identifier % 0xFFFF + 1
        return self._identifier


def _outcome(answer: EchoReply | EchoFailed, rtt: float) -> _Outcome:
    source = str(IPv6Address(answer.source))
    if isinstance(answer, EchoReply):
        return _Outcome("reply", source, rtt)
    match answer.kind:
        case 1:
            return _Outcome("unreachable", source, rtt, _UNREACHABLE.get(answer.code, f"code {answer.code}"))
        case 2:
            return _Outcome("too_big", source, rtt, f"the way carries {answer.rest} bytes")
        case 3:
            return _Outcome("hop", source, rtt)
        case _:
            return _Outcome("unreachable", source, rtt, "parameter problem")


def _line(sequence: int, hop: int, outcome: _Outcome) -> ProbeLine:
    rtt = None if outcome.rtt is None else round(outcome.rtt * 1000, 3)
    return ProbeLine(sequence, hop, outcome.kind, outcome.source, rtt, outcome.reason)


def _check(holds: bool, text: str) -> None:
    if not holds:
        raise UsageError(text)
