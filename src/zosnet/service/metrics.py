"""Prometheus metrics: the node's own counters, and under Mycelium's names what has the same meaning.

A counter's name comes from the room that counts: `tun.writes` of the data plane is
`zosnet_dataplane_tun_writes_total`, and `drop.no_route` is `zosnet_dataplane_drop_total{reason="no_route"}`.
prometheus_client is imported at the first scrape: a node
that nobody scrapes doesn't pay for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zosnet.dataplane.protocol import SessionStats
from zosnet.service.views import PeerView

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["MYCELIUM", "Sample", "exposition"]

#: What the rooms count that may also fall: sizes, not events.
GAUGES = frozenset(
    {
        "flows",
        "routes",
        "prefixes",
        "sources",
        "queries",
        "seqno_requests",
        "timers",
        "waiting",
        "waiting_bytes",
        "receivers",
    }
)

#: Families of counters and what tells their members apart.
LABELS = {"drop": "reason", "refused": "reason", "ignored": "reason", "received": "tlv_type"}

#: Mycelium's name and label (reference, section 8.9) ← room and counter of ours.
MYCELIUM: dict[tuple[str, str], tuple[str, str, str]] = {
    ("babel", "received.hello"): ("mycelium_router_processed_tlvs", "tlv_type", "hello"),
    ("babel", "received.ihu"): ("mycelium_router_processed_tlvs", "tlv_type", "ihu"),
    ("babel", "received.update"): ("mycelium_router_processed_tlvs", "tlv_type", "update"),
    ("babel", "received.route_request"): ("mycelium_router_processed_tlvs", "tlv_type", "route_request"),
    ("babel", "received.seqno_request"): ("mycelium_router_processed_tlvs", "tlv_type", "seqno_request"),
    ("dataplane", "rx.packets"): ("mycelium_router_packets_routed", "verdict", "local"),
    ("dataplane", "forward.packets"): ("mycelium_router_packets_routed", "verdict", "forward"),
    ("dataplane", "drop.no_route"): ("mycelium_router_packets_routed", "verdict", "no_route"),
    ("dataplane", "drop.hop_limit"): ("mycelium_router_packets_routed", "verdict", "ttl_expired"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything that one scrape shows."""

    version: str
    uptime: float
    counters: Mapping[str, Mapping[str, int]]
    """By room."""
    peers: Iterable[PeerView]
    sessions: Iterable[SessionStats]
    pins: int
    routes: int
    memory: int
    """Resident bytes."""
    tasks: int = 0
    """Tasks of the event loop that have not ended."""


def exposition(sample: Sample) -> bytes:
    """The text that Prometheus reads."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(sample))
    return generate_latest(registry)


class _Collector:
    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        """All metrics, from one moment."""
        yield from _gauges(self._sample)
        yield from _peers(list(self._sample.peers))
        yield from _sessions(self._sample.sessions)
        for room, counters in self._sample.counters.items():
            yield from _counters(room, counters)
        yield from _mycelium(self._sample)


def _gauges(sample: Sample) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    info = GaugeMetricFamily("zosnet_info", "1, with the node's version.", labels=["version"])
    info.add_metric([sample.version], 1)
    yield info
    yield GaugeMetricFamily("zosnet_uptime_seconds", "Seconds since the start.", value=sample.uptime)
    yield GaugeMetricFamily("zosnet_routes", "Routes in use.", value=sample.routes)
    yield GaugeMetricFamily("zosnet_pins", "Nodes that are held to our session suite.", value=sample.pins)
    yield GaugeMetricFamily("process_resident_memory_bytes", "Memory in use.", value=sample.memory)
    yield GaugeMetricFamily("zosnet_tasks", "Tasks that have not ended.", value=sample.tasks)


def _peers(peers: list[PeerView]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    states = GaugeMetricFamily("zosnet_peers", "Peers by kind and state.", labels=["kind", "state"])
    for kind in ("static", "inbound", "discovered"):
        for state in ("alive", "connecting", "dead"):
            count = sum(peer.kind == kind and peer.state == state for peer in peers)
            states.add_metric([kind, state], count)
    yield states
    sent = CounterMetricFamily("zosnet_link_tx_bytes", "Bytes sent over a link.", labels=["peer"])
    received = CounterMetricFamily("zosnet_link_rx_bytes", "Bytes received over a link.", labels=["peer"])
    rtt = GaugeMetricFamily("zosnet_link_rtt_seconds", "Round trip of a link.", labels=["peer"])
    loss = GaugeMetricFamily("zosnet_link_loss_ratio", "Datagrams lost on a link.", labels=["peer"])
    cost = GaugeMetricFamily("zosnet_link_cost", "What a link costs; 65535: unusable.", labels=["peer"])
    largest = GaugeMetricFamily(
        "zosnet_link_max_datagram_bytes", "The largest datagram that a link carries.", labels=["peer"]
    )
    for peer in peers:
        if peer.state != "alive":
            continue
        sent.add_metric([peer.endpoint], peer.tx_bytes)
        received.add_metric([peer.endpoint], peer.rx_bytes)
        if peer.rtt_ms is not None:
            rtt.add_metric([peer.endpoint], peer.rtt_ms / 1000)
        for family, value in ((loss, peer.loss), (cost, peer.cost), (largest, peer.max_datagram)):
            if value is not None:
                family.add_metric([peer.endpoint], value)
    yield from (sent, received, rtt, loss, cost, largest)


def _sessions(sessions: Iterable[SessionStats]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(
        "zosnet_sessions", "Sessions with other nodes.", labels=["suite", "via", "state"]
    )
    for labels, count in Counter((each.suite, each.via, each.state) for each in sessions).items():
        family.add_metric(list(labels), count)
    yield family


def _counters(room: str, counters: Mapping[str, int]) -> Iterator[Metric]:
    """One metric for each name; of a family that LABELS knows, what follows the dot is a label."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    families: dict[str, CounterMetricFamily] = {}
    for name, value in counters.items():
        stem, _, label = name.partition(".")
        flat = f"zosnet_{room}_{name.replace('.', '_')}"
        if name in GAUGES:
            yield GaugeMetricFamily(flat, f"Held by {room} at this moment.", value=value)
        elif label and stem in LABELS:
            if stem not in families:
                text = f"Counted by {room}."
                families[stem] = CounterMetricFamily(f"zosnet_{room}_{stem}", text, labels=[LABELS[stem]])
            families[stem].add_metric([label], value)
        else:
            yield CounterMetricFamily(flat, f"Counted by {room}.", value=value)
    yield from families.values()


def _mycelium(sample: Sample) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    families: dict[str, Metric] = {}
    for (room, counter), (name, label, value) in MYCELIUM.items():
        count = sample.counters.get(room, {}).get(counter)
        if count is None:
            continue
        if name not in families:
            families[name] = CounterMetricFamily(name, "As Mycelium counts it.", labels=[label])
        family = families[name]
        assert isinstance(family, CounterMetricFamily)
        family.add_metric([value], count)
    yield from families.values()
    yield GaugeMetricFamily(
        "mycelium_peer_manager_known_peers", "As Mycelium counts it.", value=len(list(sample.peers))
    )
