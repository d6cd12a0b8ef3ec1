"""One message on its way out.

        ANNOUNCING --init ack--> CHUNKING --last chunk ack--> CLOSING --done ack, read--> FINISHED
             ^                    |    ^                        |
             +-- nothing for 10 s-+    +-- init ack, no answer -+

An init ack in CHUNKING or CLOSING is from a receiver that was told twice, and a stock one has then thrown
away all it had: so all chunks go again. So they do where a done stays unanswered, as acknowledgements may
overtake each other.

Once closed, a message is never announced anew. A stock receiver may have delivered it and lost the answer,
and would deliver it once more; chunks alone it ignores.
"""

from collections.abc import Iterator
from enum import Enum, auto
from ipaddress import IPv6Address
from itertools import islice

from zosnet.message.actions import State, Status
from zosnet.message.assembly import checksum_of
from zosnet.message.pace import Pace
from zosnet.model import MessageId
from zosnet.wire.message import Aborted, Chunk, ChunkAck, Done, DoneAck, Init, InitAck, MessagePacket, Read

#: Stock senders cut here, and a receiver expects at least ⌈length/1300⌉ chunks.
MAX_CHUNK = 1300

#: Seconds without any answer after which the receiver must have restarted, or forgotten the message. Guess.
_STALLED = 10.0


class Phase(Enum):
    """Where a message is in its life."""

    ANNOUNCING = auto()
    CHUNKING = auto()
    CLOSING = auto()
    FINISHED = auto()


