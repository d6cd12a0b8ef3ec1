"""A stock Mycelium node, written naively from the behaviour reference (section 4): no bounds, no kindness.

It never refreshes remote routes, says Hello every 20 s and not at connect, answers Hello at once, weighs
round-trip times slowly, answers a seqno request for itself at most once in 4 s, passes a repeated one on
only after 60 s, and knows no backups. What it forwards by is its selected route.
"""

from dataclasses import dataclass, field
from random import Random

from zosnet.babel import Action, Disconnect, Install, RouteStatus, Send, Unreachable
from zosnet.model.prefix import OVERLAY, Prefix
from zosnet.model.router_id import RouterId
from zosnet.wire.babel import INFINITY, Hello, Ihu, RouteRequest, SeqnoRequest, Tlv, Update


def plus(a: int, b: int) -> int:
    return INFINITY if INFINITY in (a, b) else min(a + b, INFINITY - 1)


def newer(a: int, b: int) -> bool:
    return a != b and (a - b) % 65536 < 32768


@dataclass(eq=False)
class Link:
    peer: int
    static: int
    heard: float
    hello_at: float
    cost: int = 1000
    seqno: int = 0

    @property
    def total(self) -> int:
        return self.cost + self.static


@dataclass(eq=False)
class Held:
    link: Link
    router_id: RouterId
    seqno: int
    metric: int
    expires: float
    selected: bool = False

    @property
    def total(self) -> int:
        return plus(self.metric, self.link.total)


