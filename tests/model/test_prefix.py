"""Prefixes against the standard library's, which is slower and right."""

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import OVERLAY, Prefix, UsageError

addresses = st.integers(0, 2**128 - 1)
lengths = st.integers(0, 128)


def network(prefix: Prefix) -> IPv6Network:
    return IPv6Network(str(prefix))


@given(addresses, lengths)
def test_a_prefix_is_the_standard_librarys_network(address: int, length: int) -> None:
    prefix = Prefix.of(IPv6Address(address), length)
    expected = IPv6Network((address, length), strict=False)
    assert network(prefix) == expected
    assert prefix.packed() == expected.network_address.packed
    assert Prefix.parse(str(prefix)) == prefix == Prefix.of(address, length)


@given(addresses, lengths, addresses, lengths)
def test_containment_agrees_with_the_standard_library(a: int, a_length: int, b: int, b_length: int) -> None:
    one = Prefix.of(a, a_length)
    for other in (Prefix.of(b, b_length), Prefix.of(a, b_length)):
        assert one.covers(other) == network(other).subnet_of(network(one))
        assert one.contains(other.network) == (IPv6Address(other.network) in network(one))


def test_the_overlay_is_two_first_bytes() -> None:
    assert str(OVERLAY) == "400::/7"
    assert OVERLAY.contains(int(IPv6Address("5ff::1"))) and not OVERLAY.contains(int(IPv6Address("600::")))


def test_a_bare_address_is_one_host() -> None:
    assert Prefix.parse(" 400::1 ") == Prefix.of(int(IPv6Address("400::1")), 128)


@pytest.mark.parametrize(
    "text", ["", "400::/129", "400::/-1", "400::/", "400::/x", "10.0.0.0/8", "400::/٣", "nonsense"]
)
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Prefix.parse(text)


def test_a_length_must_be_possible() -> None:
    with pytest.raises(UsageError):
        Prefix.of(0, 129)
