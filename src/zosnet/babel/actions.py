"""What a Speaker wants done: a closed union, carried out in order by whoever drives it."""

from dataclasses import dataclass
from typing import NamedTuple

from zosnet.model.prefix import Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import Tlv


class Send(NamedTuple):
    """Send `tlv` to neighbour `peer`.

    An Update that is flooded is one object in all its Sends: encode it once.
    """

    peer: int
    tlv: Tlv


@dataclass(frozen=True, slots=True)
class Install:
    """Forward `prefix` through `next_hop` from now on, replacing whatever was there.

    `backup` is another neighbour to which the data plane may flip on its own, at any moment and for as long
    as this Install stands: it is feasible, so no combination of flips anywhere closes a loop. `metric` is
    that of the moment; when only the metric changes there is no new Install. With `spread` both are links of
    equal quality to one and the same node: flows may be spread over them, each on one. `originates` and
    `backup_originates`: that neighbour announces the prefix as its own, so what is sent to it for the prefix
    goes no further. `awaited`: there was no way, and packets wait for this one.
    """

    prefix: Prefix
    router_id: RouterId
    next_hop: int
    backup: int | None
    metric: int
    spread: bool = False
    originates: bool = False
    backup_originates: bool = False
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The originator of `prefix` is known, but there is no route just now."""

    prefix: Prefix
    router_id: RouterId


@dataclass(frozen=True, slots=True)
class Remove:
    """Forget `prefix`."""

    prefix: Prefix


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the link to `peer`: it was already forgotten here, and why stands in `reason`."""

    peer: int
    reason: str


Action = Send | Install | Unreachable | Remove | Disconnect
