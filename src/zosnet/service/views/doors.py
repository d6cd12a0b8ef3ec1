"""What may come in, and what was not let in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DoorsView", "RefusalView", "RuleView"]


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule, or one whose messages are taken. `hits` counts the new that it let in, since it was set."""

    rule: str
    hits: int


@dataclass(frozen=True, slots=True)
class RefusalView:
    """Something that was not let in, `count` times. `item`, added to `setting`, would let it in."""

    address: str
    public_key: str
    what: str
    """`tcp/22`, `icmp type 139`, `messages`."""
    reason: str
    """As its counter is called."""
    why: str
    count: int
    first_ago: float
    """Seconds, as `last_ago`."""
    last_ago: float
    setting: str | None
    item: str | None


@dataclass(frozen=True, slots=True)
class DoorsView:
    """What may come in, and what was refused of late. `links` names who may link, nobody: anyone."""

    inbound: Literal["none", "all"]
    rules: list[RuleView]
    messages: list[RuleView]
    links: list[str]
    flows: int
    """Connections that are remembered."""
    refused: dict[str, int]
    """Since the start, by reason."""
    refusals: list[RefusalView]
    """The latest first."""
    schema: Literal["zosnet.doors/1"] = "zosnet.doors/1"
