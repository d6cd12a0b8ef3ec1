"""Somebody between two data planes who does anything to the datagrams that pass."""

from __future__ import annotations

import select
import socket
import threading
from collections import Counter
from random import Random

SESSION_FRAME, RELAYED = 4, 0x16
"""First bytes of datagrams with data: docs/protocols/session.md, docs/protocols/udp-link.md."""
RELAY_HEADER = 48


class Middleman:
    """Stands at a UDP port of its own in front of another one. From `attack` on everything is repeated, cut,
    forged and sent from elsewhere, and data out of order; the real datagrams get through as well.
    From `lose` on one session frame of so many doesn't, each way.
    """

    def __init__(self, port: int) -> None:
        self._near, self._far, self._elsewhere = (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)
        )
        self._near.bind(("127.0.0.1", 0))
        self._far.connect(("127.0.0.1", port))
        self._target = ("127.0.0.1", port)
        self._caller: tuple[str, int] | None = None
        self._random = Random(5)
        self._attacks = threading.Event()
        self._ends = threading.Event()
        self._held: dict[bool, bytes] = {}
        self.passed: Counter[int] = Counter()
        """Real datagrams, by their first byte, since the attack began."""
        self._one_of = 0
        self._frames: Counter[bool] = Counter()
        self.lost: Counter[bool] = Counter()
        """Session frames that were swallowed, forth and back."""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it is dialled."""
        return int(self._near.getsockname()[1])

    def attack(self) -> None:
        self._attacks.set()

    def lose(self, one_of: int) -> None:
        self._one_of = one_of

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        for each in (self._near, self._far, self._elsewhere):
            each.close()

    def _run(self) -> None:
        while not self._ends.is_set():
            ready = select.select([self._near, self._far], [], [], 0.01)[0]
            if not ready:
                for forth in list(self._held):
                    self._send(self._held.pop(forth), forth)
            for each in ready:
                try:
                    data, sender = each.recvfrom(65536)
                except ConnectionRefusedError:
                    continue
                forth = each is self._near
                if forth:
                    self._caller = sender
                if not self._swallows(data, forth):
                    self._pass(data, forth)

    def _swallows(self, data: bytes, forth: bool) -> bool:
        if not self._one_of or data[0] != SESSION_FRAME:
            return False
        self._frames[forth] += 1
        swallowed = self._frames[forth] % self._one_of == 0
        self.lost[forth] += swallowed
        return swallowed

    def _pass(self, data: bytes, forth: bool) -> None:
        if not self._attacks.is_set():
            return self._send(data, forth)
        self.passed[data[0]] += 1
        # The payload of a relayed packet is not for a relay to judge: what alters it has used up its counter.
        at = self._random.randrange(1, RELAY_HEADER if data[0] == RELAYED else len(data))
        forged = data[:at] + bytes([data[at] ^ 1 << self._random.randrange(8)]) + data[at + 1 :]
        self._send(forged, forth)
        self._send(data[: self._random.randrange(1, len(data))], forth)
        if forth:
            self._elsewhere.sendto(forged, self._target)
        # Of two frames with data the second goes first.
        if data[0] in {SESSION_FRAME, RELAYED} and forth not in self._held:
            self._held[forth] = data
            return None
        for real in (data, self._held.pop(forth, data)):
            self._send(real, forth)
            self._send(real, forth)
            if forth:
                self._elsewhere.sendto(real, self._target)
        return None

    def _send(self, data: bytes, forth: bool) -> None:
        try:
            if forth:
                self._far.send(data)
            elif self._caller:
                self._near.sendto(data, self._caller)
        except ConnectionRefusedError:
            pass