@dataclass(eq=False)
class StockSpeaker:
    router_id: RouterId
    own: Prefix
    rng: Random
    seqno: int = 0
    bumped: float = -99.0
    now: float = 0.0
    started: float | None = None
    announce_at: float = 0.0
    hello_at: float = 0.0
    links: dict[int, Link] = field(default_factory=dict)
    table: dict[Prefix, list[Held]] = field(default_factory=dict)
    sources: dict[tuple[Prefix, bytes], tuple[int, int]] = field(default_factory=dict)
    queried: dict[Prefix, float] = field(default_factory=dict)
    asked: dict[tuple[Prefix, int], tuple[float, int]] = field(default_factory=dict)
    requests: dict[tuple[bytes, Prefix, int], tuple[float, set[int]]] = field(default_factory=dict)
    told: dict[Prefix, tuple[int, int, bytes] | None] = field(default_factory=dict)
    out: list[Action] = field(default_factory=list)

    # the surface that the world drives

    def neighbour_up(
        self, peer: int, static_cost: int, now: float, *, kind: str = "", place: str = ""
    ) -> None:
        self.now = now
        if self.started is None:
            self.started = now
            self.announce_at = now + 300.0
            self.hello_at = now + self.rng.random() * 20.0
        self.links[peer] = Link(peer, static_cost, now, now)
        self.announce_own([peer])
        for prefix, until in self.queried.items():
            if until > now:
                self.out.append(Send(peer, RouteRequest(prefix, 0)))

    def neighbour_down(self, peer: int, now: float) -> None:
        self.now = now
        link = self.links.pop(peer, None)
        if link is None:
            return
        for prefix, held in list(self.table.items()):
            for route in held[:]:
                if route.link is link:
                    if route.selected:
                        route.metric, route.expires = INFINITY, now + 6.0
                        self.select(prefix)
                    else:
                        held.remove(route)

    def neighbour_stalled(self, peer: int, now: float) -> None:
        pass

    def neighbour_busy(self, peer: int, busy: bool, now: float) -> None:
        pass

    def neighbour_measured(self, peer: int, rtt: float | None, loss: float | None, now: float) -> None:
        """It has no data plane that measures."""

    def neighbour_resumed(self, peer: int, now: float) -> None:
        pass

    def route_needed(self, destination: int, now: float) -> None:
        self.now = now
        prefix = Prefix.of(destination, 64)
        if prefix in self.table:
            for route in self.table[prefix]:
                self.want_seqno(prefix, route.router_id, route.link.peer)
        else:
            self.query(prefix, 0, 0)

    def receive(self, peer: int, tlv: Tlv, now: float, rtt: float | None = None) -> None:
        self.now = now
        link = self.links.get(peer)
        if link is None:
            return
        match tlv:
            case Hello():
                self.out.append(Send(peer, Ihu(link.total)))
            case Ihu():
                link.heard = now
                link.cost = (9 * link.cost + int(1000 * (now - link.hello_at))) // 10
            case Update():
                self.update(link, tlv)
            case RouteRequest():
                self.route_request(peer, tlv)
            case SeqnoRequest():
                self.seqno_request(peer, tlv)

    def wake(self, now: float) -> None:
        self.now = now
        if now >= self.hello_at:
            self.hello_at = now + 20.0
            for link in self.links.values():
                link.hello_at = now
                self.out.append(Send(link.peer, Hello(link.seqno)))
                link.seqno += 1
        if now >= self.announce_at:
            self.announce_at = now + 300.0
            self.announce_own(list(self.links))
        for link in list(self.links.values()):
            if now >= link.heard + 43.0:
                self.neighbour_down(link.peer, now)
                self.out.append(Disconnect(link.peer, "dead"))
        for prefix, held in list(self.table.items()):
            for route in [route for route in held if route.expires <= now]:
                if route.selected:
                    route.metric, route.expires = INFINITY, now + 6.0
                    self.select(prefix)
                else:
                    held.remove(route)
            if not held:
                del self.table[prefix]

    def deadline(self) -> float | None:
        if self.out:
            return self.now
        if self.started is None:
            return None
        times = [self.hello_at, self.announce_at]
        times += [link.heard + 43.0 for link in self.links.values()]
        times += [route.expires for held in self.table.values() for route in held]
        return min(times)

    def poll(self) -> list[Action]:
        out, self.out = self.out, []
        return out

    def selected(self) -> list[RouteStatus]:
        return [
            RouteStatus(p, r.router_id, r.link.peer, None, r.seqno, r.total, r.metric, r.expires - self.now)
            for p, held in self.table.items()
            for r in held
            if r.selected
        ]

    # Updates

    def feasible(self, prefix: Prefix, router_id: RouterId, seqno: int, metric: int) -> bool:
        best = self.sources.get((prefix, router_id.raw))
        if metric == INFINITY or best is None:
            return True
        return newer(seqno, best[0]) or (seqno == best[0] and metric < best[1])

    def update(self, link: Link, update: Update) -> None:
        prefix, metric = update.prefix, update.metric
        if not OVERLAY.covers(prefix) or prefix.length < 64 or prefix == self.own:
            return
        if metric != INFINITY and not prefix.contains(update.router_id.address):
            return
        feasible = self.feasible(prefix, update.router_id, update.seqno, metric)
        held = self.table.get(prefix, [])
        entry = next((route for route in held if route.link is link), None)
        expires = self.now + (6.0 if metric == INFINITY else 3.5 * update.interval_cs / 100)
        if entry is None:
            if metric == INFINITY or not feasible:
                if not feasible and not any(route.selected for route in held):
                    self.want_seqno(prefix, update.router_id, link.peer)
                return
            entry = Held(link, update.router_id, update.seqno, metric, expires)
            self.table.setdefault(prefix, []).append(entry)
        else:
            if entry.selected and not feasible and entry.router_id == update.router_id:
                self.want_seqno(prefix, update.router_id, link.peer)
                return
            if INFINITY == entry.metric == metric:
                return
            entry.seqno, entry.metric, entry.router_id = update.seqno, metric, update.router_id
            if feasible:
                entry.expires = expires
            elif not entry.selected:
                return
        self.select(prefix)

    def select(self, prefix: Prefix) -> None:
        held = self.table[prefix]
        old = next((route for route in held if route.selected), None)
        usable = [
            route
            for route in sorted(held, key=lambda route: not route.selected)
            if route.metric != INFINITY and self.feasible(prefix, route.router_id, route.seqno, route.metric)
        ]
        best = min(usable, key=lambda route: route.total, default=None)
        if (
            best is not old
            and old in usable
            and not (best and (best.total < old.total - 10 or best.metric == 0))
        ):
            best = old
        for route in held:
            route.selected = route is best
        self.tell(prefix, old, best)

    def tell(self, prefix: Prefix, old: Held | None, new: Held | None) -> None:
        before = self.told.get(prefix)
        if new is None:
            if before is None:
                return
            self.told[prefix] = None
            for route in self.table[prefix]:
                self.want_seqno(prefix, route.router_id, route.link.peer)
            self.out.append(Unreachable(prefix, RouterId(before[2])))
            for peer in self.links:
                self.out.append(Send(peer, Update(prefix, self.router_id, self.seqno, INFINITY)))
            return
        self.queried.pop(prefix, None)
        now = (new.link.peer, new.metric, new.router_id.raw)
        self.told[prefix] = now
        self.out.append(Install(prefix, new.router_id, new.link.peer, None, new.total))
        if before is None or before[2] != now[2] or abs(before[1] - now[1]) > 10:
            for peer in self.links:
                if peer != new.link.peer:
                    self.announce(prefix, new, peer, new.link.total)
        else:
            self.told[prefix] = (now[0], before[1] if old is new else now[1], now[2])
            _, peers = self.requests.get((new.router_id.raw, prefix, new.seqno), (0.0, set[int]()))
            for peer in sorted(peers & set(self.links)):
                self.announce(prefix, new, peer, new.link.total)

    def announce(self, prefix: Prefix, route: Held, peer: int, cost: int) -> None:
        metric = plus(route.metric, cost)
        key = (prefix, route.router_id.raw)
        if self.feasible(prefix, route.router_id, route.seqno, metric) and metric != INFINITY:
            self.sources[key] = (route.seqno, metric)
        self.out.append(Send(peer, Update(prefix, route.router_id, route.seqno, metric)))

    def announce_own(self, peers: list[int]) -> None:
        for peer in peers:
            self.out.append(Send(peer, Update(self.own, self.router_id, self.seqno, 0)))

    # requests

    def query(self, prefix: Prefix, generation: int, asker: int) -> None:
        self.queried[prefix] = self.now + 15.0
        for peer in self.links:
            until, least = self.asked.get((prefix, peer), (0.0, 99))
            if peer != asker and (until <= self.now or generation < least):
                self.asked[(prefix, peer)] = (self.now + 15.0, generation)
                self.out.append(Send(peer, RouteRequest(prefix, generation)))

    def route_request(self, peer: int, request: RouteRequest) -> None:
        prefix = request.prefix
        if prefix is None:
            for known, held in self.table.items():
                for route in held:
                    if route.selected and route.link.peer != peer:
                        self.announce(known, route, peer, route.link.total)
            self.announce_own([peer])
        elif self.own.covers(prefix):
            self.announce_own([peer])
        elif prefix in self.table:
            for route in self.table[prefix]:
                if route.selected and route.link.peer != peer:
                    self.announce(prefix, route, peer, route.link.total)
        elif self.queried.get(prefix, 0.0) <= self.now and request.generation + 1 < 16:
            self.query(prefix, request.generation + 1, peer)

    def want_seqno(self, prefix: Prefix, router_id: RouterId, peer: int) -> None:
        seqno = (self.sources.get((prefix, router_id.raw), (0, 0))[0] + 1) % 65536
        self.requests.setdefault((router_id.raw, prefix, seqno), (self.now + 60.0, set()))
        if peer in self.links:
            self.out.append(Send(peer, SeqnoRequest(prefix, router_id, seqno, 64)))

    def seqno_request(self, peer: int, request: SeqnoRequest) -> None:
        key = (request.router_id.raw, request.prefix, request.seqno)
        if self.requests.get(key, (0.0, set[int]()))[0] > self.now:
            return
        held = self.table.get(request.prefix, [])
        for route in held:
            settled = route.router_id != request.router_id or not newer(request.seqno, route.seqno)
            if route.selected and route.metric != INFINITY and settled:
                self.announce(request.prefix, route, peer, self.links[peer].total)
                return
        if request.router_id == self.router_id:
            if (
                request.prefix == self.own
                and newer(request.seqno, self.seqno)
                and self.now >= self.bumped + 4.0
            ):
                self.bumped = self.now
                self.seqno = (self.seqno + 1) % 65536
                self.announce_own(list(self.links))
            return
        targets = [route for route in held if route.link.peer != peer and route.metric != INFINITY]
        targets.sort(key=lambda r: not self.feasible(request.prefix, r.router_id, r.seqno, r.metric))
        if request.hop_count >= 2 and targets:
            self.requests[key] = (self.now + 60.0, {peer})
            request = request._replace(hop_count=request.hop_count - 1)
            self.out.append(Send(targets[0].link.peer, request))
