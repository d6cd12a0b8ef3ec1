"""Who may send messages on which topic."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from zosnet.model import Prefix


@dataclass(frozen=True, slots=True)
class TopicRule:
    """A listed topic: only sources inside `subnets` may use it, so an empty rule shuts it."""

    subnets: tuple[Prefix, ...] = ()
    forward_socket: str | None = None
    """The unix socket of the program that gets its messages."""


@dataclass(frozen=True, slots=True)
class TopicPolicy:
    """What a node takes. A topic that isn't listed follows the default."""

    default_accept: bool = True
    rules: Mapping[bytes, TopicRule] = field(default_factory=dict)

    def allows(self, topic: bytes, source: IPv6Address) -> bool:
        """Whether a message from `source` on `topic` is taken."""
        rule = self.rules.get(topic)
        if rule is None:
            return self.default_accept
        address = int(source)
        return any(subnet.contains(address) for subnet in rule.subnets)

    def forward_socket(self, topic: bytes) -> str | None:
        """Where messages on `topic` go, None for the inbox."""
        rule = self.rules.get(topic)
        return rule.forward_socket if rule else None
