"""The topics of messages, as they are asked for and changed while the node runs.

Changes live as long as the process; what should stay belongs into the topic file.
"""

from __future__ import annotations

from dataclasses import replace

from zosnet.message import Courier, TopicPolicy, TopicRule
from zosnet.model.errors import UsageError
from zosnet.model.prefix import Prefix

__all__ = ["Topics"]

# As many topics as a person could list, and no more than a client could fill memory with: a guess.
MOST_TOPICS = 4096
MOST_SOURCES = 1024
# sun_path has 108 bytes with the final zero (unix(7)).
LONGEST_PATH = 107


class Topics:
    """The policy of one courier."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier

    @property
    def policy(self) -> TopicPolicy:
        """What holds now."""
        return self._courier.topics

    @property
    def default_accept(self) -> bool:
        """Whether topics that aren't listed are taken."""
        return self.policy.default_accept

    def use(self, policy: TopicPolicy) -> bool:
        """Put `policy` in the place of the present one. False when it is the same."""
        if policy == self.policy:
            return False
        self._courier.topics = policy
        return True

    def set_default(self, accept: bool) -> None:
        """Take topics that aren't listed, or don't."""
        self.use(replace(self.policy, default_accept=accept))

    def names(self) -> list[bytes]:
        """The listed topics."""
        return list(self.policy.rules)

    def add(self, topic: bytes) -> None:
        """List a topic; nobody may use it until a source is added. Listed ones stay as they are."""
        if topic not in self.policy.rules:
            _check(len(self.policy.rules) < MOST_TOPICS, "too many topics are listed")
            self._set(topic, TopicRule())

    def remove(self, topic: bytes) -> None:
        """List a topic no longer, so that the default holds for it."""
        rules = {name: rule for name, rule in self.policy.rules.items() if name != topic}
        self.use(replace(self.policy, rules=rules))

    def sources(self, topic: bytes) -> list[str] | None:
        """Who may use a topic; None for one that isn't listed."""
        rule = self.policy.rules.get(topic)
        return None if rule is None else [str(subnet) for subnet in rule.subnets]

    def add_source(self, topic: bytes, subnet: str) -> bool:
        """Let a network use a topic. False for a topic that isn't listed."""
        prefix = Prefix.parse(subnet)
        rule = self.policy.rules.get(topic)
        if rule is None:
            return False
        if prefix not in rule.subnets:
            _check(len(rule.subnets) < MOST_SOURCES, "too many sources are listed")
            self._set(topic, replace(rule, subnets=(*rule.subnets, prefix)))
        return True

    def remove_source(self, topic: bytes, subnet: str) -> bool:
        """Take a network from a topic. False for a topic that isn't listed."""
        prefix = Prefix.parse(subnet)
        rule = self.policy.rules.get(topic)
        if rule is None:
            return False
        self._set(topic, replace(rule, subnets=tuple(each for each in rule.subnets if each != prefix)))
        return True

    def forward_socket(self, topic: bytes) -> str | None:
        """The unix socket that gets a topic's messages."""
        return self.policy.forward_socket(topic)

    def set_forward(self, topic: bytes, path: str | None) -> bool:
        """Send a topic's messages to a socket; None for the queue. False for a topic that isn't listed.

        Raises UsageError for what no socket can be called.
        """
        _check(path is None or is_socket_path(path), f"{path!r} is no absolute path of a socket")
        rule = self.policy.rules.get(topic)
        if rule is None:
            return False
        self._set(topic, replace(rule, forward_socket=path))
        return True

    def _set(self, topic: bytes, rule: TopicRule) -> None:
        self.use(replace(self.policy, rules={**self.policy.rules, topic: rule}))


def is_socket_path(path: str) -> bool:
    """Whether a unix socket can have this path: absolute, and 107 bytes of text at most (unix(7))."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
        return False
    return path.startswith("/") and "\0" not in path and size <= LONGEST_PATH


def _check(holds: bool, text: str) -> None:
    if not holds:
        raise UsageError(text)
