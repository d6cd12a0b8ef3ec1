"""From the machines' own state to the values that the node says of itself. Pure: facts in, views out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from zosnet.babel import NeighbourStatus, QueryStatus, RouteStatus
from zosnet.dataplane.protocol import LinkStats
from zosnet.model.keys import SecretKey
from zosnet.service.peer import Dialling, Linked, Peer, Resolving, Waiting
from zosnet.service.views import KeyView, PeerView, QueryView, RouteView
from zosnet.wire.babel import INFINITY

__all__ = ["key_view", "link_names", "peer_views", "query_views", "route_views"]


def key_view(secret: SecretKey) -> KeyView:
    """Who the node is; the secret stays here."""
    public = secret.public()
    return KeyView(public.hex, str(public.address()), str(public.subnet()), secret.signing_public().hex())


def peer_views(
    peers: Iterable[Peer],
    links: Iterable[LinkStats],
    neighbours: Iterable[NeighbourStatus],
    now: float,
    suites: Mapping[bytes, str],
) -> list[PeerView]:
    """Peers with what the data plane and the Speaker know of their links; `suites` is by key."""
    by_link = {link.id: link for link in links}
    by_neighbour = {neighbour.peer: neighbour for neighbour in neighbours}
    return [_peer_view(peer, by_link, by_neighbour, now, suites) for peer in peers]


def _peer_view(
    peer: Peer,
    links: Mapping[int, LinkStats],
    neighbours: Mapping[int, NeighbourStatus],
    now: float,
    suites: Mapping[bytes, str],
) -> PeerView:
    number = peer.link
    link = links.get(number) if number is not None else None
    neighbour = neighbours.get(number) if number is not None else None
    key = peer.neighbour.public_key if peer.neighbour is not None else None
    retry = max(peer.state.until - now, 0.0) if isinstance(peer.state, Waiting) else None
    return PeerView(
        endpoint=peer.endpoint.place,
        kind=peer.kind,
        state=_state(peer),
        discovered=_ago(peer.discovered, now),
        last_linked=None if peer.last_linked is None else _ago(peer.last_linked, now),
        failures=peer.failures,
        last_error=peer.last_error,
        retry_in=None if retry is None else round(retry, 3),
        link=number,
        local=link.local if link else None,
        remote=link.remote if link else None,
        public_key=key.hex if key else None,
        address=str(key.address()) if key else None,
        cost=neighbour.cost if neighbour else None,
        rtt_ms=_milliseconds(_rtt(link, neighbour)),
        stalled=link.stalled if link else False,
        busy=link.busy if link else False,
        tx_bytes=link.tx_bytes if link else 0,
        rx_bytes=link.rx_bytes if link else 0,
        tx_packets=link.tx_packets if link else 0,
        rx_packets=link.rx_packets if link else 0,
        queued_bytes=link.queued_bytes if link else 0,
        dropped=link.dropped if link else 0,
        weight=peer.endpoint.weight,
        metered=peer.endpoint.metered or (neighbour.is_metered if neighbour else False),
        loss=_loss(link, neighbour),
        max_datagram=link.max_datagram if link else None,
        authenticated=link is not None and link.key is not None,
        settling=neighbour.is_fresh if neighbour else False,
        suite=suites.get(key.raw) if key else None,
    )


def _loss(link: LinkStats | None, neighbour: NeighbourStatus | None) -> float | None:
    """As routing averages it; else the data plane's last word."""
    found = neighbour.loss if neighbour is not None else None
    if found is None and link is not None:
        found = link.loss
    return None if found is None else round(found, 5)


def _rtt(link: LinkStats | None, neighbour: NeighbourStatus | None) -> float | None:
    """As the transport measures it, which is fresher; else as the Hellos did."""
    if link is not None and link.rtt is not None:
        return link.rtt
    return neighbour.rtt if neighbour is not None else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _ago(moment: float, now: float) -> float:
    return round(max(now - moment, 0.0), 3)


def _state(peer: Peer) -> Literal["alive", "connecting", "dead"]:
    match peer.state:
        case Linked():
            return "alive"
        case Resolving() | Dialling():
            return "connecting"
        case Waiting():
            return "dead"


def link_names(peers: Iterable[Peer], links: Iterable[LinkStats]) -> dict[int, str]:
    """How people call each link: by its peer."""
    named = {link.id: f"{link.proto}://{link.remote}" for link in links}
    return named | {peer.link: peer.endpoint.place for peer in peers if peer.link is not None}


def route_views(routes: Iterable[RouteStatus], names: Mapping[int, str]) -> list[RouteView]:
    """Routes, best first."""
    return [
        _route_view(route, names) for route in sorted(routes, key=lambda route: (route.metric, route.prefix))
    ]


def _route_view(route: RouteStatus, names: Mapping[int, str]) -> RouteView:
    key = route.router_id.public_key
    return RouteView(
        prefix=str(route.prefix),
        public_key=key.hex,
        address=str(key.address()),
        next_hop=names.get(route.next_hop, f"link {route.next_hop}"),
        link=route.next_hop,
        metric=None if route.metric >= INFINITY else route.metric,
        seqno=route.seqno,
        expires_in=round(max(route.expires_in, 0.0), 3),
        backup=None if route.backup is None else names.get(route.backup, f"link {route.backup}"),
        backup_link=route.backup,
        spread=route.is_spread,
    )


def query_views(queries: Iterable[QueryStatus]) -> list[QueryView]:
    """Questions on the way."""
    return [QueryView(str(query.prefix), round(max(query.expires_in, 0.0), 3)) for query in queries]
