import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import Endpoint, ListenAddress, UsageError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp://192.0.2.1:9651", Endpoint("tcp", "192.0.2.1", 9651)),
        ("QUIC://[2001:DB8:0::1]:1", Endpoint("quic", "2001:db8::1", 1)),
        ("tcp://[fe80::1%3]:9651", Endpoint("tcp", "fe80::1", 9651, 3)),
        (" tcp://Node.Example.org.:65535 ", Endpoint("tcp", "node.example.org", 65535)),
        ("tcp://localhost:9651", Endpoint("tcp", "localhost", 9651)),
    ],
)
def test_endpoints_are_read_and_written_back(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint
    assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.0.2.1:9651", "the protocol is missing"),
        ("udp://192.0.2.1:9651", "unknown"),
        ("tcp://192.0.2.1", "the port is missing"),
        ("tcp://192.0.2.1:", "the port is missing"),
        ("tcp://192.0.2.1:0", "not a port"),
        ("tcp://192.0.2.1:65536", "not a port"),
        ("tcp://192.0.2.1:٣", "not a port"),
        ("tcp://2001:db8::1:9651", "brackets"),
        ("tcp://[192.0.2.1]:9651", "brackets are for IPv6"),
        ("tcp://[2001:db8::1%3]:9651", "link-local"),
        ("tcp://host%3:9651", "link-local"),
        ("tcp://[fe80::1%eth0]:9651", "number"),
        ("tcp://[fe80::1%0]:9651", "number"),
        ("tcp://[fe80::zz]:9651", "neither"),
        ("tcp://192.0.2.999:9651", "not an IPv4 address"),
        ("tcp://-a.example:9651", "neither"),
        ("tcp://a..example:9651", "neither"),
        ("tcp://:9651", "neither"),
        ("tcp://bücher.example:9651", "neither"),
        (f"tcp://{'a' * 64}.example:9651", "neither"),
        (f"tcp://{'a.' * 127}example:9651", "neither"),
    ],
)
def test_a_bad_endpoint_is_refused_with_its_reason_and_an_example(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as refused:
        Endpoint.parse(text)
    assert "tcp://host:9651" in refused.value.remedy


@pytest.mark.parametrize("text", ["tls://192.0.2.1:9651", "vsock://2:9651", "TLS://x"])
def test_what_mycelium_has_and_we_do_not_is_said_so(text: str) -> None:
    with pytest.raises(UsageError, match="not supported yet") as refused:
        Endpoint.parse(text)
    assert refused.value.remedy == "use tcp:// or quic://"


@given(st.text(max_size=60), st.sampled_from(["", "tcp://", "quic://[", "tcp://[fe80::1%"]))
def test_any_text_is_an_endpoint_or_a_usage_error(text: str, start: str) -> None:
    try:
        endpoint = Endpoint.parse(start + text)
    except UsageError:
        return
    assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8989", ListenAddress("127.0.0.1", 8989)),
        ("[::1]:0", ListenAddress("::1", 0)),
        ("localhost:80", ListenAddress("127.0.0.1", 80)),
    ],
)
def test_listen_addresses_are_read_and_written_back(text: str, address: ListenAddress) -> None:
    assert ListenAddress.parse(text) == address
    assert ListenAddress.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", "8989", ":8989", "example.org:80", "127.0.0.1:70000", "::1:80"])
def test_a_bad_listen_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        ListenAddress.parse(text)
