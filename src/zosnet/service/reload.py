"""From old settings to new: what a running node can take on, and what waits for a restart."""

from __future__ import annotations

from dataclasses import dataclass

from zosnet.model.endpoint import Endpoint
from zosnet.store.settings import OPTIONS, Settings

__all__ = ["LIVE", "Changes", "compare"]

#: Settings that a running node can take on. `topic_config` is read again whether its name changed or not.
LIVE = frozenset(
    {
        "peers",
        "topic_config",
        "log_level",
        "allow_inbound",
        "allow",
        "allow_messages",
        "allow_links",
        "disable_peer_discovery",
        "peer_discovery_port",
        "peer_discovery_interfaces",
    }
)
_DOORS = ("allow_inbound", "allow", "allow_messages", "allow_links")
_DISCOVERY = ("disable_peer_discovery", "peer_discovery_port", "peer_discovery_interfaces")


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference between the settings in force and the new ones."""

    add: tuple[Endpoint, ...]
    change: tuple[Endpoint, ...]
    """Peers of which something else is wanted."""
    remove: tuple[Endpoint, ...]
    discovery: bool
    doors: bool
    log_level: str | None
    needs_restart: tuple[str, ...]

    def lines(self) -> list[str]:
        """Each applied change in words."""
        return [
            *(f"peer added: {endpoint}" for endpoint in self.add),
            *(f"peer changed: {endpoint}" for endpoint in self.change),
            *(f"peer removed: {endpoint}" for endpoint in self.remove),
            *(["what may come in: `zosnet doors` shows it"] if self.doors else []),
            *(["discovery restarted with its new settings"] if self.discovery else []),
            *([f"log level: {self.log_level}"] if self.log_level else []),
        ]


def compare(old: Settings, new: Settings) -> Changes:
    """What a reload from `old` to `new` means."""
    wishes = {endpoint: endpoint.wishes for endpoint in old.peers}
    return Changes(
        change=tuple(each for each in new.peers if each.wishes != wishes.get(each, each.wishes)),
        add=tuple(endpoint for endpoint in new.peers if endpoint not in old.peers),
        remove=tuple(endpoint for endpoint in old.peers if endpoint not in new.peers),
        discovery=any(getattr(old, name) != getattr(new, name) for name in _DISCOVERY),
        doors=any(getattr(old, name) != getattr(new, name) for name in _DOORS),
        log_level=new.log_level if new.log_level != old.log_level else None,
        needs_restart=tuple(
            option.name
            for option in OPTIONS
            if option.name not in LIVE and option.name != "config"
            and getattr(old, option.name) != getattr(new, option.name)
        ),
    )  # fmt: skip
