"""From the Speaker's actions to the data plane's table records.

    0    1      2          4        20           52        56       60
    | op | plen | flags, 0 | prefix | public key | primary | backup | reserved |      64 bytes, big-endian

A record with op 1 sets a prefix, one with op 0 takes it away. Links are numbered from 1; 0 stands for none,
so that a prefix whose key is known but not its way has primary 0. Flag 1: the node says in its router id that
it speaks our session suite. Flag 2: flows are spread over primary and backup. Flags 4 and 8: the node at the
other end of the primary, of the backup, announces the prefix as its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from zosnet.babel import SESSION_ZONE
from zosnet.babel.actions import Install, Remove, Unreachable
from zosnet.model.keys import KEY_BYTES
from zosnet.model.router_id import RouterId

__all__ = ["RECORD_BYTES", "pack"]

_RECORD = Struct(">BBBx16s32sIII")
RECORD_BYTES = _RECORD.size
_REMOVE, _SET = 0, 1
_SPEAKS_OURS, _SPREAD, _ORIGINATES, _BACKUP_ORIGINATES = 1, 2, 4, 8
_NO_KEY = bytes(KEY_BYTES)


def pack(actions: Iterable[Install | Unreachable | Remove]) -> bytes:
    """Records for one `apply_routes`, in the order of the actions: a later one on the same prefix wins."""
    return b"".join([_record(action) for action in actions])


def _record(action: Install | Unreachable | Remove) -> bytes:
    prefix = action.prefix
    match action:
        case Install(_, router_id, next_hop, backup):
            key = router_id.raw[:KEY_BYTES]
            flags = _flags(router_id) | (_SPREAD if action.spread and backup else 0)
            flags |= _ORIGINATES if action.originates else 0
            flags |= _BACKUP_ORIGINATES if action.backup_originates and backup else 0
            return _RECORD.pack(_SET, prefix.length, flags, prefix.packed(), key, next_hop, backup or 0, 0)
        case Unreachable(_, router_id):
            key = router_id.raw[:KEY_BYTES]
            return _RECORD.pack(_SET, prefix.length, _flags(router_id), prefix.packed(), key, 0, 0, 0)
        case Remove():
            return _RECORD.pack(_REMOVE, prefix.length, 0, prefix.packed(), _NO_KEY, 0, 0, 0)


def _flags(router_id: RouterId) -> int:
    return _SPEAKS_OURS if router_id.zone & SESSION_ZONE else 0
