"""Messages from node to node: reliable, end to end, over data packets (Mycelium's message protocol). Pure.

`Courier` is the whole of it for whoever drives it; the other modules are its parts: `outbound` one message
that leaves, `assembly` those that arrive, `inbox` those that wait to be read, `topics` who may send what.
"""

from zosnet.message.actions import Action, Delivered, Message, SendBody, State, StateChanged, Status
from zosnet.message.courier import Courier
from zosnet.message.limits import Limits
from zosnet.message.topics import TopicPolicy, TopicRule

__all__ = [
    "Action",
    "Courier",
    "Delivered",
    "Limits",
    "Message",
    "SendBody",
    "State",
    "StateChanged",
    "Status",
    "TopicPolicy",
    "TopicRule",
]
