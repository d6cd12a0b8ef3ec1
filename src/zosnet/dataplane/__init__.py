"""The door to the packet path: tables and commands down, events and counters up. The only room that knows `_core`."""

from zosnet.dataplane.protocol import Dataplane, LinkStats

__all__ = ["Dataplane", "LinkStats"]
