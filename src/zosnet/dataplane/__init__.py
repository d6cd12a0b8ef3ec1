"""The door to the packet path: tables and commands down, events and counters up. It alone knows `_core`."""

from zosnet.dataplane.protocol import Dataplane, LinkStats, Refusal, SessionStats

__all__ = ["Dataplane", "LinkStats", "Refusal", "SessionStats"]
