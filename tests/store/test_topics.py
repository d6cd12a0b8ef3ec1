"""The topic file, in Mycelium's form (reference, section 7.6)."""

from ipaddress import IPv6Address
from pathlib import Path

import pytest

from zosnet.message import TopicPolicy, TopicRule
from zosnet.model import HostError, Prefix, UsageError
from zosnet.store.topics import load_topics


def loaded(tmp_path: Path, text: str) -> TopicPolicy:
    path = tmp_path / "topics.toml"
    path.write_text(text)
    return load_topics(path)


def test_topics_are_read(tmp_path: Path) -> None:
    policy = loaded(
        tmp_path,
        """
        default = "Reject"
        old = ["400::/7"]
        [greet]
        subnets = ["5a6:f0c6:f365:177d::/64", "500::1"]
        forward_socket = "/run/greeter.sock"
        [shut]
        """,
    )
    assert not policy.default_accept
    assert policy.rules == {
        b"old": TopicRule((Prefix.parse("400::/7"),)),
        b"greet": TopicRule(
            (Prefix.parse("5a6:f0c6:f365:177d::/64"), Prefix.parse("500::1/128")), "/run/greeter.sock"
        ),
        b"shut": TopicRule(),
    }
    assert policy.allows(b"greet", IPv6Address("500::1"))


def test_an_empty_file_accepts_everything(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == TopicPolicy()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default = 1", "default"),
        ('default = "Perhaps"', "default"),
        ("greet = 1", "not a topic"),
        ('[greet]\nsubnet = ["400::/7"]', "not a topic"),
        ('[greet]\nsubnets = "400::/7"', "no list"),
        ("[greet]\nsubnets = [1]", "no list"),
        ('[greet]\nsubnets = ["10.0.0.0/8"]', "not an IPv6 prefix"),
        ('[greet]\nforward_socket = "relative"', "no absolute path"),
        ("[greet", "topics.toml"),
    ],
)
def test_a_mistake_is_one_line_with_its_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        loaded(tmp_path, text)
    assert refused.value.remedy and "topics.toml" in str(refused.value)


def test_a_missing_file_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(HostError):
        load_topics(tmp_path / "gone")
