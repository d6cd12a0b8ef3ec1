from ipaddress import IPv6Address

import pytest

from zosnet.message import TopicPolicy, TopicRule
from zosnet.model import Prefix

NEAR, FAR = IPv6Address("5a6::1"), IPv6Address("5a7::1")
RULES = {
    b"near": TopicRule((Prefix.parse("5a6::/64"),)),
    b"one": TopicRule((Prefix.parse("5a7::1"),)),
    b"none": TopicRule(),
}


@pytest.mark.parametrize(
    ("topic", "source", "default", "allowed"),
    [
        (b"near", NEAR, False, True),
        (b"near", FAR, True, False),
        (b"one", FAR, False, True),
        (b"none", NEAR, True, False),
        (b"unlisted", NEAR, True, True),
        (b"unlisted", NEAR, False, False),
    ],
)
def test_a_listed_topic_follows_its_rule_and_others_the_default(
    topic: bytes, source: IPv6Address, default: bool, allowed: bool
) -> None:
    assert TopicPolicy(default, RULES).allows(topic, source) is allowed
