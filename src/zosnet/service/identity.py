"""Who a node is, and in which life of its process."""

from __future__ import annotations

import time
from dataclasses import dataclass

from zosnet.babel import ORDERED_ZONE, SESSION_ZONE, incarnation
from zosnet.model.keys import PublicKey, SecretKey
from zosnet.model.router_id import RouterId

__all__ = ["Identity", "new_router_id"]


def new_router_id(public: PublicKey, *, session_suite: bool = True) -> RouterId:
    """The router id of this start. The data plane needs it first, for its certificate.

    Its zone says what this node can do: order its starts, and speak our session suite.

    The time in it goes down to 1/65536 s: a node that crashes and is back within the same second must not
    look older than it was, or its neighbours hold its routes back until the old ones are forgotten.
    """
    seconds, fraction = divmod(time.time_ns(), 1_000_000_000)
    random = incarnation(seconds, (fraction * 65536 // 10**9).to_bytes(2, "big"))
    return RouterId.of(public, ORDERED_ZONE | (SESSION_ZONE if session_suite else 0), random)


@dataclass(frozen=True, slots=True)
class Identity:
    """Keys, and the router id of this start."""

    secret: SecretKey
    public: PublicKey
    router_id: RouterId
