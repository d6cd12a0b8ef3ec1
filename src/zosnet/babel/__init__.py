"""Routing: Babel (RFC 8966) in Mycelium's variant, as one pure state machine.

One file per noun of the RFC. `Speaker` is the only thing that the rest of the house needs; everything below
it is plain data with rules. Nothing here reads a clock, draws a random number of its own or performs I/O.
"""

from zosnet.babel.actions import Action, Disconnect, Install, Remove, Send, Unreachable
from zosnet.babel.limits import Limits
from zosnet.babel.source import ORDERED_ZONE, SESSION_ZONE, incarnation
from zosnet.babel.speaker import Speaker
from zosnet.babel.status import NeighbourStatus, QueryStatus, RouteStatus

__all__ = [
    "ORDERED_ZONE",
    "SESSION_ZONE",
    "Action",
    "Disconnect",
    "Install",
    "Limits",
    "NeighbourStatus",
    "QueryStatus",
    "Remove",
    "RouteStatus",
    "Send",
    "Speaker",
    "Unreachable",
    "incarnation",
]
