"""The values everything else speaks of: errors, keys, addresses, prefixes, endpoints. The floor of the house.

Nothing here imports another room, does I/O, reads a clock or draws randomness.
"""

from zosnet.model.endpoint import Endpoint, ListenAddress
from zosnet.model.errors import HostError, PeerError, UsageError, ZosnetError
from zosnet.model.keys import PublicKey, SecretKey
from zosnet.model.message_id import MessageId
from zosnet.model.name import Domain, Name
from zosnet.model.prefix import OVERLAY, Prefix
from zosnet.model.router_id import RouterId

__all__ = [
    "OVERLAY",
    "Domain",
    "Endpoint",
    "HostError",
    "ListenAddress",
    "MessageId",
    "Name",
    "PeerError",
    "Prefix",
    "PublicKey",
    "RouterId",
    "SecretKey",
    "UsageError",
    "ZosnetError",
]
