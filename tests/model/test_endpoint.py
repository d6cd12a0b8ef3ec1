import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import Endpoint, ListenAddress, PublicKey, UsageError

KEY = "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp://192.0.2.1:9651", Endpoint("tcp", "192.0.2.1", 9651)),
        ("QUIC://[2001:DB8:0::1]:1", Endpoint("quic", "2001:db8::1", 1)),
        ("tcp://[fe80::1%3]:9651", Endpoint("tcp", "fe80::1", 9651, 3)),
        (" tcp://Node.Example.org.:65535 ", Endpoint("tcp", "node.example.org", 65535)),
        ("tcp://localhost:9651", Endpoint("tcp", "localhost", 9651)),
        ("udp://192.0.2.1", Endpoint("udp", "192.0.2.1", 9652)),
        ("udp://[2001:db8::1]", Endpoint("udp", "2001:db8::1", 9652)),
        ("udp://[fe80::1%3]", Endpoint("udp", "fe80::1", 9652, 3)),
        (f"udp://{KEY}@Node.example:7", Endpoint("udp", "node.example", 7, None, PublicKey.parse(KEY))),
        (f"udp://{KEY}@[::1]?metered", Endpoint("udp", "::1", 9652, None, PublicKey.parse(KEY), 0, True)),
        ("tcp://a:1?weight=50&metered=true", Endpoint("tcp", "a", 1, None, None, 50, True)),
        ("quic://a:1?metered=false&weight=0", Endpoint("quic", "a", 1)),
    ],
)
def test_endpoints_are_read_and_written_back(text: str, endpoint: Endpoint) -> None:
    for parsed in (Endpoint.parse(text), Endpoint.parse(str(endpoint))):
        assert parsed == endpoint
        assert parsed.wishes == endpoint.wishes


def test_a_peer_is_the_same_whatever_is_wanted_of_the_link_to_it() -> None:
    wanted, plain = Endpoint.parse(f"udp://{KEY}@a:1?weight=5&metered"), Endpoint.parse("udp://a:1")
    assert wanted == plain and hash(wanted) == hash(plain) and wanted.wishes != plain.wishes
    assert wanted.place == str(plain) == "udp://a:1"
    assert Endpoint.parse("tcp://a:1") != plain


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.0.2.1:9651", "the protocol is missing"),
        ("sctp://192.0.2.1:9651", "unknown"),
        (f"tcp://{KEY}@a:1", "a key belongs to udp"),
        ("udp://me@a:1", "64 hexadecimal digits"),
        (f"udp://{KEY[:-1]}@a", "64 hexadecimal digits"),
        ("udp://@a", "64 hexadecimal digits"),
        ("udp://a:", "the port is missing"),
        ("udp://", "neither"),
        ("udp://2001:db8::1", "brackets"),
        ("udp://a?", "weight=N and metered"),
        ("udp://a?price=3", "weight=N and metered"),
        ("udp://a?metered&metered", "weight=N and metered"),
        ("udp://a?metered=perhaps", "true or false"),
        ("udp://a?weight", "whole number"),
        ("udp://a?weight=-1", "whole number"),
        ("udp://a?weight=4001", "whole number"),
        ("udp://a?weight=٣", "whole number"),
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


@given(
    st.text(max_size=60),
    st.sampled_from(["", "tcp://", "quic://[", "tcp://[fe80::1%", "udp://", "udp://a?", f"udp://{KEY}@"]),
)
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
