"""One node: its machines, put together, and what can be asked of it.

    start ── inside a task group that the caller owns ──> running ── stop ──> retire, flush, close

Everything that waits lives in the caller's task group. `stop` only says that the end is wanted. Whoever runs
the node awaits `stopping` and calls `finish`: so servers can be stopped in the right order around it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import zosnet
from zosnet.babel import Speaker
from zosnet.dataplane.protocol import Dataplane
from zosnet.model.endpoint import Endpoint
from zosnet.model.errors import HostError, ZosnetError
from zosnet.model.keys import SecretKey
from zosnet.model.router_id import RouterId
from zosnet.service import doctor, doors, host_facts, metrics, status, views
from zosnet.service.driver import Driver
from zosnet.service.identity import Identity, new_router_id
from zosnet.service.local_peers import LocalPeers
from zosnet.service.lookups import Lookups
from zosnet.service.memory import resident_bytes
from zosnet.service.messages import Messages
from zosnet.service.peer import Limits
from zosnet.service.peering import Peering
from zosnet.service.probe import Prober, overlay_address
from zosnet.service.reload import compare
from zosnet.service.sessions import SessionKeeper
from zosnet.store.settings import Settings

__all__ = ["Node", "new_router_id"]

log = logging.getLogger("zosnet.node")

_MAGIC_BYTES = 8


class Node:
    """A node over a data plane, which it closes at its end.

    `read_settings` is called at a reload; it raises when the settings are broken, and the old ones stay.
    """

    def __init__(
        self,
        settings: Settings,
        secret: SecretKey,
        router_id: RouterId,
        dataplane: Dataplane,
        *,
        messages: Messages,
        pins: dict[bytes, int] | None = None,
        read_settings: Callable[[], Settings] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.settings = settings
        self.messages = messages
        self.stopping = asyncio.Event()
        self.why_stopped = ""
        self.failure: ZosnetError | None = None
        self._who = Identity(secret, secret.public(), router_id)
        self._dataplane = dataplane
        self._read_settings = read_settings
        self._clock = time.monotonic
        self._began, self._began_unix = time.monotonic(), time.time()
        self._group: asyncio.TaskGroup | None = None
        self._background: list[asyncio.Task[None]] = []
        self._reload_trouble: ZosnetError | None = None
        # Without pins of its own a node keeps none: a test's, or one that may not touch its state.
        path = settings.pins_path if pins is not None else None
        self.sessions = SessionKeeper(dataplane, pins=pins, path=path, clock=self._clock)
        self._build(limits)

    def _build(self, limits: Limits | None) -> None:
        public = self._who.public
        # Seeded from the system's source: what it decides (jitter, order) need not be secret.
        rng = random.Random(os.urandom(16))
        magic = os.urandom(_MAGIC_BYTES)
        self._speaker = Speaker(
            self._who.router_id, public.subnet(), rng=rng, epoch_at_zero=self._began_unix - self._began
        )
        self._peering = Peering(self._who.router_id, rng=rng, limits=limits)
        self._prober = Prober(
            public.subnet(), public.address(), magic, inject=self._dataplane.inject, clock=self._clock
        )
        self._dataplane.watch_probe(magic)
        doors.apply(self.settings, self._dataplane, self._peering, self._clock())
        lookups = Lookups(
            self._peering, clock=self._clock, nudge=lambda: self._driver.nudge(), spawn=self._spawn
        )
        self._driver = Driver(
            self._dataplane,
            self._speaker,
            self._peering,
            self.messages,
            self._prober,
            sessions=self.sessions,
            resolve=lookups.start,
            clock=self._clock,
        )
        self._local_peers = LocalPeers(
            self._who.router_id,
            self._dataplane,
            self._peering,
            clock=self._clock,
            nudge=self._driver.nudge,
            spawn=self._spawn,
        )
        self.messages.attach(nudge=self._driver.nudge, spawn=self._spawn)
        self.sessions.attach(spawn=self._spawn)

    # --- its life

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin to work, with every task in `group`."""
        self._group = group
        now = self._clock()
        for endpoint in self.settings.peers:
            self._peering.want(endpoint, "static", now)
        self._local_peers.start(self.settings)
        self._background.append(group.create_task(self._drive(), name="driver"))

    def stop(self, why: str) -> None:
        """Say that the end is wanted."""
        if not self.stopping.is_set():
            self.why_stopped = why
            log.info("stopping why=%r", why)
            self.stopping.set()

    async def finish(self) -> None:
        """Withdraw the route, send what is queued, free the data plane, and end every task of this node."""
        for task in self._background:
            task.cancel()
        self.messages.close()
        if unfinished := [task for task in self._background if not task.done()]:
            await asyncio.wait(unfinished, timeout=2.0)
        await self.sessions.close()
        self._driver.retire()
        # Joins threads: not in the event loop, where others may still have to end.
        await asyncio.to_thread(self._dataplane.close)
        log.info("stopped uptime=%.1f", self._clock() - self._began)

    async def _drive(self) -> None:
        try:
            await self._driver.run()
        except ZosnetError as error:
            self._fail(error)
        except Exception as error:
            log.debug("bug", exc_info=error)
            remedy = "start it again with --log-level debug, and report what it logs"
            self._fail(HostError(f"this is a bug: {type(error).__name__}: {error}", remedy=remedy))

    def _fail(self, error: ZosnetError) -> None:
        """The node can't go on: stop it in good order, and keep why."""
        log.error("failed reason=%r", error.message)
        self.failure = error
        self.stop(error.message)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task of this node, in its group, forgotten when it ends."""
        assert self._group is not None
        task = self._group.create_task(work, name=name)
        self._background.append(task)
        task.add_done_callback(self._background.remove)
        return task

    # --- what can be asked

    def status(self) -> views.Status:
        """The node at a glance."""
        key = self.key()
        peers = self.peers().peers
        stats = self._dataplane.links()
        return views.Status(
            version=zosnet.__version__,
            public_key=key.public_key,
            address=key.address,
            subnet=key.subnet,
            router_id=str(self._who.router_id),
            tun=self._dataplane.tun_name,
            mtu=self.settings.mtu,
            listen=list(self._dataplane.listen_addresses),
            started=self._began_unix,
            uptime=round(self._clock() - self._began, 3),
            peers_linked=sum(peer.state == "alive" for peer in peers),
            peers_wanted=sum(peer.kind != "inbound" for peer in peers),
            routes=len(self._speaker.selected()),
            queries=len(self._speaker.queries(self._clock())),
            tx_bytes=sum(link.tx_bytes for link in stats),
            rx_bytes=sum(link.rx_bytes for link in stats),
            inbound=doors.mode(self.settings),
            refused=doors.refused(self._dataplane.counters()),
            findings=self._findings(peers),
            sessions=dict(Counter(session.suite for session in self.sessions.stats())),
            pins=self.sessions.pin_count,
        )

    def key(self) -> views.KeyView:
        """Who the node is."""
        return status.key_view(self._who.secret)

    def peers(self) -> views.Peers:
        """All peers and their links."""
        now = self._clock()
        return views.Peers(
            status.peer_views(
                self._peering.peers(),
                self._dataplane.links(),
                self._speaker.neighbours(now),
                now,
                {session.key: session.suite for session in self.sessions.stats()},
            )
        )

    def add_peer(self, text: str) -> bool:
        """Want a peer from now on. False when it is one already. Raises UsageError for a bad endpoint."""
        added = self._peering.want(Endpoint.parse(text), "static", self._clock())
        self._driver.nudge()
        return added

    def remove_peer(self, text: str) -> bool:
        """Want a peer no longer. False when it is none. Raises UsageError for a bad endpoint."""
        removed = self._peering.forget(Endpoint.parse(text), self._clock())
        self._driver.nudge()
        return removed

    def routes(self) -> views.Routes:
        """The routing table."""
        return self._routes_at_this_moment()()

    async def routes_apart(self) -> views.Routes:
        """The same, put into words beside the loop, which ten thousand routes would hold up for 0.2 s."""
        return await asyncio.to_thread(self._routes_at_this_moment())

    def _routes_at_this_moment(self) -> Callable[[], views.Routes]:
        names = status.link_names(self._peering.peers(), self._dataplane.links())
        selected, fallback = self._speaker.selected(), self._speaker.fallback()
        queries = self._speaker.queries(self._clock())
        return lambda: views.Routes(
            selected=status.route_views(selected, names),
            fallback=status.route_views(fallback, names),
            queried=status.query_views(queries),
        )

    def doors(self) -> views.DoorsView:
        """What may come in, and what was refused."""
        return doors.view(self.settings, self._dataplane, self._clock())

    def key_of(self, text: str) -> str | None:
        """The public key behind an overlay address, None while no route leads there."""
        address = int(overlay_address(text))
        if self._who.public.subnet().contains(address):
            return self._who.public.hex
        best = max(
            (route for route in self._speaker.selected() if route.prefix.contains(address)),
            key=lambda route: route.prefix.length,
            default=None,
        )
        if best is None:
            self._speaker.route_needed(address, self._clock())
            self._driver.nudge()
            return None
        return best.router_id.public_key.hex

    def ping(self, request: views.PingRequest) -> AsyncIterator[views.ProbeLine]:
        """Echo requests; see `Prober`."""
        return self._prober.ping(request)

    def trace(self, request: views.TraceRequest) -> AsyncIterator[views.ProbeLine]:
        """The nodes on the way; see `Prober`."""
        return self._prober.trace(request)

    async def doctor(self) -> views.Findings:
        """Everything that is wrong with this node and its machine."""
        facts = await asyncio.to_thread(host_facts.gather, self.settings, running=True)
        return views.Findings([*doctor.about_host(facts, self.settings), *self._findings(self.peers().peers)])

    def metrics(self) -> bytes:
        """Prometheus' text."""
        counters = {
            "babel": self._speaker.counters,
            "node": self._driver.counters | self._peering.counters(),
            "sessions": self.sessions.counters,
            "message": self.messages.counters(),
            "dataplane": self._dataplane.counters(),
        }
        return metrics.exposition(
            metrics.Sample(
                version=zosnet.__version__,
                uptime=self._clock() - self._began,
                counters=counters,
                peers=self.peers().peers,
                sessions=self.sessions.stats(),
                pins=self.sessions.pin_count,
                routes=len(self._speaker.selected()),
                memory=resident_bytes(),
                tasks=len(asyncio.all_tasks()),
            )
        )

    def _findings(self, peers: list[views.PeerView]) -> list[views.Finding]:
        trouble = [*self._local_peers.findings(), *self._reload_findings(), *self.sessions.findings()]
        return doctor.about_node(peers, self._driver.counters, self.settings, trouble)

    # --- reload

    async def reload(self) -> views.ReloadReport:
        """Read the settings again and apply what differs. Raises, and keeps the old, when they are broken."""
        if self._read_settings is None:
            raise HostError("this node was started without settings to read again")
        try:
            new = await asyncio.to_thread(self._read_settings)
            topics = await asyncio.to_thread(self.messages.read_topics, new)
            doors.apply(new, self._dataplane, self._peering, self._clock())
        except ZosnetError as error:
            log.error("reload_failed reason=%r", error.message)
            self._reload_trouble = error
            raise
        self._reload_trouble = None
        changes = compare(self.settings, new)
        self.settings = new
        lines = changes.lines()
        now = self._clock()
        for endpoint in changes.remove:
            self._peering.forget(endpoint, now)
        for endpoint in (*changes.add, *changes.change):
            self._peering.want(endpoint, "static", now)
        if self.messages.set_topics(topics):
            lines.append("topics read again")
        if changes.discovery:
            await self._local_peers.restart(new)
        if changes.log_level is not None:
            logging.getLogger("zosnet").setLevel(changes.log_level.upper())
        self._driver.nudge()
        log.info("reloaded changed=%d needs_restart=%r", len(lines), ",".join(changes.needs_restart))
        return views.ReloadReport(lines, list(changes.needs_restart))

    def _reload_findings(self) -> list[views.Finding]:
        error = self._reload_trouble
        if error is None:
            return []
        text = f"the settings were not reloaded: {error.message}"
        return [views.Finding("reload.failed", "error", text, error.remedy)]
