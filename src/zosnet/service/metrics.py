"""Prometheus metrics: the node's own counters, and under Mycelium's names what has the same meaning.

A counter's name comes from the room that counts: `drop.no_route` of the data plane is
`zosnet_dataplane_drop_total{reason="no_route"}`. prometheus_client is imported at the first scrape: a node
that nobody scrapes doesn't pay for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zosnet.service.views import PeerView

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["MYCELIUM", "Sample", "exposition"]

#: What the rooms count that may also fall: sizes, not events.
GAUGES = frozenset(
    {
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

#: Mycelium's name and label (reference, section 8.9) ← room and counter of ours.
MYCELIUM: dict[tuple[str, str], tuple[str, str, str]] = {
    ("node", "received.hello"): ("mycelium_router_processed_tlvs", "tlv_type", "hello"),
    ("node", "received.ihu"): ("mycelium_router_processed_tlvs", "tlv_type", "ihu"),
    ("node", "received.update"): ("mycelium_router_processed_tlvs", "tlv_type", "update"),
    ("node", "received.route_request"): ("mycelium_router_processed_tlvs", "tlv_type", "route_request"),
    ("node", "received.seqno_request"): ("mycelium_router_processed_tlvs", "tlv_type", "seqno_request"),
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
    routes: int
    memory: int
    """Resident bytes."""


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
    yield GaugeMetricFamily("process_resident_memory_bytes", "Memory in use.", value=sample.memory)


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
    for peer in peers:
        if peer.state != "alive":
            continue
        sent.add_metric([peer.endpoint], peer.tx_bytes)
        received.add_metric([peer.endpoint], peer.rx_bytes)
        if peer.rtt_ms is not None:
            rtt.add_metric([peer.endpoint], peer.rtt_ms / 1000)
    yield from (sent, received, rtt)


def _counters(room: str, counters: Mapping[str, int]) -> Iterator[Metric]:
    """One metric for each name; what follows a dot is the label `reason`."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    gauges = {name: value for name, value in counters.items() if name in GAUGES}
    for name, value in gauges.items():
        yield GaugeMetricFamily(f"zosnet_{room}_{name}", f"Held by {room} at this moment.", value=value)
    plain: dict[str, int] = {}
    labelled: dict[str, dict[str, int]] = {}
    for name, value in counters.items():
        if name in gauges:
            continue
        stem, dot, label = name.partition(".")
        if dot:
            labelled.setdefault(stem, {})[label] = value
        else:
            plain[stem] = value
    for stem, value in plain.items():
        yield CounterMetricFamily(f"zosnet_{room}_{stem}", f"Counted by {room}.", value=value)
    for stem, values in labelled.items():
        name = f"zosnet_{room}_{stem}" + ("_by_reason" if stem in plain else "")
        family = CounterMetricFamily(name, f"Counted by {room}.", labels=["reason"])
        for label, value in values.items():
            family.add_metric([label], value)
        yield family


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
