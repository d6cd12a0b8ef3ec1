"""The one loop around the pure machines: facts from the data plane in, their actions out.

    data plane ──events──> peering, Speaker, Courier, Prober ──actions──> data plane

Everything happens in turns. A turn takes a batch of events, wakes the machines whose time has come, and
carries out what they want; routes come before control packets, so that traffic moves before the news of it.
Between two full batches the loop goes round, so that the API stays alive in a storm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import assert_never

from zosnet.babel import Disconnect, Send, Speaker
from zosnet.dataplane import events
from zosnet.dataplane.protocol import Dataplane
from zosnet.model.errors import HostError, PeerError
from zosnet.service.held_routes import HeldRoutes
from zosnet.service.link_news import LinkNews
from zosnet.service.messages import Messages
from zosnet.service.peer import Address, Close, Dial, Forgotten, Resolve, Weigh
from zosnet.service.peering import Peering
from zosnet.service.probe import Prober
from zosnet.service.sessions import SessionKeeper
from zosnet.service.used_routes import UsedRoutes
from zosnet.wire.babel import Tlv, Update, decode_control, encode_control

__all__ = ["Driver", "static_cost"]

log = logging.getLogger("zosnet.node")

BATCH = 1024
# Rounds of actions in one turn: a Speaker with a long dump to send gives it slice by slice.
ROUNDS = 8
# Seconds of them after which a turn ends nevertheless: what comes meanwhile may be what packets wait for, or
# a Hello whose answer is a neighbour's measurement of the link.
LONGEST_TURN = 0.01
# What a link's kind costs beside its round trip: the first two are Mycelium's (reference, section 2.8).
_KINDS = {"tcp": 10, "quic": 7, "udp": 4}


def static_cost(proto: str, ip: str) -> int:
    """What a link costs beside its round trip: for its kind, and for IPv4."""
    address = ip_address(ip)
    is_ipv4 = address.version == 4 or (isinstance(address, IPv6Address) and address.ipv4_mapped is not None)
    return _KINDS.get(proto, 10) + (5 if is_ipv4 else 0)


class Driver:
    """Drives one node's machines. `resolve` finds a peer's addresses, and tells Peering later."""

    def __init__(
        self,
        dataplane: Dataplane,
        speaker: Speaker,
        peers: Peering,
        messages: Messages,
        prober: Prober,
        *,
        sessions: SessionKeeper,
        resolve: Callable[[Resolve], None],
        clock: Callable[[], float],
    ) -> None:
        self._counters = {
            "control.malformed": 0,
            "control.ignored": 0,
            "control.unknown_link": 0,
            "control.impostor": 0,
        }
        self._dataplane = dataplane
        self._speaker = speaker
        self._peers = peers
        self._messages = messages
        self._prober = prober
        self._sessions = sessions
        self._resolve = resolve
        self._clock = clock
        self._routed: dict[int, bytes | None] = {}
        self._held = HeldRoutes(dataplane, sessions)
        self._used = UsedRoutes(dataplane, speaker)
        self._news = LinkNews(peers, clock())
        self._wakeup = asyncio.Event()

    @property
    def counters(self) -> dict[str, int]:
        """Control packets that were not taken, and lines of the log that were left out."""
        return {**self._counters, "log_thinned": self._news.thinned}

    async def run(self) -> None:
        """Until cancelled. Raises HostError when the data plane can't go on."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._dataplane.fd, self._wakeup.set)
        try:
            while True:
                more = self.turn()
                await asyncio.sleep(0)
                if not more:
                    await self._rest()
        finally:
            loop.remove_reader(self._dataplane.fd)

    def nudge(self) -> None:
        """Something was asked of a machine: carry out its actions soon."""
        self._wakeup.set()

    def turn(self) -> bool:
        """One turn; True when another should follow at once."""
        self._wakeup.clear()
        batch = self._dataplane.drain_events(BATCH)
        now = self._clock()
        for event in batch:
            self._take(event, now)
        self._wake(now)
        more = self._act(now)
        return more or len(batch) == BATCH

    def retire(self) -> None:
        """Withdraw this node's route from all neighbours."""
        now = self._clock()
        self._speaker.retire(now)
        for _ in range(ROUNDS):
            if not self._act_routing(now):
                break
        self._held.apply(now)

    # --- facts in

    def _take(self, event: events.Event, now: float) -> None:
        match event:
            case events.ControlReceived():
                self._take_control(event, now)
            case events.LinkUp():
                self._take_link(event, now)
            case events.LinkDown(link, reason):
                self._lose(link, reason, now)
            case events.DialFailed(token, _, reason):
                self._peers.dial_failed(token, reason, now)
            case events.RouteNeeded(destination, for_others):
                self._speaker.route_needed(int.from_bytes(destination, "big"), now, for_others=for_others)
            case events.MessageReceived(source, destination, key, body):
                self._messages.take(source, destination, key, body, now)
            case events.ProbeReceived(packet, at):
                self._prober.receive(packet, at)
            case events.Pinned(key):
                self._sessions.pinned(key)
            case events.Downgraded(key):
                self._sessions.downgraded(key)
            case events.Failed(text):
                raise HostError(
                    f"the data plane failed: {text}", remedy="start the node again; report it if it returns"
                )
            case _:
                self._take_state(event, now)

    def _take_state(
        self,
        event: events.Stalled | events.Resumed | events.Busy | events.Idle | events.Measured,
        now: float,
    ) -> None:
        if event.link not in self._routed:
            return
        match event:
            case events.Stalled(link):
                self._used.prepare_loss(now)
                self._news.stalled(link, now)
                self._speaker.neighbour_stalled(link, now)
            case events.Resumed(link):
                self._news.resumed(link, now)
                self._speaker.neighbour_resumed(link, now)
            case events.Busy(link):
                self._speaker.neighbour_busy(link, True, now)
            case events.Idle(link):
                self._speaker.neighbour_busy(link, False, now)
            case events.Measured(link, rtt, loss):
                self._speaker.neighbour_measured(link, rtt, loss, now)
            case never:
                assert_never(never)

    def _take_control(self, event: events.ControlReceived, now: float) -> None:
        link = event.link
        if link not in self._routed:
            self._counters["control.unknown_link"] += 1
            return
        try:
            tlv = decode_control(event.packet)
        except PeerError as error:
            self._counters["control.malformed"] += 1
            self._drop(link, error.message, now)
            return
        if tlv is None:
            self._counters["control.ignored"] += 1
            return
        if self._is_welcome(link, tlv, now):
            self._speaker.receive(link, tlv, now, event.rtt)

    def _is_welcome(self, link: int, tlv: Tlv, now: float) -> bool:
        """Only the neighbour itself announces a route of metric 0: so we learn who it is.

        Where its link proved a key, that must be its own.
        """
        if not (isinstance(tlv, Update) and tlv.metric == 0):
            return True
        proven = self._routed[link]
        if proven is not None and proven != tlv.router_id.public_key.raw:
            self._counters["control.impostor"] += 1
            self._drop(link, "it calls itself another node than it proved to be", now)
            return False
        peer = self._peers.peer_of(link)
        if peer is not None and peer.neighbour is not None:
            return True
        if self._peers.recognised(link, tlv.router_id, now):
            self._news.named(link, tlv.router_id.public_key.address(), now)
            return True
        if self._peers.peer_of(link) is None:
            self._leave(link, now)
        return False

    def _take_link(self, event: events.LinkUp, now: float) -> None:
        address = Address(event.remote_ip.partition("%")[0], event.remote_port, _scope(event.remote_ip))
        if not self._peers.link_up(event.link, event.token, event.proto, address, now):
            return
        wanted = event.token is not None
        self._news.up(event.link, is_dialled=wanted)
        self._routed[event.link] = event.key
        cost = static_cost(event.proto, address.ip)
        self._speaker.neighbour_up(
            event.link, cost, now, wanted=wanted, kind=event.proto, place=event.remote_ip
        )

    def _lose(self, link: int, reason: str, now: float) -> None:
        if link in self._routed:
            self._news.down(link, reason, now)
        self._leave(link, now)
        self._peers.link_down(link, reason, now)

    def _leave(self, link: int, now: float) -> None:
        if link in self._routed:
            self._used.prepare_loss(now)
            del self._routed[link]
            self._speaker.neighbour_down(link, now)

    def _drop(self, link: int, reason: str, now: float) -> None:
        """Close a link ourselves; its later LinkDown finds nothing left to do."""
        self._lose(link, reason, now)
        self._dataplane.close_link(link)

    # --- time

    def _wake(self, now: float) -> None:
        for machine in (self._peers, self._speaker, self._messages):
            due = machine.deadline()
            if due is not None and due <= now:
                machine.wake(now)
        self._used.wake(now)

    async def _rest(self) -> None:
        """Until something happens, or a machine's time has come."""
        due = [
            when for m in (self._peers, self._speaker, self._messages) if (when := m.deadline()) is not None
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min([self._used.deadline, *due])):
                await self._wakeup.wait()

    # --- actions out

    def _act(self, now: float) -> bool:
        self._act_peering(now)
        more = self._act_routing(now)
        for destination, body in self._messages.outgoing():
            self._dataplane.send_message(destination, body)
        return more

    def _act_peering(self, now: float) -> None:
        for action in self._peers.poll():
            match action:
                case Resolve():
                    self._resolve(action)
                case Dial(token, proto, at, timeout, key):
                    self._dataplane.dial(token, proto, at.ip, at.port, at.scope, timeout, key)
                case Weigh(link, weight, metered):
                    self._speaker.neighbour_weighed(link, weight, metered, now)
                case Close(link, reason):
                    self._news.closed(link, reason, now)
                    self._dataplane.close_link(link)
                case Forgotten(endpoint):
                    log.info("peer_forgotten peer=%s", endpoint.place)
                case never:
                    assert_never(never)

    def _act_routing(self, now: float) -> bool:
        """Carry out what the Speaker wants. True when it has more to say than one turn should carry.

        While it decides, it says nothing of what it decided, so that routes may be held back until the end.
        """
        ends = self._clock() + LONGEST_TURN
        for _ in range(ROUNDS):
            actions = self._speaker.poll()
            if not actions and not self._held:
                return False
            self._held.add(actions)
            if not self._speaker.is_deciding or self._held.is_urgent:
                self._held.apply(now)
            self._send([action for action in actions if isinstance(action, Send)])
            for action in actions:
                if isinstance(action, Disconnect):
                    self._routed.pop(action.peer, None)
                    self._drop(action.peer, action.reason, now)
            if self._clock() >= ends:
                break
        return True

    def _send(self, sends: list[Send]) -> None:
        """Hand control packets down in one call. An Update that goes to many is one object, encoded once."""
        batch: list[tuple[int, bytes]] = []
        encoded: dict[int, bytes] = {}
        for send in sends:
            packet = encoded.get(id(send.tlv))
            if packet is None:
                packet = encoded[id(send.tlv)] = encode_control(send.tlv)
            batch.append((send.peer, packet))
        if batch:
            self._dataplane.send_control(batch)


def _scope(ip: str) -> int:
    zone = ip.partition("%")[2]
    return int(zone) if zone.isdigit() else 0
