"""Which links this node wants, and what to do next to have them.

Owns the wanted peers (static ones the operator named, discovered ones a beacon named), the inbound links
that nobody here asked for, and for each wanted peer one explicit state:

    Resolving ──addresses──> Dialling ──first link──> Linked ──link lost──> Waiting ──time──> Resolving
        └──────failed───────────┴────all failed──────────────────────────────┘

It refuses to know sockets, name servers and clocks: the driver resolves, dials and tells the outcome, and
`now` is an argument. After any call drain `poll` and carry out its actions in order; call `wake` when
`deadline` has passed.

All addresses of a name are tried a short time apart (RFC 8305, section 5) and the first link wins. A name
is resolved anew before each attempt, so that a peer may move.
"""

from __future__ import annotations

import random

from zosnet.model.endpoint import Endpoint
from zosnet.model.keys import PublicKey
from zosnet.model.router_id import RouterId
from zosnet.service.peer import (
    Action,
    Address,
    Close,
    Dial,
    Dialling,
    Forgotten,
    Limits,
    Linked,
    Peer,
    PeerKind,
    Resolve,
    Resolving,
    Waiting,
    Weigh,
)
from zosnet.service.peer_links import PeerLinks, inbound_endpoint

__all__ = ["Peering"]


class Peering:
    """The peers of one node. See the module's text for how to drive it."""

    def __init__(self, own: RouterId, *, rng: random.Random, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.refused = 0
        self.unlisted = 0
        self._own = own
        self._rng = rng
        self._wanted: dict[Endpoint, Peer] = {}
        self._links = PeerLinks()
        self._tokens: dict[int, Peer | None] = {}
        self._allowed: frozenset[PublicKey] | None = None
        self._next_token = 1
        self._actions: list[Action] = []

    # --- what is wanted

    def want(self, endpoint: Endpoint, kind: PeerKind, now: float) -> bool:
        """Keep a link to `endpoint` from now on. False when it is wanted already or there are too many.

        What the operator wants of the link besides may be new; then the answer is True.
        """
        known = self._wanted.get(endpoint)
        if known is not None:
            return kind == "static" and self._wish(known, endpoint, now)
        if not self._has_room(kind):
            return False
        peer = Peer(endpoint, kind, Waiting(now), discovered=now)
        self._wanted[endpoint] = peer
        self._start(peer)
        return True

    def forget(self, endpoint: Endpoint, now: float) -> bool:
        """Want `endpoint` no longer and close its link. False when it was not known."""
        peer = self._wanted.pop(endpoint, None)
        if peer is not None:
            self._abandon(peer, "peer removed")
            return True
        return self._forget_inbound(endpoint)

    def discovered(self, endpoint: Endpoint, router_id: RouterId, now: float) -> bool:
        """A beacon named `endpoint`. Ignored when a link to that router is up, or it is this node."""
        if router_id == self._own or not self._may_link(router_id) or self._links.leads_to(router_id):
            return False
        return self.want(endpoint, "discovered", now)

    def allow(self, keys: frozenset[PublicKey] | None, now: float) -> None:
        """Only routers with these keys may be linked from now on; None: anyone. Links to others are closed.

        A router names itself in its announcements, which nobody signs: this keeps out those that are honest
        about who they are. A liar that names a listed key gets a link, and can neither read nor write in the
        name of that key; it can relay, and see who talks to whom, as every relay can.
        """
        self._allowed = keys
        self._links.expect_no_names()
        for link, peer in self._links.all():
            self._await_name(link, peer, now)
            if peer.neighbour is not None and not self._may_link(peer.neighbour):
                self._turn_away(link, peer, "its key is not among those that may link", now)

    # --- what happened

    def resolved(self, endpoint: Endpoint, addresses: tuple[Address, ...], now: float) -> None:
        """The name of `endpoint` stands for these addresses, best first."""
        peer = self._wanted.get(endpoint)
        if peer is None or not isinstance(peer.state, Resolving):
            return
        if not addresses:
            self._failed(peer, "the name has no address", now)
            return
        peer.state = Dialling({}, addresses[: self.limits.addresses], now)
        self._dial_next(peer, now)

    def resolve_failed(self, endpoint: Endpoint, reason: str, now: float) -> None:
        """The name of `endpoint` could not be resolved."""
        peer = self._wanted.get(endpoint)
        if peer is not None and isinstance(peer.state, Resolving):
            self._failed(peer, reason, now)

    def link_up(self, link: int, token: int | None, proto: str, address: Address, now: float) -> bool:
        """A link is up; `token` is None for one that the other side opened. False when it is refused."""
        if token is None:
            return self._link_came(link, proto, address, now)
        peer = self._tokens.pop(token, None)
        if peer is None or not isinstance(peer.state, Dialling):
            return self._refuse(link, "another link to this peer was faster")
        twin = self._links.wanted_at(proto, address)
        if twin is not None and twin is not peer:
            self._drop_tokens(peer.state)
            self._failed(peer, f"already linked as {twin.endpoint}", now)
            return self._refuse(link, "already linked to this address")
        self._drop_tokens(peer.state)
        self._linked(peer, link, address, now)
        return True

    def dial_failed(self, token: int, reason: str, now: float) -> None:
        """The attempt under `token` failed."""
        peer = self._tokens.pop(token, None)
        if peer is None or not isinstance(peer.state, Dialling):
            return
        peer.state.tokens.pop(token, None)
        peer.last_error = reason
        if peer.state.waiting:
            self._dial_next(peer, now)
        elif not peer.state.tokens:
            self._failed(peer, reason, now)

    def link_down(self, link: int, reason: str, now: float) -> None:
        """The link is gone. An inbound peer is forgotten, a wanted one is dialled again."""
        peer = self._links.remove(link)
        if peer is None or peer.kind == "inbound" or not isinstance(peer.state, Linked):
            return
        if now - peer.state.since >= self.limits.stable_after:
            peer.failures, peer.delay = 0, 0.0
        self._failed(peer, reason, now)

    def recognised(self, link: int, router_id: RouterId, now: float) -> bool:
        """The router at the other end of `link` named itself. False when that is not to be believed.

        Links to oneself go. Of two discovered links between the same two routers, that of the greater
        router id goes: both sides come to the same answer.
        """
        peer = self._links.peer_of(link)
        if peer is None:
            return False
        peer.neighbour = router_id
        self._links.named(link)
        if router_id != self._own and not self._may_link(router_id):
            self._turn_away(link, peer, "its key is not among those that may link", now)
            return False
        if router_id == self._own and peer.kind == "inbound":
            # The end that dialled must see this too, to learn that its address is this node's: close later.
            self._links.mirror(link, now + self.limits.mirror)
            return False
        if router_id == self._own:
            self._unlink(link, peer, "this address is the node itself", now)
            return False
        if peer.kind == "discovered" and router_id.raw < self._own.raw and self._links.came_from(router_id):
            self._wanted.pop(peer.endpoint, None)
            self._unlink(link, peer, "that router is linked already", now)
            return False
        return True

    def wake(self, now: float) -> None:
        """Start what has become due."""
        for link, peer in self._links.mirrors(now):
            self._unlink(link, peer, "it comes from this node itself", now)
        for link, peer in self._links.unnamed(now):
            self._turn_away(link, peer, "its router has not said who it is", now)
        for peer in list(self._wanted.values()):
            match peer.state:
                case Waiting(until) if until <= now:
                    self._start(peer)
                case Dialling(waiting=waiting, next_start=start) if waiting and start <= now:
                    self._dial_next(peer, now)
                case _:
                    pass

    def deadline(self) -> float | None:
        """When `wake` is wanted, or None."""
        times = [self._links.deadline(), *(peer.due for peer in self._wanted.values())]
        return min((when for when in times if when is not None), default=None)

    def poll(self) -> list[Action]:
        """Take the actions that are pending."""
        actions, self._actions = self._actions, []
        return actions

    # --- getters

    def peers(self) -> list[Peer]:
        """All peers, wanted ones first, in the order they became known."""
        return [*self._wanted.values(), *self._links.inbound()]

    def peer_of(self, link: int) -> Peer | None:
        """The peer behind a link."""
        return self._links.peer_of(link)

    def wanted(self, kind: PeerKind) -> list[Endpoint]:
        """The wanted endpoints of one kind."""
        return [peer.endpoint for peer in self._wanted.values() if peer.kind == kind]

    def counters(self) -> dict[str, int]:
        """Links that were refused: too many, and not among those that may link."""
        return {"peers_refused": self.refused, "links_unlisted": self.unlisted}

    # --- inside

    def _may_link(self, router_id: RouterId) -> bool:
        return self._allowed is None or router_id.public_key in self._allowed

    def _await_name(self, link: int, peer: Peer, now: float) -> None:
        """Where only some may link, a link without a name doesn't stay."""
        if self._allowed is not None and peer.neighbour is None:
            self._links.expect_name(link, now + self.limits.naming)

    def _turn_away(self, link: int, peer: Peer, reason: str, now: float) -> None:
        self.unlisted += 1
        self._unlink(link, peer, reason, now)

    def _wish(self, peer: Peer, endpoint: Endpoint, now: float) -> bool:
        """The operator wants other things of a peer. A link to another key is none, the rest just applies."""
        before, peer.endpoint = peer.endpoint, endpoint
        if before.wishes == endpoint.wishes:
            return False
        if before.key != endpoint.key and endpoint.key is not None:
            self._abandon(peer, "another key is wanted there")
            peer.state = Waiting(now)
            self._start(peer)
        elif peer.link is not None:
            self._actions.append(Weigh(peer.link, endpoint.weight, endpoint.metered))
        return True

    def _has_room(self, kind: PeerKind) -> bool:
        bound = self.limits.discovered if kind == "discovered" else self.limits.wanted
        if sum(peer.kind == kind for peer in self._wanted.values()) < bound:
            return True
        self.refused += 1
        return False

    def _start(self, peer: Peer) -> None:
        peer.state = Resolving()
        self._actions.append(Resolve(peer.endpoint))

    def _dial_next(self, peer: Peer, now: float) -> None:
        assert isinstance(peer.state, Dialling)
        address, *rest = peer.state.waiting
        token, self._next_token = self._next_token, self._next_token + 1
        tokens = {**peer.state.tokens, token: address}
        self._tokens[token] = peer
        peer.state = Dialling(tokens, tuple(rest), now + self.limits.stagger)
        key = peer.endpoint.key.raw if peer.endpoint.key is not None else None
        self._actions.append(Dial(token, peer.endpoint.proto, address, self.limits.dial_timeout, key))

    def _failed(self, peer: Peer, reason: str, now: float) -> None:
        peer.failures += 1
        peer.last_error = reason
        peer.neighbour = None
        if peer.kind == "discovered" and peer.failures >= self.limits.discovered_failures:
            self._wanted.pop(peer.endpoint, None)
            self._actions.append(Forgotten(peer.endpoint))
            return
        peer.delay = min(max(peer.delay * 2, self.limits.first_delay), self.limits.longest_delay)
        # Half of the delay is random, so that a whole grid does not dial in step after an outage.
        peer.state = Waiting(now + peer.delay * self._rng.uniform(0.5, 1.0))

    def _linked(self, peer: Peer, link: int, address: Address, now: float) -> None:
        peer.state = Linked(link, address, now)
        peer.last_linked = now
        peer.last_error = ""
        peer.neighbour = None
        self._links.add(link, peer)
        self._await_name(link, peer, now)
        if peer.endpoint.weight or peer.endpoint.metered:
            self._actions.append(Weigh(link, peer.endpoint.weight, peer.endpoint.metered))

    def _link_came(self, link: int, proto: str, address: Address, now: float) -> bool:
        if self._links.inbound_count >= self.limits.inbound:
            return self._refuse(link, "too many inbound links")
        endpoint = inbound_endpoint(proto, address)
        # A QUIC peer dials from its listening port, so that a restarted one comes back with the same address.
        for old, peer in self._links.from_place(endpoint):
            self._unlink(old, peer, "replaced by a newer link from the same address", now)
        peer = Peer(endpoint, "inbound", Waiting(now), discovered=now)
        self._linked(peer, link, address, now)
        return True

    def _refuse(self, link: int, reason: str) -> bool:
        self.refused += 1
        self._actions.append(Close(link, reason))
        return False

    def _unlink(self, link: int, peer: Peer, reason: str, now: float) -> None:
        """Close a link and take its loss for granted: the later `link_down` finds nothing."""
        self._links.remove(link)
        self._actions.append(Close(link, reason))
        if peer.endpoint in self._wanted and peer.kind != "inbound":
            # Trying sooner would give the same answer.
            peer.delay = self.limits.longest_delay
            self._failed(peer, reason, now)

    def _forget_inbound(self, endpoint: Endpoint) -> bool:
        found = self._links.from_place(endpoint)
        for _, peer in found:
            self._abandon(peer, "peer removed")
        return bool(found)

    def _abandon(self, peer: Peer, reason: str) -> None:
        match peer.state:
            case Linked(link):
                self._links.remove(link)
                self._actions.append(Close(link, reason))
            case Dialling() as dialling:
                self._drop_tokens(dialling)
            case _:
                pass

    def _drop_tokens(self, dialling: Dialling) -> None:
        """Attempts still under way are nobody's: a link that they bring is closed at once."""
        for token in dialling.tokens:
            if token in self._tokens:
                self._tokens[token] = None
