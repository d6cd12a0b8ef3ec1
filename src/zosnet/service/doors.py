"""The node's doors: from the settings to what the data plane is told, and what people are told of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from typing import Literal

from zosnet.access import Doors, compile_doors, explain
from zosnet.access.inbound import source_text
from zosnet.dataplane.protocol import Dataplane, Refusal
from zosnet.model.keys import PublicKey
from zosnet.service.peering import Peering
from zosnet.service.views import DoorsView, RefusalView, RuleView
from zosnet.store.settings import Settings

__all__ = ["apply", "mode", "refused", "view"]

_REFUSED = "drop."
_FAMILY = "drop.refused_"


def doors_of(settings: Settings) -> Doors:
    """What the settings let in."""
    return Doors(settings.allow_inbound == "all", settings.allow, settings.allow_messages)


def allowed_links(settings: Settings) -> frozenset[PublicKey] | None:
    """The keys of those who may link to this node; None: anyone."""
    return frozenset(settings.allow_links) or None


def mode(settings: Settings) -> Literal["none", "all"]:
    """What may come in, beside what rules allow."""
    return "all" if settings.allow_inbound == "all" else "none"


def apply(settings: Settings, dataplane: Dataplane, peering: Peering, now: float) -> None:
    """Tell all that enforce it. Raises UsageError for more rules than the data plane takes."""
    doors = doors_of(settings)
    dataplane.replace_filter(doors.open, compile_doors(doors))
    keys = allowed_links(settings)
    dataplane.replace_allowed_links(None if keys is None else sorted(key.raw for key in keys))
    peering.allow(keys, now)


def view(settings: Settings, dataplane: Dataplane, now: float) -> DoorsView:
    """The rules with what they let in, and what was refused with what would let it in."""
    hits = dataplane.rule_hits()
    texts = [
        *(str(rule) for rule in settings.allow),
        *(source_text(source) for source in settings.allow_messages),
    ]
    counted = [RuleView(text, hits[number] if number < len(hits) else 0) for number, text in enumerate(texts)]
    counters = dataplane.counters()
    return DoorsView(
        inbound=mode(settings),
        rules=counted[: len(settings.allow)],
        messages=counted[len(settings.allow) :],
        links=[key.hex for key in settings.allow_links],
        flows=counters.get("flows", 0),
        refused=_by_reason(counters),
        refusals=refusal_views(dataplane.refusals(), now),
    )


def refused(counters: Mapping[str, int]) -> int:
    """How much was not let in."""
    return sum(_by_reason(counters).values())


def _by_reason(counters: Mapping[str, int]) -> dict[str, int]:
    return {
        name.removeprefix(_REFUSED): count
        for name, count in counters.items()
        if name.startswith(_FAMILY) and count
    }


def refusal_views(refusals: Iterable[Refusal], now: float) -> list[RefusalView]:
    """Each refusal in words."""
    return [_refusal_view(refusal, now) for refusal in refusals]


def _refusal_view(refusal: Refusal, now: float) -> RefusalView:
    key = PublicKey(refusal.key)
    meant = explain(refusal.reason, refusal.protocol, refusal.port, key)
    return RefusalView(
        address=str(IPv6Address(refusal.source)),
        public_key=key.hex,
        what=meant.what,
        reason=refusal.reason,
        why=meant.why,
        count=refusal.count,
        first_ago=_ago(refusal.first, now),
        last_ago=_ago(refusal.last, now),
        setting=meant.setting or None,
        item=meant.item or None,
    )


def _ago(moment: float, now: float) -> float:
    return round(max(now - moment, 0.0), 3)
