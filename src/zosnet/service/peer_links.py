"""The links that are up: whose they are, and which of them may stay only for a while.

Two kinds may not stay. One that leads to this node itself waits until the end that dialled has seen so. One
whose router has not named itself waits for its name, where only some may link.
"""

from __future__ import annotations

from ipaddress import ip_address

from zosnet.model.endpoint import Endpoint
from zosnet.model.router_id import RouterId
from zosnet.service.peer import Address, Linked, Peer

__all__ = ["PeerLinks", "inbound_endpoint"]


class PeerLinks:
    """The peers that are linked, by the numbers of their links. Times are those of Peering's `now`."""

    def __init__(self) -> None:
        self._peers: dict[int, Peer] = {}
        self._inbound: dict[int, Peer] = {}
        self._mirrors: dict[int, float] = {}
        self._unnamed: dict[int, float] = {}

    def add(self, link: int, peer: Peer) -> None:
        """A link is up."""
        self._peers[link] = peer
        if peer.kind == "inbound":
            self._inbound[link] = peer

    def remove(self, link: int) -> Peer | None:
        """A link is gone, or as good as gone. Whose it was, None when it was not known."""
        for of_link in (self._inbound, self._mirrors, self._unnamed):
            of_link.pop(link, None)
        return self._peers.pop(link, None)

    # --- which may stay only for a while

    def expect_name(self, link: int, until: float) -> None:
        """Its router must name itself by then."""
        self._unnamed[link] = until

    def named(self, link: int) -> None:
        """Its router did."""
        self._unnamed.pop(link, None)

    def expect_no_names(self) -> None:
        """No router must name itself any more."""
        self._unnamed.clear()

    def mirror(self, link: int, until: float) -> None:
        """It leads to this node itself, and goes then."""
        self._mirrors[link] = until

    def mirrors(self, now: float) -> list[tuple[int, Peer]]:
        """Links to this node itself whose time is up."""
        return self._overdue(self._mirrors, now)

    def unnamed(self, now: float) -> list[tuple[int, Peer]]:
        """Links without a name whose time is up."""
        return self._overdue(self._unnamed, now)

    def deadline(self) -> float | None:
        """When the next one's time is up, or None."""
        return min([*self._mirrors.values(), *self._unnamed.values()], default=None)

    # --- getters

    def all(self) -> list[tuple[int, Peer]]:
        """All links and whose they are, in the order in which they came up."""
        return list(self._peers.items())

    def inbound(self) -> list[Peer]:
        """The peers that linked to this node unasked, in the order in which they came."""
        return list(self._inbound.values())

    @property
    def inbound_count(self) -> int:
        """How many of those there are."""
        return len(self._inbound)

    def peer_of(self, link: int) -> Peer | None:
        """Whose a link is."""
        return self._peers.get(link)

    def from_place(self, endpoint: Endpoint) -> list[tuple[int, Peer]]:
        """The inbound links that came from there."""
        return [(link, peer) for link, peer in self._inbound.items() if peer.endpoint == endpoint]

    def wanted_at(self, proto: str, address: Address) -> Peer | None:
        """The wanted peer that is linked at this address."""
        for peer in self._peers.values():
            is_there = isinstance(peer.state, Linked) and peer.state.address == address
            if is_there and peer.kind != "inbound" and peer.endpoint.proto == proto:
                return peer
        return None

    def leads_to(self, router_id: RouterId) -> bool:
        """Whether some link leads to that router, as far as a neighbour is believed."""
        return any(_vouches_for(peer, router_id) for peer in self._peers.values())

    def came_from(self, router_id: RouterId) -> bool:
        """Whether some inbound link leads to that router, as far as a neighbour is believed."""
        return any(_vouches_for(peer, router_id) for peer in self._inbound.values())

    def _overdue(self, times: dict[int, float], now: float) -> list[tuple[int, Peer]]:
        return [(link, self._peers[link]) for link, until in times.items() if until <= now]


def inbound_endpoint(proto: str, address: Address) -> Endpoint:
    """How an inbound link is named: by where it came from."""
    host = f"[{address.ip}%{address.scope}]" if address.scope else address.ip
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return Endpoint.parse(f"{proto}://{host}:{address.port}")


def _vouches_for(peer: Peer, router_id: RouterId) -> bool:
    """Whether this link leads to that router, as far as a neighbour's word goes.

    Anybody may name any router id. A link that this node dialled, or that comes from the local network as
    beacons do, is believed; a stranger from afar could otherwise make us ignore a router next door.
    """
    if peer.neighbour != router_id:
        return False
    return peer.kind != "inbound" or ip_address(peer.endpoint.host.partition("%")[0]).is_link_local
