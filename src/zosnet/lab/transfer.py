"""A file on its way from one host to another over one TCP connection, watched while it goes."""

from __future__ import annotations

from dataclasses import dataclass

from zosnet.lab.errors import LabError
from zosnet.lab.host import Host
from zosnet.lab.measure import Outage, gaps, rate
from zosnet.lab.node import Node
from zosnet.lab.payload import Payload


@dataclass(frozen=True, slots=True)
class Arrived:
    """How a transfer went; times on the lab's clock."""

    began: float
    ended: float
    size: int
    port: int
    """The sender's port, the same at both ends and at both moments."""
    progress: tuple[tuple[float, int], ...]

    def mbit(self, since: float | None = None, until: float | None = None) -> float:
        """Mbit/s of the payload between two moments (all of it, without)."""
        return rate(
            self.progress, self.began if since is None else since, self.ended if until is None else until
        )

    def silences(self, since: float, longer_than: float = 0.05) -> list[Outage]:
        """The times without a byte that ended after `since`, in order."""
        return [gap for gap in gaps([at for at, _ in self.progress], longer_than) if gap.ended > since]

    def longest_silence(self, since: float) -> float:
        """The longest of them, in ms."""
        return max((gap.milliseconds for gap in self.silences(since, 0.0)), default=0.0)


class Transfer:
    """Started at once; ask it how far it is, then `finish`."""

    def __init__(
        self,
        source: Host,
        path: str,
        target: Host,
        to_path: str,
        address: object,
        *,
        port: int = 5001,
        mbit: float = 0,
    ) -> None:
        self._receiver = target.tool("receive", to_path, port)
        self._receiver.record("ready")
        self._sender = source.tool("send", path, address, port, *([mbit] if mbit else []))
        self.connected = self._sender.record("connected", within=15.0)
        self._accepted = self._receiver.record("accepted")

    @property
    def is_running(self) -> bool:
        return self._sender.is_running and self._receiver.is_running

    def progress(self) -> list[tuple[float, int]]:
        """(time, bytes that have arrived), the last one first known at that time."""
        return [
            (float(str(record["at"])), int(str(record["received"])))
            for record in self._receiver.records()
            if "received" in record
        ]

    def received(self) -> int:
        """How many bytes have arrived."""
        last = self._receiver.records()[-1:]
        return int(str(last[0].get("received", 0))) if last else 0

    def finish(self, within: float = 120.0) -> Arrived:
        """Wait for the end. Raises LabError when the connection broke, or was not the same one throughout."""
        done = self._sender.record("done", within=within)
        self._receiver.record("done")
        self._sender.wait()
        self._receiver.wait()
        for fact in ("local_port", "remote_port", "inode"):
            if done[fact] != self.connected[fact]:
                raise LabError(f"the connection's {fact} changed: {self.connected[fact]} then {done[fact]}")
        if self._accepted["remote_port"] != done["local_port"]:
            raise LabError("the receiver's connection is not the sender's")
        if done["verdict"] != f"ok {done['sent']}":
            raise LabError(f"sent {done['sent']} bytes, the receiver said {done['verdict']!r}")
        began = float(str(self._accepted["at"]))
        return Arrived(
            began=began,
            ended=float(str(done["at"])),
            size=int(str(done["sent"])),
            port=int(str(done["local_port"])),
            progress=((began, 0), *self.progress()),
        )


def moved(source: Node, target: Node, size: int, *, mbit: float = 0) -> tuple[Transfer, Payload, str]:
    """A file of so many bytes on its way; what comes of it, and the SHA-256 that it must have."""
    sent = Payload(source.host, "sent", size, in_memory=True)
    came = Payload(target.host, "came", size, in_memory=True)
    digest = sent.fill(size)
    transfer = Transfer(source.host, sent.path, target.host, came.path, target.address, mbit=mbit)
    return transfer, came, digest