def edges_of(length: int) -> list[int]:
    """Where to cut a message of `length` bytes: ⌈length/1300⌉ chunks whose sizes differ by at most one byte.

    Stock senders cut at 1300, 2600 and so on, and a stock receiver then refuses a last chunk below 250
    bytes for ever; pieces of equal size are always taken, since two of them hold more than 1300 bytes.
    """
    count = -(-length // MAX_CHUNK)
    return [length * cut // count for cut in range(count + 1)] if count else [0]


class Outbound:
    """A message, its chunks and its timers. Packets to send gather until `drain`."""

    def __init__(
        self,
        init: Init,
        destination: IPv6Address,
        payload: bytes,
        *,
        now: float,
        deadline: float,
        window: int,
    ) -> None:
        self.destination = destination
        self.state = State.PENDING
        self.packets: list[MessagePacket] = []
        self._init = init
        self._payload = payload
        self._created, self._deadline = now, deadline
        self._edges = edges_of(len(payload))
        self._done = Done(init.id, len(self._edges) - 1, checksum_of(payload))
        self._phase = Phase.ANNOUNCING
        self._pace = Pace(window)
        self._waiting: dict[int, None] = {}
        """Positions of chunks to send, in order."""
        self._in_flight: dict[int, float] = {}
        """When each unacknowledged chunk was sent last, the oldest first."""
        self._resent: set[int] = set()
        self._acked: set[int] = set()
        self._asked_since = now
        """When this phase's question, an init or a done, was first sent."""
        self._asked_at = now
        self._ask_count = 0
        self._progress_at = now
        self._closings = 0
        self._ask(now)

    @property
    def id(self) -> MessageId:
        return self._init.id

    @property
    def length(self) -> int:
        return self._init.length

    def status(self) -> Status:
        """The message at a glance."""
        return Status(
            id=self.id,
            destination=self.destination,
            state=self.state,
            created=self._created,
            deadline=self._deadline,
            length=self.length,
            pending=self._done.chunks - len(self._in_flight) - len(self._acked),
            sent=len(self._in_flight),
            acked=len(self._acked),
        )

    def receive(self, packet: InitAck | ChunkAck | DoneAck | Read, now: float) -> None:
        """Take an answer from the destination. One that doesn't fit is ignored."""
        match packet:
            case InitAck(_, length, topic_length):
                if (length, topic_length) == (self.length, len(self._init.topic)):
                    self._receive_init_ack(now)
            case ChunkAck(_, position, offset, size):
                self._receive_chunk_ack(position, offset, size, now)
            case DoneAck(_, chunks, checksum):
                if self._phase is Phase.CLOSING and (chunks, checksum) == (
                    self._done.chunks,
                    self._done.checksum,
                ):
                    self._finish(State.RECEIVED)
            case Read():
                # It may overtake the done ack, or replace one that was lost.
                if self._closings and self.state is not State.ABORTED:
                    self._finish(State.READ)

    def wake(self, now: float) -> None:
        """Send again what wasn't answered in time; give up at the deadline."""
        if self._phase is Phase.FINISHED:
            return
        if now >= self._deadline:
            self.abort()
        elif self._phase is Phase.CHUNKING:
            self._wake_chunking(now)
        elif self._phase is Phase.CLOSING and now >= self._doubt_at():
            self._send_all_again(now)
        elif now >= self._asked_at + self._pace.timeout:
            self._pace.silent()
            self._ask(now)

    def wake_at(self) -> float | None:
        """When to call `wake`; None when finished."""
        match self._phase:
            case Phase.FINISHED:
                return None
            case Phase.CHUNKING:
                oldest = next(iter(self._in_flight.values()), self._progress_at)
                at = min(oldest + self._pace.timeout, self._progress_at + _STALLED)
            case Phase.ANNOUNCING:
                at = self._asked_at + self._pace.timeout
            case Phase.CLOSING:
                at = min(self._asked_at + self._pace.timeout, self._doubt_at())
        return min(at, self._deadline)

    def abort(self) -> None:
        """Give up, and tell the receiver once."""
        if self._phase is not Phase.FINISHED:
            self.packets.append(Aborted(self.id))
            self._finish(State.ABORTED)

    def _receive_init_ack(self, now: float) -> None:
        if self._phase is Phase.FINISHED:
            return
        if self._phase is Phase.ANNOUNCING:
            self._pace.answered(now - self._asked_since, sent_once=self._ask_count == 1)
            self._in_flight.clear()
        self.state = State.SENDING
        self._send_all_again(now)

    def _doubt_at(self) -> float:
        """Until when to wait for the done ack; a full inbox is no reason to send everything over and over."""
        return self._asked_since + _STALLED * 2.0 ** (self._closings - 1)

    def _send_all_again(self, now: float) -> None:
        """Send every chunk that isn't under way."""
        self._phase = Phase.CHUNKING
        self._progress_at = now
        self._acked.clear()
        self._waiting = {at: None for at in range(self._done.chunks) if at not in self._in_flight}
        self._fill(now)

    def _receive_chunk_ack(self, position: int, offset: int, size: int, now: float) -> None:
        sent_at = self._in_flight.get(position)
        if self._phase is not Phase.CHUNKING or sent_at is None:
            return
        if (offset, size) != (self._edges[position], self._edges[position + 1] - self._edges[position]):
            return
        del self._in_flight[position]
        self._acked.add(position)
        self._progress_at = now
        self._pace.answered(now - sent_at, sent_once=position not in self._resent)
        self._pace.grow()
        self._fill(now)

    def _wake_chunking(self, now: float) -> None:
        if now >= self._progress_at + _STALLED:
            self._in_flight.clear()
            self._start_asking(Phase.CLOSING if self._closings else Phase.ANNOUNCING, now)
            return
        timeout = self._pace.timeout
        late = [position for position, sent_at in self._in_flight.items() if now >= sent_at + timeout]
        for position in late:
            self._pace.lost(self._in_flight.pop(position), now)
            self._resent.add(position)
        self._waiting = dict.fromkeys(late) | self._waiting
        self._fill(now)

    def _fill(self, now: float) -> None:
        """Send as many chunks as the window has room for; close when none is left."""
        room = self._pace.window - len(self._in_flight)
        for position in list(islice(self._waiting, max(0, room))):
            del self._waiting[position]
            self._in_flight[position] = now
            self.packets.append(self._chunk(position))
        if not self._waiting and not self._in_flight:
            self._start_asking(Phase.CLOSING, now)

    def _chunk(self, position: int) -> Chunk:
        start, end = self._edges[position], self._edges[position + 1]
        return Chunk(self.id, position, start, self._payload[start:end])

    def _start_asking(self, phase: Phase, now: float) -> None:
        self._phase = phase
        self._closings += phase is Phase.CLOSING
        self._asked_since, self._ask_count = now, 0
        self._ask(now)

    def _ask(self, now: float) -> None:
        self._asked_at = now
        self._ask_count += 1
        self.packets.append(self._init if self._phase is Phase.ANNOUNCING else self._done)

    def _finish(self, state: State) -> None:
        """Let go of all but the status."""
        self._phase, self.state = Phase.FINISHED, state
        self._payload = b""
        self._in_flight.clear()
        self._waiting.clear()

    def drain(self) -> Iterator[MessagePacket]:
        """The packets to send, in order; each is given once."""
        packets, self.packets = self.packets, []
        return iter(packets)
