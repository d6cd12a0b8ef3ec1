"""The door to the packet path: tables and commands down, events and counters up. It alone knows `_core`."""

from zosnet.dataplane.protocol import Dataplane, LinkStats, SessionStats

__all__ = ["Dataplane", "LinkStats", "SessionStats"]
